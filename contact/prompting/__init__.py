"""From a question to token ids and back: templates, conversation, and the checkpoints' own tokenisation."""
