"""From a photograph to what is seen in it: whose pixels are whose, landmarks of the person, and the camera.

The way of the data: ``images`` reads the file, ``cameras`` says how it was taken, a :class:`PersonDetector`
(``blazepose``) finds persons with landmarks and masks, a :class:`Segmenter` (``masks``, ``sam``) or ``importers``
give the objects' masks, and :func:`observe` puts all of it into one :class:`~hoirecon.Observation`.
Each part is behind a small protocol (``protocols``), so that another detector or segmenter can take its place.
"""

from __future__ import annotations

from hoirecon.images import LoadedImage as LoadedImage
from hoirecon.images import read_image as read_image
from hoirecon.perception.cameras import camera_for as camera_for
from hoirecon.perception.observe import observe as observe
from hoirecon.perception.protocols import MaskPrompt as MaskPrompt
from hoirecon.perception.protocols import PersonDetection as PersonDetection
from hoirecon.perception.protocols import PersonDetector as PersonDetector
from hoirecon.perception.protocols import Scribble as Scribble
from hoirecon.perception.protocols import Segmenter as Segmenter

__all__ = [
    "LoadedImage",
    "MaskPrompt",
    "PersonDetection",
    "PersonDetector",
    "Scribble",
    "Segmenter",
    "camera_for",
    "observe",
    "read_image",
]
