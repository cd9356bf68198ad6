"""One photograph in, one scene out.

The sample is a portrait of an astronaut with her helmet (NASA, public domain, part of scikit-image). The box says where
the helmet is seen: x, y, width, height in pixels. The folder that is written holds the parameters, meshes, pictures and
``report.html``, a page that opens offline.
"""

from __future__ import annotations

import sys
from pathlib import Path

import hoirecon
from hoirecon.sample import SAMPLE_BOX, SAMPLE_OBJECT, sample_image


def main(out: Path) -> None:
    """Reconstruct the sample and write it to a folder."""
    scene = hoirecon.reconstruct(sample_image(), SAMPLE_OBJECT, object_box=SAMPLE_BOX)

    print("body vertices, camera frame, metres:", scene.body.verts.shape)
    helmet = scene.objects[0]
    print("helmet stands at", helmet.pose.t.round(2), "and is", round(float(helmet.mesh_cam.diagonal), 2), "m across")
    touching = scene.contacts[0].body_contact.binary()
    print("body vertices in contact:", int(touching.sum()))
    for name, measure in scene.measures.items():
        print(f"  {name}: {measure.value:.3g} {measure.unit}")
    for flag in scene.flags:
        print("  note:", flag)

    print("written to", scene.save(out))
    again = hoirecon.Scene.load(out)
    assert (again.body.verts == scene.body.verts).all()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/01"))
