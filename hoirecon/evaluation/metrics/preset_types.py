"""What every preset has: its name, what it scores, its metrics, what is not known of it, and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.counts import same_size, soft_map
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
from hoirecon.evaluation.metrics.info import MetricInfo
from hoirecon.evaluation.metrics.scores import PresetScores

Kind = Literal["contact", "affordance", "reconstruction"]
"""What pairs hold: one score per vertex, one per point, or :class:`Reconstruction` objects."""

Pair = tuple[Any, Any]
"""(prediction, truth); a prediction of None is a failed sample."""


@dataclass(frozen=True)
class Labels:
    """How the samples of an evaluation are named and grouped."""

    ids: tuple[str, ...]
    """(N) names; random points are drawn by them, so that order and sharding change nothing."""
    groups: tuple[str, ...]
    """(N) the image or batch of each sample, where the preset unites them; by default the id."""

    @classmethod
    def of(cls, count: int, ids: Sequence[str] | None, groups: Sequence[str] | None) -> Labels:
        """Checked labels; numbers where none are given.

        Raises:
            InputError: not one each, or repeated ids.
        """
        names = tuple(str(i) for i in range(count)) if ids is None else tuple(ids)
        for what, given in (("ids", names), ("groups", names if groups is None else tuple(groups))):
            if len(given) != count:
                raise InputError(f"expected one of {what} for each of {count} pairs, got {len(given)}")
        if len(set(names)) != count:
            twice = sorted({name for name in names if names.count(name) > 1})[:5]
            raise InputError(f"ids must differ, but these come more than once: {', '.join(twice)}")
        return cls(names, names if groups is None else tuple(groups))


class Preset(Protocol):
    """One evaluator of the field, quirks included, or the honest default."""

    @property
    def name(self) -> str:
        """E.g. ``deco``."""
        ...

    @property
    def kind(self) -> Kind:
        """What pairs hold."""
        ...

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """What it reports; the first is the headline."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known of the protocol, and its traps."""
        ...

    def evaluate(
        self,
        pairs: Sequence[Pair],
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        distances: SurfaceDistances | None = None,
    ) -> PresetScores:
        """Score pairs of (prediction, truth).

        Args:
            pairs: (N) in the dataset's order; a prediction of None failed and counts as the metric's worst value.
            ids: (N) names of the samples; None numbers them.
            groups: (N) image of each sample, where the preset unites the objects of an image.
            distances: on the body, for geodesic errors; without it they are not reported.

        Raises:
            InputError: wrong sizes, NaN, values out of range; the message names the sample.
        """
        ...


def checked_pair(pair: Pair, name: str) -> tuple[FloatArray | None, FloatArray]:
    """A pair of maps of one sample: (V,) scores in [0, 1] or None of a failed one, and (V,) labels in [0, 1].

    Raises:
        InputError: NaN, values outside, different numbers of vertices; the message names the sample.
    """
    try:
        truth = soft_map(pair[1], f"truth of sample {name}")
        if pair[0] is None:
            return None, truth
        prediction = soft_map(pair[0], f"prediction of sample {name}")
        same_size(prediction, truth)
    except InputError as error:
        raise InputError(f"sample {name}: {error}") from error
    return prediction, truth
