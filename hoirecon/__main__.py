"""``python -m hoirecon``: the command line where the script ``hoirecon`` is not on the path."""

from hoirecon.cli import main

main()
