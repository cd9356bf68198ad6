"""Weights in files: released folders, our own folders, and the way from one to the other."""
