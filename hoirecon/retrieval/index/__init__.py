"""Indices of embeddings, from fifty objects to ten million, behind one protocol."""
