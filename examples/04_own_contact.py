"""Bring your own contact: any object with an ``estimate`` method takes the place of the built-in estimator.

Here contact is marked by hand, by names of body parts. A learned model, or labels from a file, come in the same way.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hoirecon
from hoirecon.contact import ContactEstimate, ContactObject, PartPair
from hoirecon.data.body import load_body
from hoirecon.sample import SAMPLE_BOX, SAMPLE_OBJECT, sample_image


@dataclass(frozen=True)
class MarkedByHand:
    """Contact where somebody says it is."""

    body_parts: tuple[str, ...]
    name: str = "by hand"

    def estimate(self, observation, body, obj: ContactObject, pose=None, object_index=0) -> ContactEstimate:  # type: ignore[no-untyped-def]
        """Certain contact on the named parts, and an even guess over the whole object."""
        on_body = np.zeros(len(body.verts))
        for part in self.body_parts:
            on_body[load_body().parts.verts_of(part)] = 0.9
        return ContactEstimate(
            hoirecon.ContactMap(on_body, body.topology, self.name),
            hoirecon.ContactMap(np.full(len(obj.mesh.verts), 0.6), obj.mesh.topology, self.name),
            pairs=tuple(PartPair(part, "whole", 0.9) for part in self.body_parts),
        )


def main(out: Path) -> None:
    """Reconstruct the sample with contact marked by hand and save it without the report."""
    scene = hoirecon.reconstruct(
        sample_image(), SAMPLE_OBJECT, object_box=SAMPLE_BOX, contact=MarkedByHand(("left_palm", "belly"))
    )
    for name in ("helmet/iou_visible", "helmet/penetration"):
        print(name, round(scene.measures[name].value, 3), scene.measures[name].unit)
    print("written to", scene.save(out, report=False))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/04"))
