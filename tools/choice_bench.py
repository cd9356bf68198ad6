"""How often the mask chooses the right one of the library's meshes of a name; docs/retrieval.md has the figures.

Usage: python tools/choice_bench.py [--seed 1000] [--ranker silhouettes]

A query is a random view (elevation -6 to 50 degrees, roll +-14, perspective) of a random mesh of a category that has at
least three, partly hidden by a rectangle or a person of capsules. Seeds below 1000 were for choosing.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro

from hoirecon.arrays import BoolArray
from hoirecon.data.objects import get_category, list_objects, load_object
from hoirecon.retrieval.embedded.occluders import occluder
from hoirecon.retrieval.embedded.views import render, view_rotation
from hoirecon.retrieval.silhouette_ranker import SilhouetteRanker
from hoirecon.retrieval.surfaces import Surface

BONUSES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24)
"""What the usual mesh's score is raised by."""


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    seed: int = 1000
    """Of meshes, views and occluders."""
    count: int = 300
    """Queries; half of them show the category's usual mesh."""
    hidden: tuple[float, float] = (0.1, 0.4)
    """Least and largest part of the object that is hidden; 0 0 hides nothing."""
    ranker: Literal["embedded", "silhouettes"] = "embedded"
    """The networks that come with hoirecon, or overlap of silhouettes alone."""


def main(options: Options) -> None:
    """Measure and print."""
    rng = np.random.default_rng(options.seed)
    ranker: Any = SilhouetteRanker() if options.ranker == "silhouettes" else _embedded()
    sizes = Counter(entry.category for entry in list_objects())
    categories = [name for name in sorted(sizes) if sizes[name] >= 3]
    rows, seconds = [], []
    for i in range(options.count):
        usual = get_category(categories[rng.integers(len(categories))])
        ids = [entry.id for entry in list_objects(usual.name)]
        others = [name for name in ids if name != usual.default_id]
        truth = usual.default_id if i % 2 == 0 else others[rng.integers(len(others))]
        mask = query(truth, options.hidden, rng)
        start = time.process_time()
        found = ranker.rank(mask, ids, len(ids))
        seconds.append(time.process_time() - start)
        scores = {one.name: one.score for one in found}
        rows.append([_is_right(scores, usual.default_id, truth, bonus) for bonus in BONUSES] + [1 / len(ids)])
    table = np.array(rows, float)
    print(f"{options.count} queries, seed {options.seed}, {options.ranker}; chance {table[:, -1].mean():.2f}; "
          f"{np.median(seconds):.3f} CPU s each (first use of a mesh included)")  # fmt: skip
    for column, bonus in enumerate(BONUSES):
        is_usual, is_other = table[::2, column].mean(), table[1::2, column].mean()
        print(
            f"bonus {bonus:.2f}: right {table[:, column].mean():.3f}; usual mesh {is_usual:.3f}, another {is_other:.3f}"
        )


def query(name: str, hidden: tuple[float, float], rng: np.random.Generator) -> BoolArray:
    """(64, 64) mask of a mesh seen from somewhere, partly hidden."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi, 1), np.radians(rng.uniform(-6, 50, 1))
    turn = view_rotation(azimuth, elevation, np.radians(rng.uniform(-14, 14, 1)))
    surface = Surface.from_mesh(load_object(name).mesh)
    mask: BoolArray = render(surface, turn, rng.uniform(2, 7, 1), 64).masks[0] >= 0.5
    left = mask & ~occluder(mask, hidden, rng) if hidden[1] > 0 else mask
    return left if left.any() else mask


def _is_right(scores: dict[str, float], usual: str, truth: str, bonus: float) -> bool:
    raised = {name: score + bonus * (name == usual) for name, score in scores.items()}
    return max(raised, key=lambda name: raised[name]) == truth


def _embedded() -> Any:
    from hoirecon.retrieval.embedded import library_gallery

    return library_gallery()


if __name__ == "__main__":
    main(tyro.cli(Options))
