"""Landmark layouts on a body model: BlazePose's 33 and COCO's 17 points as sparse regressors."""

from __future__ import annotations

from functools import lru_cache

from hoirecon.data.body.model import BodyModel, Landmarks
from hoirecon.errors import InputError

LAYOUTS = ("blazepose33", "coco17")


def body_landmarks(model: BodyModel, layout: str) -> Landmarks:
    """Landmarks of a layout on this body: from its file, or, where it has none, carried over from the free body.

    Carried-over landmarks take the vertices nearest in the rest pose with the same weights. They are approximate: on
    a reshaped free body with another mesh they land 4 mm (median; at most 8 mm) from the true ones; on a real SMPL-H
    file, whose segments and rest joints differ more, this was not measured (its licence keeps it out of our tests).

    Raises:
        InputError: unknown layout.
    """
    if model.annotations is not None and layout in model.annotations.landmarks:
        return model.annotations.landmarks[layout]
    if layout not in LAYOUTS:
        raise InputError(f"no landmark layout is called '{layout}'; there are: {', '.join(LAYOUTS)}")
    return _carried_over(model, layout)


@lru_cache(maxsize=16)
def _carried_over(model: BodyModel, layout: str) -> Landmarks:
    from hoirecon.data.body.transfer import free_body, nearest_on_other

    source = free_body()
    assert source.annotations is not None
    landmarks = source.annotations.landmarks[layout]
    return Landmarks(landmarks.names, nearest_on_other(model, source)[landmarks.idx], landmarks.w)
