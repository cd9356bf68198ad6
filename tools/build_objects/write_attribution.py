"""Write the attribution page of the object library from its index.

Run ``python tools/build_objects/write_attribution.py docs/attribution/objects.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hoirecon.data.objects.index import ObjectEntry, entries
from hoirecon.files import atomic_file

LINKS = {
    "zero": "https://creativecommons.org/publicdomain/zero/1.0/",
    "by": "https://creativecommons.org/licenses/by/3.0/",
    "by_us": "https://creativecommons.org/licenses/by/3.0/us/",
}

HEAD = """# Object library: who made what

(Written by `tools/build_objects/write_attribution.py`; change the selection there, not this page.)

{own} meshes are our own, made by `hoirecon.data.objects.generators`, Apache-2.0 like the code.

{foreign} meshes come from the furniture libraries of Sweet Home 3D as Debian packages them (`sweethome3d-furniture`
1.8-1). The licence file beside each model was read (`tools/build_objects/check_licences.py`); where a model has
none, the licence of its library holds. Under CC-BY you may use, change and share a mesh if you name its author.

**Modified:** every one of them was turned into our frame, scaled to the catalogue's real size in metres, alpha-wrapped
into a closed surface, decimated to at most 4000 faces, and stripped of colours, textures and names of makes.

Licences: [CC0-1.0]({zero}), [CC-BY-3.0]({by}), [CC-BY-3.0-US]({by_us}).

| mesh | author | licence | path in the package |
| --- | --- | --- | --- |
"""


def main(page: Path) -> None:
    """Write the page."""
    foreign = [entry for entry in entries().values() if entry.kind == "wrapped"]
    text = HEAD.format(own=len(entries()) - len(foreign), foreign=len(foreign), **LINKS)
    with atomic_file(page) as tmp:
        tmp.write_text(text + "".join(row(entry) for entry in foreign), encoding="utf-8")


def row(entry: ObjectEntry) -> str:
    """One line of the table."""
    return f"| `{entry.id}` | {entry.author} | {entry.licence} | `{entry.source.split(': ')[1]}` |\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
