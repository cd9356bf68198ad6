"""How much of the touching parts' error the evidence of a noise level can remove at best, over many scenes.

python -m tools.touching_bound --seeds 0:60

Prints a Markdown table: median and mean of the expected error in centimetres after each step of evidence, and by how
much it is below that of the body as given. Scenes without contact are passed over. See
:mod:`hoirecon.evaluation.closedworld.touching_bound` for what "at best" means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tyro

from hoirecon.data.closedworld import load_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.touching_bound import STEPS, TouchingBound, touching_bound


@dataclass(frozen=True)
class BoundConfig:
    """What to look at."""

    seeds: str = "0:60"
    """First and last but one scene."""
    level: str = "L2"
    """Noise level."""


def bounds(config: BoundConfig) -> list[TouchingBound]:
    """The bounds of all scenes in which something touches."""
    first, _, last = config.seeds.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise InputError(f"seeds are FIRST:LAST, e.g. 0:60, got '{config.seeds}'")
    scenes = (load_scene(seed) for seed in range(int(first), int(last)))
    return [touching_bound(s, config.level) for s in scenes if (s.body_contact.probability > 0).any()]


def table(found: list[TouchingBound]) -> str:
    """Markdown."""
    lines = [
        f"{len(found)} scenes with contact",
        "",
        "| evidence | median cm | mean cm | median below given | mean below given | depth cm |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    first: tuple[float, float] | None = None
    for name, words in STEPS.items():
        errors = np.array([f.mean_cm[name] for f in found])
        depth = float(np.mean([f.depth_cm[name] for f in found]))
        here = float(np.median(errors)), float(errors.mean())
        first = here if first is None else first
        falls = (1 - h / f for h, f in zip(here, first, strict=True))
        cells = [f"{here[0]:.2f}", f"{here[1]:.2f}", *(f"{100 * fall:.0f} %" for fall in falls), f"{depth:.2f}"]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(config: BoundConfig) -> None:
    """Measure and print."""
    print(table(bounds(config)))


if __name__ == "__main__":
    main(tyro.cli(BoundConfig))
