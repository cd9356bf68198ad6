"""What the library knows before it sees a photograph: the body, the object library, datasets."""
