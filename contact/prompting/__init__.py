"""From a question to token ids and back: templates, conversation, and the checkpoints' own tokenisation.

text = conversation.inference_prompt(templates.question("human", "parts", "tennis racket"))
ids = conversation.image_prompt_ids(ContactTokenizer.from_folder(folder), text)   # -200 stands for the image
prefix, question = conversation.split_prefix(ids)   # one prefix for all questions
"""

from hoirecon.contact.prompting.tokenizer import IMAGE_ID as IMAGE_ID
from hoirecon.contact.prompting.tokenizer import ContactTokenizer as ContactTokenizer
