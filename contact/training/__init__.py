"""Training: losses, batches and the teacher-forced step."""
