"""Figures and page of track B: medians, paired ratios, and what they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.evaluation.closedworld.track_b import TrackB

GOAL = 1.4
"""Goal for the ratio of the medians with a model's contact and with given contact."""
DRAWS = 4000
"""Resamples of scenes."""
CLOSE_CM = 5.0
"""Chamfer distance that counts as success."""
REPORTING = 1000
"""First seed of the reporting half."""

Row = dict[str, Any]
"""Figures of one scene with one source's contact."""


@dataclass(frozen=True)
class Ratio:
    """Ratio of two medians over the same scenes."""

    value: float
    low: float
    high: float
    """Ends of the middle 95 % of resamples of scenes."""

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio_of_medians(a: FloatArray, b: FloatArray, seed: int = 0) -> Ratio:
    """Median of a over median of b; scenes are drawn for both together.

    Raises:
        InputError: not of the same scenes.
    """
    rows = _draws(a, b, seed)
    ratios = np.median(a[rows], axis=1) / np.median(b[rows], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(float(np.median(a) / np.median(b)), float(low), float(high))


def mean_difference(a: FloatArray, b: FloatArray, seed: int = 0) -> Ratio:
    """Mean of a less mean of b on the same scenes, with its interval.

    Raises:
        InputError: not of the same scenes.
    """
    rows = _draws(a, b, seed)
    means = (a - b)[rows].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Ratio(float((a - b).mean()), float(low), float(high))


def _draws(a: FloatArray, b: FloatArray, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if len(a) != len(b) or len(a) == 0:
        raise InputError(f"pairs need the same scenes, got {len(a)} and {len(b)}")
    return np.random.default_rng(seed).integers(len(a), size=(DRAWS, len(a)))


def table(rows: Mapping[str, Sequence[Row]], keep: Callable[[Row], bool]) -> str:
    """Markdown: a line per source, of the scenes that are kept; the first source is what ratios are of."""
    first = next(iter(rows))
    base = _chamfers(rows[first], keep)
    lines = [
        "| contact | scenes | Chamfer cm [95 %] | < 5 cm | ratio of medians [95 %] | < 5 cm, difference [95 %] | "
        "contact F1 on body | on object | handed to the fit | failed |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, found in rows.items():
        values = _chamfers(found, keep)
        ratio = "1" if name == first else str(ratio_of_medians(values, base))
        close = mean_difference((values < CLOSE_CM).astype(float), (base < CLOSE_CM).astype(float))
        less = "" if name == first else f"{close.value:+.2f} [{close.low:+.2f}, {close.high:+.2f}]"
        kept = [r for r in found if keep(r)]
        lines.append(
            f"| {name} | {len(values)} | {_median(values)} | {(values < CLOSE_CM).mean():.2f} | {ratio} | {less} | "
            f"{_mean(kept, 'contact_f1_body')} | {_mean(kept, 'contact_f1_thing')} | "
            f"{sum(bool(r.get('handed')) for r in kept)} | {sum(r['failed'] is not None for r in kept)} |"
        )
    return "\n".join(lines)


def _chamfers(rows: Sequence[Row], keep: Callable[[Row], bool]) -> FloatArray:
    return np.array([float(r["chamfer_object_cm"]) for r in rows if keep(r)])


def _median(values: FloatArray) -> str:
    from hoirecon.evaluation.metrics import median_interval

    found = median_interval(values)
    return "" if found is None else f"{found.median:.2f} [{found.ci95[0]:.2f}, {found.ci95[1]:.2f}]"


def _mean(rows: Sequence[Row], name: str) -> str:
    values = [r[name] for r in rows if r.get(name) is not None]
    return f"{np.mean(values):.2f}" if values else ""


# -------------------------------------------------------------------------------------------------------------- page
def touching(row: Row) -> bool:
    """Whether something touches in the scene."""
    return bool(row["interaction"] != "no_contact")


GROUPS: Mapping[str, Callable[[Row], bool]] = {
    "Scenes with contact": touching,
    "of them, meshes that the small model's training saw": lambda r: touching(r) and r["trained_on"],
    "of them, meshes that it never saw": lambda r: touching(r) and not r["trained_on"],
    "Scenes without contact (no source but `given` knows that)": lambda r: not touching(r),
}


def page(track: TrackB, rows: Mapping[str, Sequence[Row]], command: str) -> str:
    """The page, Markdown."""
    of_all = next(iter(rows.values()))
    tables = [f"### {name}\n\n{table(rows, keep)}" for name, keep in GROUPS.items() if any(keep(r) for r in of_all)]
    o = track.options
    return PAGE.format(
        command=command,
        level=track.level,
        method=track.method,
        first=track.seeds[0],
        last=track.seeds[-1],
        count=len(track.seeds),
        tables="\n\n".join(tables),
        verdict="\n".join(verdicts(rows)),
        half="reporting" if min(track.seeds) >= REPORTING else "tuning",
        landmarks=LANDMARK_WORDS[o.landmarks],
        form=FORM_WORDS[o.form].format(o=o),
        parts="are" if o.parts else "are not",
    )


def verdicts(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """A sentence on each source but the first: whether it keeps to the goal."""
    names = list(rows)
    base = _chamfers(rows[names[0]], touching)
    lines = []
    for name in names[1:]:
        ratio = ratio_of_medians(_chamfers(rows[name], touching), base)
        word = "within" if ratio.value <= GOAL else "**not within**"
        lines.append(f"- `{name}`: {ratio} times the median of `{names[0]}`, {word} {GOAL} times.")
    return lines


LANDMARK_WORDS = {
    "blazepose": "the true ones spoilt by the errors that BlazePose was measured to make on rendered people",
    "level": "the level's in the picture, and in 3D the true ones spoilt by BlazePose's measured errors",
}
FORM_WORDS = {
    "soft": "Probabilities are handed to the fit as they are; it counts what is above one half.",
    "shifted": "The odds of probabilities are shifted so that {o.threshold:g} of a model on the body, "
    "{o.object_threshold:g} of one on the object and {o.guess_threshold:g} of geometry become the fit's one half.",
    "hard": "Contact is handed to the fit as 0 and 1, from {o.threshold:g} of a model on the body, "
    "{o.object_threshold:g} of one on the object and {o.guess_threshold:g} of geometry on.",
}
PAGE = """# From contact to reconstruction: track B

This page is written by one command; nothing here is typed by hand.

```sh
{command}
```

The same fit (`{method}`) on the same {count} scenes (seeds {first} to {last}, {half} half, level {level}),
once with each source's contact. Body, masks, mesh, size prior and the fit's landmarks are the level's in all of them.

- `given`: the level's contact, precision and recall as stated for it; where nothing touches, it says so.
- `tiny`: the small model that ships, on landmarks and masks. Landmarks that it is told: {landmarks}.
- `geometric`: `GeometricContact`, which is given the noisy body.
- `category-mean`: the mean contact of the category in the small model's training scenes.
- `none`: no contact; the depth then comes from the size prior alone.

A name with a plus takes the body side from the first and the object side from the second. A source that knows no
contact on objects takes that side from geometry. {form} Named parts that touch {parts} terms of the fit.

The small model was trained on scenes drawn after the recipes of **both** halves of the closed world and of the library:
it knows the categories of the reporting half, and saw some of its very meshes. Both groups are listed apart.

{verdict}

Chamfer as on the results page; a fit that fails counts 100 cm. Ratios and differences are paired: scenes are drawn for
both sources together.

{tables}
"""
