"""The sample that ships with a dependency: a portrait of an astronaut with her helmet.

The photograph is ``skimage.data.astronaut()``, part of scikit-image's package: Eileen Collins, NASA Great Images
database, public domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.arrays import ByteArray, as_image

if TYPE_CHECKING:
    from hoirecon.scene import Scene

SAMPLE_OBJECT = "helmet/full_face"
SAMPLE_BOX = (277.0, 343.0, 235.0, 169.0)
"""Where the helmet is, x, y, width, height in pixels; the picture cuts it at the right and the bottom."""


def sample_image() -> ByteArray:
    """The photograph, RGB uint8 (512, 512, 3)."""
    from skimage import data

    return as_image(data.astronaut())


def reconstruct_sample(progress: bool = True) -> Scene:
    """The scene of the sample, by the same call that a user makes."""
    from hoirecon.reconstruction import reconstruct

    return reconstruct(sample_image(), SAMPLE_OBJECT, object_box=SAMPLE_BOX, progress=progress)
