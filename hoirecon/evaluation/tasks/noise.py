"""What a method is handed made worse by a stated amount: rungs of a noise ladder.

spoilt = Noisy(method, Noise("mask", 5), folder)     # masks moved in or out by 5 pixels, the same for every method

The draw depends on the sample's id and the seed alone, so that methods see the same noise, in any order, on any worker.
Levels follow the study behind the benchmarks: boundaries of masks 0, 2, 5, 10 px; focal length 0, 5, 15, 30 %; joints
0, 3, 8, 15 degrees. The method is asked as before and knows nothing of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks.predictor import Predictor
from hoirecon.evaluation.tasks.seeing import mask_of
from hoirecon.observation import Observation
from hoirecon.scene import SceneBody

BYTE = 255.0


@dataclass(frozen=True)
class Axis:
    """One kind of noise."""

    about: str
    unit: str
    """Of its amounts."""
    amounts: tuple[str, ...]
    """Rungs that a ladder takes by itself, the first without noise."""


AXES: Mapping[str, Axis] = {
    "image": Axis("grey noise on the photograph's pixels, of 255", "", ("0", "8", "24", "64")),
    "mask": Axis("masks of person and object grown or shrunk", "px", ("0", "2", "5", "10")),
    "landmarks": Axis("landmarks shifted in the picture, each way", "px", ("0", "4", "8", "16")),
    "camera": Axis("focal length wrong by this much, longer or shorter", "%", ("0", "5", "15", "30")),
    "body": Axis("joints of the handed-out body turned, each component", "deg", ("0", "3", "8", "15")),
    "contact": Axis("share of the handed-out contact dropped and put elsewhere", "", ("0", "0.1", "0.3", "0.6")),
    "answer": Axis("share of the answer's contact dropped and put elsewhere", "", ("0", "0.1", "0.3", "0.6")),
    "level": Axis("the closed world's own levels, all kinds at once", "", ("L0", "L1", "L2", "L3")),
}
"""``contact``, ``body`` and ``landmarks`` need data that hands them out (closed world). ``answer`` spoils what the
method says, which tells what a metric makes of a known error (take the method ``truth``)."""


@dataclass(frozen=True)
class Noise:
    """How much of what."""

    axis: str
    amount: str
    """A number, or a level's name."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise InputError(f"noise is one of {', '.join(AXES)}, got '{self.axis}'")
        if self.axis == "level":
            if self.amount not in (*AXES["level"].amounts, "mismatch"):
                raise InputError(f"a level is one of {', '.join(AXES['level'].amounts)}, mismatch, got '{self.amount}'")
        elif not (_number(self.amount) >= 0 and np.isfinite(_number(self.amount))):
            raise InputError(f"an amount of '{self.axis}' is a number of 0 or more, got '{self.amount}'")

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Noise:
        """Read ``mask=5``.

        Raises:
            InputError: no such kind or amount.

        Example:
            >>> Noise.parse("mask=5")
            Noise(axis='mask', amount='5', seed=0)
        """
        axis, _, amount = text.partition("=")
        return cls(axis.strip(), amount.strip() or "nan", seed)

    @property
    def size(self) -> float:
        """The amount as a number; 0 for a level, which the data itself makes."""
        return 0.0 if self.axis == "level" else float(self.amount)

    @property
    def label(self) -> str:
        """For tables and pictures, e.g. ``5 px``.

        Example:
            >>> Noise("mask", "5").label, Noise("level", "L2").label
            ('5 px', 'L2')
        """
        return f"{self.amount} {AXES[self.axis].unit}".strip()

    def plain(self) -> dict[str, Any]:
        """For run.json."""
        return {"axis": self.axis, "amount": self.amount, "seed": self.seed}

    def draw(self, sample: str) -> np.random.Generator:
        """Numbers of one sample; a larger amount uses the same draw, so that a ladder rises in one direction."""
        text = f"{self.axis}\0{self.seed}\0{sample}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


@dataclass(frozen=True)
class Noisy:
    """A method that is handed spoilt questions."""

    inner: Predictor
    noise: Noise
    folder: Path
    """Where spoilt pictures are written."""

    @property
    def name(self) -> str:
        """The method's own."""
        return self.inner.name

    @property
    def params(self) -> Mapping[str, Any]:
        """The method's own and the noise."""
        return {**self.inner.params, "noise": self.noise.plain()}

    def predict(self, question: Question) -> Prediction:
        """The method's answer to the spoilt question.

        Raises:
            InputError: the data hands out nothing of the kind that is to be spoilt.
        """
        if self.noise.size == 0:
            return self.inner.predict(question)
        if self.noise.axis == "answer":
            return _spoilt_answer(self.inner.predict(question), self.noise)
        return self.inner.predict(SPOIL[self.noise.axis](question, self.noise, self.folder))


# ---------------------------------------------------------------------------------------------------------- by axis
def _seen(question: Question) -> Observation | None:
    given = question.extra.get("observation")
    return given if isinstance(given, Observation) else None


def _with(question: Question, extra: Mapping[str, Any], **changes: Any) -> Question:
    return replace(question, extra={**question.extra, **extra}, **changes)


def _spoilt_image(question: Question, noise: Noise, folder: Path) -> Question:
    from hoirecon.images import read_image

    if question.image is None:
        raise InputError("the data hands out no image to lay noise on")

    def spoil(rgb: ByteArray) -> ByteArray:
        grey = noise.draw(question.id).normal(size=rgb.shape)
        return np.clip(np.round(rgb + noise.size * grey), 0, BYTE).astype(np.uint8)

    path = _kept(spoil(read_image(question.image).rgb), question, noise, folder, "image")
    seen = _seen(question)
    return _with(question, {} if seen is None else {"observation": seen.replace(image=spoil(seen.image))}, image=path)


def _spoilt_masks(question: Question, noise: Noise, folder: Path) -> Question:
    if question.object_mask is None and question.person_mask is None:
        raise InputError("the data hands out no masks to move")
    grow = noise.draw(question.id).random(2) < 0.5
    moved: dict[str, BoolArray] = {}
    paths: dict[str, Any] = {}
    for name, out in (("person_mask", bool(grow[0])), ("object_mask", bool(grow[1]))):
        path = getattr(question, name)
        if path is not None:
            moved[name] = shifted(mask_of(path), round(noise.size), out)
            grey = np.repeat(moved[name][..., None].astype(np.uint8) * np.uint8(BYTE), 3, axis=2)
            paths[name] = _kept(grey, question, noise, folder, name)
    seen = _seen(question)
    if seen is None:
        return replace(question, **paths)
    person = None if seen.person_mask is None else shifted(seen.person_mask, round(noise.size), bool(grow[0]))
    things = tuple(shifted(mask, round(noise.size), bool(grow[1])) for mask in seen.object_masks)
    return _with(question, {"observation": seen.replace(person_mask=person, object_masks=things)}, **paths)


def shifted(mask: BoolArray, pixels: int, out: bool) -> BoolArray:
    """The mask with its boundary moved; one that would vanish stops shrinking before."""
    from scipy.ndimage import binary_dilation, binary_erosion

    for _ in range(pixels):
        step = binary_dilation(mask) if out else binary_erosion(mask, border_value=1)
        if not step.any():
            break
        mask = step
    return mask


def _spoilt_landmarks(question: Question, noise: Noise, folder: Path) -> Question:
    seen = _seen(question)
    if seen is None or seen.keypoints is None:
        raise InputError("the data hands out no landmarks to shift: they are found in the photograph (take 'image')")
    points = seen.keypoints
    shift = noise.size * noise.draw(question.id).normal(size=points.xy.shape)
    return _with(question, {"observation": seen.replace(keypoints=replace(points, xy=points.xy + shift))})


def _spoilt_camera(question: Question, noise: Noise, folder: Path) -> Question:
    seen = _seen(question)
    if question.camera is None and seen is None:
        raise InputError("the data hands out no camera to make wrong")
    factor = 1 + noise.size / 100
    factor = factor if noise.draw(question.id).random() < 0.5 else 1 / factor

    def spoil(camera: Camera) -> Camera:
        K = np.array(camera.K)
        K[[0, 1], [0, 1]] *= factor
        return Camera(K, camera.width, camera.height)

    extra = {} if seen is None else {"observation": seen.replace(camera=spoil(seen.camera))}
    return _with(question, extra, camera=None if question.camera is None else spoil(question.camera))


def _spoilt_body(question: Question, noise: Noise, folder: Path) -> Question:
    from hoirecon.data.body import load_body

    model, given = load_body(), question.body
    if given is None or given.topology != model.topology:
        raise InputError("the data hands out no pose of the free body to turn joints of")
    turned = np.radians(noise.size) * noise.draw(question.id).normal(size=given.body_pose.shape)
    params = given.replace(body_pose=given.body_pose + turned)
    extra = {"body": model.pose(params)} if isinstance(question.extra.get("body"), SceneBody) else {}
    return _with(question, extra, body=params)


def _spoilt_contact(question: Question, noise: Noise, folder: Path) -> Question:
    maps = question.extra.get("contacts")
    if maps is None:
        raise InputError("the data hands out no contact to spoil")
    rng = noise.draw(question.id)
    body, thing = (replace(m, probability=flipped(m.probability, noise.size, rng)) for m in maps)
    assert isinstance(body, ContactMap)
    return _with(question, {"contacts": (body, thing)})


def _spoilt_answer(said: Prediction, noise: Noise) -> Prediction:
    rng = noise.draw(said.id)
    names = ("body_contact", "object_contact", "affordance")
    given = {name: getattr(said, name) for name in names}
    spoilt: dict[str, Any] = {name: flipped(v, noise.size, rng) for name, v in given.items() if v is not None}
    by_object = {name: flipped(v, noise.size, rng) for name, v in said.by_object.items()}
    if not spoilt and not by_object:
        raise InputError("the answer holds no contact or affordance to spoil")
    return replace(said, by_object=by_object, **spoilt)


def flipped(values: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Contact of which a share of the touching vertices is dropped, and as many others are put in their place.

    Example:
        >>> spoilt = flipped(np.array([1.0, 1, 0, 0, 0, 0]), 0.5, np.random.default_rng(0))
        >>> spoilt.sum(), spoilt[:2].sum()
        (np.float64(2.0), np.float64(1.0))
    """
    touching, free = np.flatnonzero(values >= 0.5), np.flatnonzero(values < 0.5)
    count = min(round(min(share, 1.0) * len(touching)), len(free))
    out, into = rng.permutation(touching)[:count], rng.permutation(free)[:count]
    spoilt = np.array(values, dtype=np.float64)
    spoilt[into], spoilt[out] = values[out], values[into]
    return spoilt


Spoil = Callable[[Question, Noise, Path], Question]
SPOIL: Mapping[str, Spoil] = {
    "image": _spoilt_image,
    "mask": _spoilt_masks,
    "landmarks": _spoilt_landmarks,
    "camera": _spoilt_camera,
    "body": _spoilt_body,
    "contact": _spoilt_contact,
}


def _kept(pixels: ByteArray, question: Question, noise: Noise, folder: Path, name: str) -> Path:
    """The spoilt picture's file."""
    from hoirecon.data.datasets.predictions import prediction_name
    from hoirecon.files import atomic_file, check_writable
    from hoirecon.safe_io import write_png

    check_writable(folder)
    path = folder / f"{prediction_name(question.id)}.{name}.{noise.amount}.{noise.seed}.png"
    with atomic_file(path) as tmp:
        write_png(pixels, tmp)
    return path
