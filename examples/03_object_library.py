"""What the object library knows: names, sizes, parts, typical interactions; and a mesh of your own.

A category carries a metric size prior (the object fit moves the scale under it), named parts and the pairs of parts
that usually touch, which is what contact estimation without a learned model goes by.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trimesh

from hoirecon.data.objects import get_category, list_categories, list_objects, load_object, prepare_mesh


def main(out: Path) -> None:
    """Print what is known of a barbell and bring an own mesh into shape."""
    print(len(list_categories()), "categories,", len(list_objects()), "meshes")

    barbell = get_category("weightlifting bar")  # aliases are names too
    low, high = barbell.size_range(n_sigma=1)
    print(f"{barbell.name}: longest side {barbell.size_median} m, usually {low:.2f} to {high:.2f} m")
    for name, pairs in barbell.interactions.items():
        print(f"  {name}: {len(pairs)} touching pairs, e.g. {pairs[0][0]} at {pairs[0][1]}")

    thing = load_object("barbell")
    print(thing.id, thing.licence, thing.author, thing.mesh.extents.round(2), "m")
    print("parts:", ", ".join(thing.part_names))

    out.mkdir(parents=True, exist_ok=True)
    own = out / "my_box.stl"
    trimesh.creation.box((400, 300, 200)).export(own)  # as CAD programs write it: millimetres
    mesh = prepare_mesh(own, unit="mm")
    print("own mesh:", mesh.extents.round(3), "m, watertight:", mesh.is_watertight)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/03"))
