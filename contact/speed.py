"""Our way against the reference's procedure, timed in one process on one small network with random weights.

A photograph gets a question on the body and one on an object that was seen before. Both sides use the same modules, so
that the ratio is what is gained by computing nothing twice. Their answers must be equal, and that is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hoirecon.contact.inference.queries import Query
from hoirecon.contact.lifting import OBJECT_THRESHOLD
from hoirecon.contact.plain import PlainAnswer, plain_contact
from hoirecon.contact.toy import teach_answers, toy_model
from hoirecon.contact_map import ContactMap

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM

ANSWERS = (
    "The contacting body parts are left_palm, right_palm, and the contact region is {token}.",
    "The affordance type is grasp, and the contact region is {token}.",
)
SAME = 1e-4
"""Largest difference of a probability between the two."""


def contact_speed(device: str = "cpu", repeats: int = 3, seed: int = 1000, size: str = "small") -> dict[str, Any]:
    """Time both, in turn.

    Args:
        device: where torch runs it.
        repeats: runs of each; medians and the whole span are given.
        seed: of the weights and the photograph.
        size: of the toy network.

    Returns:
        Seconds of each, their ratio for a new photograph, the same with the network and the object seen for the first
        time, and the largest difference of a probability in the masks and on the surfaces.
    """
    model, queries = _scene(device, seed, size)
    start = time.perf_counter()
    model.ask(queries)
    first = time.perf_counter() - start
    ours, plain = list[float](), list[float]()
    for _ in range(repeats):
        model.looker.forget()  # a new photograph
        ours.append(_seconds(lambda: model.ask(queries)))
        plain.append(_seconds(lambda: [plain_contact(model, query) for query in queries]))
    found, expected = model.ask(queries, view_masks=True), [plain_contact(model, query) for query in queries]
    pairs = zip(found, expected, strict=True)
    differences = [_differences(mine, theirs) for mine, theirs in pairs if isinstance(mine, ContactMap)]
    largest = {name: max(each[name] for each in differences) for name in differences[0]}
    return {
        "reference_seconds": _spread(plain),
        "ours_seconds": _spread(ours),
        "ours_first_time_seconds": first,
        "ratio": median(plain) / median(ours),
        "largest_difference": largest,
        "identical": max(largest.values()) <= SAME,
        "answer_tokens": [len(answer.ids) for answer in expected],
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _scene(device: str, seed: int, size: str) -> tuple[InteractVLM, list[Query]]:
    from hoirecon.data.objects import load_object

    model = toy_model(size, seed=seed)
    model.network.to(device)
    photograph = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    mesh = load_object("cup").mesh
    queries = [Query("human", photograph, "cup"), Query("object", photograph, "cup", mesh=mesh)]
    teach_answers(model, dict(zip(queries, ANSWERS, strict=True)))
    model.looker.forget()
    return model, queries


def _differences(ours: ContactMap, plain: PlainAnswer) -> dict[str, float]:
    """Largest difference of a probability in the views' masks and on the surface.

    On an object a pixel votes if it is above a threshold; vertices whose largest difference is a pixel that rounding
    put on the other side are left out, as neither answer is the right one.
    """
    theirs = torch.sigmoid(plain.logits).cpu().numpy()
    masks = np.stack(list((ours.view_masks or {}).values()))
    flipped = int(((masks > OBJECT_THRESHOLD) != (theirs > OBJECT_THRESHOLD)).sum())
    surface = np.sort(np.abs(ours.probability - plain.probability.double().cpu().numpy()))
    agreed = surface[: len(surface) - 3 * flipped]  # a pixel speaks to three vertices
    return {"masks": float(np.abs(masks - theirs).max()), "surfaces": float(agreed.max(initial=0.0))}


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": median(seconds), "least": min(seconds), "most": max(seconds)}


def speed_text(speed: dict[str, Any]) -> str:
    """The times as a person reads them."""
    difference = speed["largest_difference"]
    rows = [
        f"reference's procedure {speed['reference_seconds']['median']:8.2f} s",
        f"ours                  {speed['ours_seconds']['median']:8.2f} s   ({speed['ratio']:.1f} times faster)",
        f"ours, first time      {speed['ours_first_time_seconds']:8.2f} s   (body and object rendered and encoded)",
        f"largest difference of a probability: {difference['masks']:.1e} in masks, {difference['surfaces']:.1e} on "
        "surfaces",
    ]
    return "\n".join(rows)
