"""Where the contact of track B comes from: given, a contact model that is told landmarks and masks, geometry, means.

A source is named by its body side and, after a plus, its object side: ``tiny``, ``tiny+given``, ``given+geometric``.
Without a plus the object side is the source's own, and geometry's where it has none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.contact.protocols import ContactEstimate, ContactObject, PartPair
from hoirecon.contact_map import ContactMap
from hoirecon.data.closedworld import VERSION, ClosedWorldScene, NoisyObservation
from hoirecon.data.closedworld.landmarks import hidden_landmarks, true_landmarks
from hoirecon.errors import InputError
from hoirecon.observation import Keypoints, Observation

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.training.front_end import FrontEnd

Landmarks = Literal["blazepose", "level"]
LANDMARKS: tuple[Landmarks, ...] = ("blazepose", "level")
Form = Literal["soft", "shifted", "hard"]
FORMS: tuple[Form, ...] = ("soft", "shifted", "hard")
HIPS = (23, 24)
"""The landmarks in whose middle the 3D landmarks have their origin."""
MEANS_THRESHOLD = 0.25
"""Mean contact of a category from which it counts: what validation of the small model's first run chose."""


@dataclass(frozen=True)
class ContactOptions:
    """How contact is got and handed to the fit; by default as the estimator says it, as `reconstruct` does."""

    landmarks: Landmarks = "blazepose"
    """Errors of the landmarks that the model is told: those that BlazePose was measured to make, or the level's own in
    the picture (and BlazePose's in depth, as the levels have none). What the fit is told of them is the level's."""
    form: Form = "soft"
    """What the fit is handed: probabilities as they are (``soft``), with their odds shifted so that the threshold
    becomes the fit's own of one half (``shifted``), or 0 and 1 (``hard``). Category means are always shifted."""
    threshold: float = 0.5
    """Probability on the body from which a model's word counts as contact; not used by ``soft``."""
    object_threshold: float = 0.5
    """Likewise on the object."""
    guess_threshold: float = 0.5
    """Likewise of what geometry guesses, on both sides: lower ones leave fewer scenes without contact."""
    parts: bool = False
    """Whether named parts that touch go into the fit as terms of their own, as `reconstruct` does it."""

    def __post_init__(self) -> None:
        if self.landmarks not in LANDMARKS or self.form not in FORMS:
            raise InputError(f"landmarks are one of {', '.join(LANDMARKS)}, forms of {', '.join(FORMS)}, got {self}")
        if not all(0 < t < 1 for t in (self.threshold, self.object_threshold, self.guess_threshold)):
            raise InputError("thresholds lie between 0 and 1")


@dataclass(frozen=True, eq=False)
class Told:
    """What a source says of one scene."""

    body: ContactMap
    object: ContactMap
    pairs: tuple[PartPair, ...] = ()
    """Which part touches which, where the source knows."""

    @property
    def maps(self) -> tuple[ContactMap, ContactMap]:
        """As the fit takes them."""
        return self.body, self.object


@dataclass(eq=False)
class Sources:
    """Everything that may be asked for contact; models are read once, at the first question."""

    options: ContactOptions = field(default_factory=ContactOptions)
    """How contact is got."""
    samples: Path | None = None
    """Folder of drawn training samples, for ``category-mean``; None draws them into the package's home."""
    shards: int = 3
    """Sets of 800 training scenes of which the means are taken."""

    def tell(self, name: str, scene: ClosedWorldScene, given: NoisyObservation, noise_seed: int = 0) -> Told | None:
        """Contact of a scene by the source's name; None where it says nothing (``none``, or given where none is).

        Args:
            name: ``BODY`` or ``BODY+OBJECT``.
            scene: for landmarks, before they are spoilt.
            given: the spoilt evidence.
            noise_seed: another draw of the noise.

        Raises:
            InputError: an unknown source.
        """
        body, thing = sides_of(name)
        if body == "none" or ("given" in (body, thing) and given.contacts is None):
            return None
        own = self._one(body, scene, given, noise_seed)
        other = own if thing == body else self._one(thing, scene, given, noise_seed)
        return Told(own.body, other.object, own.pairs if other is own else ())

    def _one(self, name: str, scene: ClosedWorldScene, given: NoisyObservation, noise_seed: int) -> Told:
        if name == "given":
            assert given.contacts is not None  # seen to by tell
            return Told(*given.contacts)
        guess = self.options.guess_threshold
        if name == "geometric":
            return self._handed(geometric(scene, given), guess, guess)
        if name == "category-mean":
            mean = self._means.get(scene.category, self._means[""])
            on_body = reshaped(ContactMap(mean, given.body.topology, name, scene.category), MEANS_THRESHOLD, "shifted")
            return self._handed(replace(geometric(scene, given), body=on_body, pairs=()), 0.5, guess)
        model = self._model(name)
        seen = observation_with_landmarks(scene, given, self.options.landmarks, noise_seed)
        found = model.estimate(seen, given.body, thing_of(scene, given))
        learned = "object" in model.trained_for
        return self._handed(found, self.options.threshold, self.options.object_threshold if learned else guess)

    def _handed(self, found: ContactEstimate, on_body: float, on_object: float) -> Told:
        body = reshaped(found.body, on_body, self.options.form)
        return Told(body, reshaped(found.object, on_object, self.options.form), found.pairs)

    @staticmethod
    @cache
    def _model(name: str) -> InteractVLM:
        return read_model(name)

    @cached_property
    def _means(self) -> Mapping[str, FloatArray]:
        return category_means(self.samples, self.shards)


NAMED = ("none", "given", "geometric", "category-mean", "tiny")
"""Sources with a name; any other is a folder of weights."""


def sides_of(name: str) -> tuple[str, str]:
    """The sources of body and object that a name stands for.

    Example:
        >>> sides_of("given+geometric"), sides_of("tiny")
        (('given', 'geometric'), ('tiny', 'tiny'))

    Raises:
        InputError: neither a name nor a folder of weights; or one that stands for one side only.
    """
    body, plus, thing = name.partition("+")
    sides = body, thing if plus else body
    for side in sides:
        if side not in NAMED and not (side and Path(side).is_dir()):
            raise InputError(
                f"there is no source of contact '{side}': choose {', '.join(NAMED)}, or a folder of weights"
            )
    if "none" in sides and sides[0] != sides[1]:
        raise InputError(f"'{name}' has contact on one side only: the fit needs both, or none")
    return sides


def read_model(name: str) -> InteractVLM:
    """The model that ships, or one of a folder.

    Raises:
        InputError: the weights look at photographs, and scenes have none that they could see.
    """
    from hoirecon.contact.estimator import InteractVLM

    model = InteractVLM.from_pretrained(name, dtype="float32")
    if not model.network.config.sees_evidence:
        raise InputError(f"'{name}' looks at photographs; the closed world has none: take a model that sees evidence")
    return model


def thing_of(scene: ClosedWorldScene, given: NoisyObservation) -> ContactObject:
    """The object as an estimator is told of it."""
    return ContactObject(given.mesh, scene.thing.category, given.parts)


def geometric(scene: ClosedWorldScene, given: NoisyObservation) -> ContactEstimate:
    """What :class:`~hoirecon.contact.geometric.GeometricContact` says; it is given the noisy body."""
    from hoirecon.contact.geometric import GeometricContact

    return GeometricContact(scene.body_model).estimate(given.observation, given.body, thing_of(scene, given))


# ------------------------------------------------------------------------------------------------------ what is handed
def reshaped(contact: ContactMap, threshold: float, form: Form) -> ContactMap:
    """Contact as the fit takes it, whose own threshold is one half.

    Args:
        contact: probabilities.
        threshold: from which they count.
        form: see :class:`ContactOptions`.
    """
    if form == "soft":
        return contact
    if form == "hard":
        return contact.replace(probability=contact.binary(threshold).astype(np.float64))
    return contact.with_threshold_at_half(threshold)


# ---------------------------------------------------------------------------------------------------------- evidence
def observation_with_landmarks(
    scene: ClosedWorldScene, given: NoisyObservation, landmarks: Landmarks = "blazepose", noise_seed: int = 0
) -> Observation:
    """The noisy observation with 3D landmarks, which the levels do not have.

    Args:
        scene: the truth that is spoilt.
        given: masks, camera and the level's landmarks.
        landmarks: whose errors are laid on them in the picture.
        noise_seed: another draw.
    """
    found = blazepose_landmarks(scene, noise_seed)
    level = given.observation.keypoints
    if landmarks == "level" and level is not None:
        found = Keypoints(level.layout, level.xy, level.confidence, found.xyz)
    return given.observation.replace(keypoints=found)


def blazepose_landmarks(scene: ClosedWorldScene, noise_seed: int = 0, front_end: FrontEnd | None = None) -> Keypoints:
    """The true landmarks spoilt by the errors that BlazePose was measured to make, as in the model's training.

    Args:
        scene: the truth.
        noise_seed: another draw.
        front_end: how much is spoilt; None takes what training takes.
    """
    from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, unpack
    from hoirecon.contact.training.closedworld_data import SIDE, Samples
    from hoirecon.contact.training.front_end import spoilt

    points = true_landmarks(scene)
    xy = scene.camera.project(points)
    outside = ((xy < 0) | (xy > (scene.camera.width, scene.camera.height))).any(1)
    centre, half = xy.mean(0), max(float(np.ptp(xy, axis=0).max()) / 2, 1.0)
    known = {
        "xy": ((xy - centre) / half)[None].astype(np.float32),
        "xyz": (points - points[list(HIPS)].mean(0))[None].astype(np.float32),
        "hidden": (hidden_landmarks(scene, points, xy) | outside)[None],
        "masks": np.zeros((1, 3, SIDE, SIDE // 8), dtype=np.uint8),
        "azimuth": np.array([azimuth_of(scene)], dtype=np.float32),
    }
    row = Samples(**{f.name: known.get(f.name, np.zeros((1, 1))) for f in fields(Samples)})
    digest = zlib.crc32(b"landmarks of a front end")
    rng = np.random.default_rng([VERSION, scene.seed, noise_seed, digest])
    told = unpack(spoilt(row, np.zeros(1, dtype=int), rng, front_end), EvidenceConfig())[0][0].double().numpy()
    return Keypoints("blazepose33", told[:, :2] * half + centre, told[:, 5], told[:, 2:5])


def azimuth_of(scene: ClosedWorldScene) -> float:
    """Direction of the camera round the person, degrees: 0 in front, 90 on the person's left."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(scene.params.global_orient)
    away = turn.inv().apply(-scene.body_verts.mean(0))
    return float(np.degrees(np.arctan2(away[0], away[2])))


# -------------------------------------------------------------------------------------------------- means of categories
def category_means(
    folder: Path | None, shards: int, tell: Callable[[str], None] = lambda _: None
) -> dict[str, FloatArray]:
    """Mean contact (V,) of each category in the small model's training scenes; under '' that of all.

    Args:
        folder: of drawn samples; None: under :func:`~hoirecon.files.home_dir`.
        shards: sets of 800 scenes (about a minute and a half of drawing each).
        tell: takes lines of progress.
    """
    from hoirecon.contact.training.baselines import category_mean
    from hoirecon.contact.training.closedworld_data import category_names
    from hoirecon.contact.training.tiny_run import TinyRun, train_samples
    from hoirecon.files import home_dir

    kept = home_dir() / "tiny-samples" if folder is None else folder
    kept.mkdir(parents=True, exist_ok=True)
    train = train_samples(TinyRun(shards=shards), kept, tell)
    first = [int(np.flatnonzero(train.category == k)[0]) for k in np.unique(train.category)]
    one_each = train.take(np.array(first))
    means = category_mean(train, one_each).astype(np.float64)
    found = {category_names()[k]: m for k, m in zip(one_each.category, means, strict=True)}
    count = np.bincount(train.category, minlength=len(category_names()))[one_each.category]
    return {**found, "": (count[:, None] * means).sum(0) / count.sum()}
