"""The sidecar by which a folder says that its body is a free stand-in for a licensed one.

A file ``standin.json`` in a dataset's folder (``{"stand_in": true, "topologies": ["standin-6890"]}``) makes every
reader call the labels' topology by a stand-in's name, so that their figures can never stand in a table with real ones.
"""

from __future__ import annotations

from pathlib import Path

from hoirecon.errors import InputError
from hoirecon.files import read_json

SIDECAR = "standin.json"


def is_stand_in_folder(root: Path) -> bool:
    """Whether the folder, or the one it lies in, says that it holds stand-ins.

    Raises:
        InputError: a sidecar that says neither yes nor no.
    """
    sidecar = next((folder / SIDECAR for folder in (root, root.parent) if (folder / SIDECAR).is_file()), None)
    if sidecar is None:
        return False
    facts = read_json(sidecar)
    if not isinstance(facts, dict) or not isinstance(facts.get("stand_in"), bool):
        raise InputError(f'{sidecar} must hold {{"stand_in": true}} or false: remove it if the body is the real one')
    return bool(facts["stand_in"])
