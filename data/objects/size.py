"""How large a mesh without a unit is: by its category, by what the user says, or by what a callable says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hoirecon.data.objects.catalog import get_category
from hoirecon.errors import InputError

UNKNOWN_SIGMA = 0.7
"""Log-sigma of the size of a thing of which nothing is known: within a factor of two, two times in three."""
UNKNOWN_SIZE = 0.5
"""Its longest side, metres."""
PLAUSIBLE = (0.003, 50.0)
"""Longest sides that anyone may state, metres."""


@dataclass(frozen=True)
class MetricSize:
    """Longest side of a bounding box and how surely it is known."""

    longest: float
    """Median, metres."""
    log_sigma: float
    """Standard deviation of its natural logarithm: 0.1 means about 10 %."""
    evidence: str = "given"
    """Who says so: "given", "category", "callable", "unit", "generated" or "unknown"."""

    def __post_init__(self) -> None:
        low, high = PLAUSIBLE
        if not (low <= self.longest <= high):
            raise InputError(f"the longest side is {self.longest!r} m, expected {low} to {high} m: is the unit metres?")
        if not (0 <= self.log_sigma <= 3):
            raise InputError(f"log_sigma of the size is {self.log_sigma!r}, expected 0 to 3 (0.1 means about 10 %)")

    def with_other(self, other: MetricSize) -> MetricSize:
        """Both statements together, each counting by how sure it is.

        Example:
            >>> both = MetricSize(1.0, 0.2).with_other(MetricSize(4.0, 0.2))
            >>> round(both.longest, 3), round(both.log_sigma, 3)
            (2.0, 0.141)
        """
        mine, its = self.log_sigma, other.log_sigma
        if mine == 0 or its == 0:
            return self if mine == 0 else other
        weights = 1 / mine**2, 1 / its**2
        total = sum(weights)
        mean = (weights[0] * math.log(self.longest) + weights[1] * math.log(other.longest)) / total
        return MetricSize(math.exp(mean), total**-0.5, f"{self.evidence} and {other.evidence}")


SizeTeller = Callable[[str], "MetricSize | float | tuple[float, float] | None"]
"""Given a name, tells the longest side in metres, alone or with its log-sigma; None where it does not know."""
GIVEN_SIGMA = 0.1
"""Log-sigma where a size is stated without one."""
TOLD_SIGMA = 0.25
"""The same where a callable states it."""


def metric_size(label: str | None, size: MetricSize | float | SizeTeller | None = None) -> MetricSize:
    """The size of a thing by its name, unless the caller knows better.

    Args:
        label: its name, or nothing.
        size: longest side in metres; or a callable that is asked about the name, such as a language model's; where it
            knows nothing, or talks nonsense, the category counts.

    Raises:
        InputError: a stated size that is not plausible.

    Example:
        >>> metric_size("chair").evidence, metric_size("left-handed doodad").evidence, metric_size("chair", 1.1).longest
        ('category', 'unknown', 1.1)
    """
    if isinstance(size, MetricSize):
        return size
    if callable(size):
        return _told(label, size) or _usual(label)
    if size is not None:
        return MetricSize(_number(size), GIVEN_SIGMA)
    return _usual(label)


def _usual(label: str | None) -> MetricSize:
    if label is not None:
        try:
            category = get_category(label)
        except InputError:
            pass
        else:
            return MetricSize(category.size_median, category.size_log_sigma, "category")
    return MetricSize(UNKNOWN_SIZE, UNKNOWN_SIGMA, "unknown")


def _told(label: str | None, teller: SizeTeller) -> MetricSize | None:
    if label is None:
        return None
    answer = teller(label)
    if answer is None or isinstance(answer, MetricSize):
        return answer
    values = answer if isinstance(answer, tuple) else (answer, TOLD_SIGMA)
    try:
        longest, sigma = (float(value) for value in values)
        return MetricSize(longest, sigma, "callable")
    except (TypeError, ValueError):  # InputError is one: a language model may say anything
        return None


def _number(size: object) -> float:
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise InputError(f"size is {size!r}, expected the longest side in metres, or a function that tells it")
    return float(size)
