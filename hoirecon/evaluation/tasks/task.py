"""A task: which data, asked for what, scored by which protocols; by name and version.

task = get_task("damon/binary")
res = task.evaluate(predictions, data="DAMON_DIR")     # a folder, a mapping by id, or any iterable of predictions
res.summary(), res.by("category"), res.per_sample, res.save("runs/x")
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoirecon.data.datasets.samples import Dataset, Sample, Truth
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.data.datasets.predictions import Prediction
    from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
    from hoirecon.evaluation.metrics.preset_types import Preset
    from hoirecon.evaluation.runs.bodies import Bodies
    from hoirecon.evaluation.runs.results import Run

FIELDS = ("body_contact", "object_contact", "affordance", "object_verts")
"""What a prediction may be asked for; ``object_verts`` may come as a pose of the question's mesh."""
MADE = "tasks.toml"


@dataclass(frozen=True)
class Task:
    """One benchmark."""

    name: str
    """E.g. ``damon/binary``."""
    version: int
    """Raised by every change that moves a figure."""
    title: str
    dataset: str
    """Name in :mod:`hoirecon.data.datasets.registry`."""
    split: str
    truth: str
    """Kind of truth that is compared with."""
    asks: str
    """Field of :class:`~hoirecon.data.datasets.predictions.Prediction` that must be there."""
    protocols: tuple[str, ...]
    """Presets of :mod:`hoirecon.evaluation.metrics`; the first is the leaderboard's."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the dataset's reader."""
    per_object: bool = False
    """Whether a sample asks about one object; an answer for anything is then no answer."""
    train_split: str = ""
    """What a predictor may learn from; empty if nothing is given."""

    def open(self, data: str | Path) -> Dataset:
        """The user's copy of the data, as this task asks of it.

        Raises:
            InputError: it cannot be read, or has another kind of truth.
        """
        return self._opened(data, self.split)

    def open_train(self, data: str | Path) -> Dataset:
        """What a predictor may learn from.

        Raises:
            InputError: the task gives nothing to learn from, or it cannot be read.
        """
        if not self.train_split:
            raise InputError(f"{self.name} gives nothing to learn from: choose a method that needs no training split")
        return self._opened(data, self.train_split)

    def _opened(self, data: str | Path, split: str) -> Dataset:
        from hoirecon.data.datasets.registry import open_dataset

        return open_dataset(self.dataset, data, split, **self.options)

    def truth_of(self, sample: Sample) -> Truth:
        """The truth that this task compares with.

        Raises:
            InputError: the sample has none of this kind.
        """
        if self.truth not in sample.truth:
            has = ", ".join(sample.truth) or "none"
            raise InputError(f"sample '{sample.id}' has no truth of kind {self.truth} (it has {has})")
        return sample.truth[self.truth]

    def presets(self, protocol: str | None = None) -> tuple[Preset, ...]:
        """The protocols that score it; with a name, that one first and the honest default beside it.

        Raises:
            InputError: a protocol of another kind of prediction, or none at all.
        """
        from hoirecon.evaluation.metrics import get_preset

        names = self.protocols
        if protocol is not None:
            names = (protocol, *(n for n in names if n == "symmetric" and n != protocol))
        presets = tuple(get_preset(name) for name in names)
        for preset in presets:
            if preset.kind != KIND_OF[self.truth]:
                raise InputError(
                    f"protocol '{preset.name}' scores {preset.kind}, but {self.name} asks for {self.asks}: take one of "
                    f"{', '.join(self.protocols)}"
                )
        return presets

    def evaluate(
        self,
        predictions: Mapping[str, Prediction] | Iterable[Prediction] | str | Path,
        data: str | Path | Dataset,
        *,
        protocol: str | None = None,
        distances: SurfaceDistances | None = None,
        method: str = "predictions",
        limit: int | None = None,
        body: BodyModel | Bodies | None = None,
        progress: bool = True,
    ) -> Run:
        """Score predictions against a copy of the data.

        Every sample counts: one without prediction, or with one that says it failed, has the worst value of each
        metric and is listed. Its truth is read all the same, as it decides what the worst is (and whether a metric is
        defined); scenes of the closed world that were never made are made for it, which takes some seconds each once.

        Args:
            predictions: by id, any iterable, or a folder of prediction files.
            data: folder of the copy, or the opened dataset.
            protocol: preset that comes first; None takes the task's.
            distances: on the body's surface, for geodesic errors; None leaves them out.
            method: what to call it in tables.
            limit: only the first samples; such a run is marked and stands in no leaderboard.
            body: the user's body model, or models by gender, for reconstructions whose truth holds parameters alone.
            progress: show a progress bar on stderr where reading the samples takes more than a few seconds.

        Raises:
            InputError: an id that the data does not have or that comes twice, a wrong number of vertices, NaN.
        """
        from hoirecon.evaluation.runs.scoring import evaluate

        return evaluate(self, predictions, data, protocol, distances, method, limit, body, progress)[0]


KIND_OF = {
    "body_contact": "contact",
    "object_contact": "contact",
    "affordance": "affordance",
    "reconstruction": "reconstruction",
}
"""Kind of truth -> kind of preset."""


# ------------------------------------------------------------------------------------------------------------ registry
def list_tasks() -> tuple[Task, ...]:
    """All tasks, in the order of the file."""
    return tuple(_tasks().values())


def get_task(name: str) -> Task:
    """A task by name.

    Raises:
        InputError: no such task.

    Example:
        >>> get_task("damon/binary").protocols[0]
        'deco'
    """
    if name not in _tasks():
        raise InputError(f"no task is called '{name}'; there are {', '.join(_tasks())}")
    return _tasks()[name]


@cache
def _tasks() -> dict[str, Task]:
    text = resources.files("hoirecon.evaluation.tasks").joinpath(MADE).read_text(encoding="utf-8")
    return read_tasks(text, MADE)


def read_tasks(text: str, name: str) -> dict[str, Task]:
    """Read a file of tasks.

    Raises:
        InputError: not TOML, an unknown key, a name twice, a kind that is none.
    """
    try:
        found = [Task(**{**told, "protocols": tuple(told["protocols"])}) for told in tomllib.loads(text)["task"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as err:
        raise InputError(f"{name} is no list of tasks: {type(err).__name__}: {err}") from err
    for task in found:
        if task.asks not in FIELDS or task.truth not in KIND_OF or not task.protocols:
            raise InputError(f"{name}: task '{task.name}' asks for '{task.asks}' and has truth '{task.truth}'")
    if len({task.name for task in found}) < len(found):
        raise InputError(f"{name} holds a task twice")
    return {task.name: task for task in found}
