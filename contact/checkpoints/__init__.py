"""Weights in files: released folders, our own folders, and the way from one to the other.

Import what you need from its file: ``open`` (one door for both kinds), ``released`` (folders as published), ``convert``
(from one to the other), ``native`` and ``layout`` (our own), ``keys`` (names of the tensors). Nothing heavy is loaded
with this package.
"""
