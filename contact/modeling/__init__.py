"""The network, one file for each of the paper's parts, as in Segment Anything's ``modeling/``."""
