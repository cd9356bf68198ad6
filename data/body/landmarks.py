"""Landmark layouts on a body model: BlazePose's 33 and COCO's 17 points as sparse regressors."""

from __future__ import annotations

from hoirecon.data.body.model import BodyModel, Landmarks
from hoirecon.errors import InputError

LAYOUTS = ("blazepose33", "coco17")


def body_landmarks(model: BodyModel, layout: str) -> Landmarks:
    """Landmarks of a layout on this body.

    Raises:
        InputError: unknown layout.
    """
    if layout not in LAYOUTS:
        raise InputError(f"no landmark layout is called '{layout}'; there are: {', '.join(LAYOUTS)}")
    assert model.annotations is not None
    return model.annotations.landmarks[layout]
