"""The point-cloud encoder, a file for each part of OpenShape's figure: groups, patch network, transformer, encoder."""
