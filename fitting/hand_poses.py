"""Fingers without evidence of their own: naturally curled when idle, closed as far as the hand holds something."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError

FINGERS = ("index", "middle", "pinky", "ring")
"""Order of the fingers in a SMPL-H hand; the thumb comes last."""

# Flexion in degrees of the three joints from the knuckle outwards: of a hand at rest (Lee and Jung, "Postures for the
# relaxed hand", give 30-45, 25-45 and 10-25) and of a fist round a bar of 3 cm, by our own judgement.
RELAXED = {"index": (22, 26, 12), "middle": (27, 32, 15), "ring": (30, 34, 16), "pinky": (32, 34, 16)}
GRIP = {"index": (62, 72, 40), "middle": (68, 76, 42), "ring": (70, 76, 42), "pinky": (70, 72, 40)}
# The thumb as rotation vectors of the left hand, degrees: opposition about x, then flexion towards the palm about y.
THUMB_RELAXED = ((8, -12, 0), (0, -12, 0), (0, -10, 0))
THUMB_GRIP = ((22, -26, 0), (0, -32, 0), (0, -28, 0))


def hand_pose(side: str, grip: float = 0.0, *, flat: bool = False) -> FloatArray:
    """Rotation vectors (45,) of one hand's fingers, radians, in SMPL-H order.

    Args:
        side: ``left`` or ``right``.
        grip: 0 for an idle hand, 1 for a closed one; in between, half-closed.
        flat: straight fingers whatever the grip.

    Raises:
        InputError: unknown side, or a grip outside [0, 1].
    """
    if side not in ("left", "right") or not 0 <= grip <= 1:
        raise InputError(f"a hand pose needs side 'left' or 'right' and grip in [0, 1], got {side!r} and {grip}")
    if flat:
        return np.zeros(45)
    curl = [np.add(np.multiply(1 - grip, RELAXED[f]), np.multiply(grip, GRIP[f])) for f in FINGERS]
    rows = [(0.0, 0.0, -angle) for finger in curl for angle in finger]
    thumb = np.add(np.multiply(1 - grip, THUMB_RELAXED), np.multiply(grip, THUMB_GRIP))
    left = np.deg2rad(np.concatenate([rows, thumb]))
    mirrored = left * [1.0, -1.0, -1.0]
    pose: FloatArray = (left if side == "left" else mirrored).reshape(45)
    return pose
