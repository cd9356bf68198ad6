"""The small contact model against geometry, on the test scenes that its training drew.

python -m hoirecon.evaluation.closedworld.small_model --weights runs/tiny/weights --samples 150

Both are given the same masks. Geometry is given the true body, posed and placed, and the true object's parts; the model
is given landmarks spoilt by BlazePose's measured errors and the object's name. Thresholds come from validation scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.contact.estimator import InteractVLM
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.inference.evidence import Evidence
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, unpack
from hoirecon.contact.protocols import ContactObject
from hoirecon.contact.training.closedworld_data import SIDE, Samples, Seen, Split, draw_seen
from hoirecon.contact.training.evaluation import TABLE_HEAD, Scores, best_threshold, compared, score
from hoirecon.contact.training.front_end import spoilt
from hoirecon.contact.training.lessons import vertex_area
from hoirecon.contact.training.tiny_run import TEST_SEED, VAL_SEED
from hoirecon.contact_map import ContactMap
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.objects import load_object
from hoirecon.observation import Keypoints, Observation
from hoirecon.scene import SceneBody

TIMES = 8
"""Pixels of the observation for one of the samples' masks."""


@dataclass(frozen=True, eq=False)
class Found:
    """What both methods say of some samples, and what is so."""

    model: FloatArray
    """(n, V)."""
    geometry: FloatArray
    """(n, V)."""
    truth: BoolArray
    """(n, V)."""


def ask(model: InteractVLM, split: Split, seed: int, count: int) -> Found:
    """Ask both about the first samples of a split."""
    geometry = GeometricContact(body_model())
    said, guess, truth = list[FloatArray](), list[FloatArray](), list[BoolArray]()
    for number, seen in enumerate(islice(_samples(split, seed), count)):
        observation = observation_of(seen, np.random.default_rng([seed, number]))
        thing = load_object(seen.scene.objects[seen.which].object_id)
        guessed = geometry.estimate(observation, body_of(seen), ContactObject.of(thing))
        answered = model.ask([Query("human", Evidence.of(observation), thing.id.split("/")[0])])[0]
        assert isinstance(answered, ContactMap)
        said.append(answered.probability)
        guess.append(guessed.body.probability)
        truth.append(seen.scene.objects[seen.which].touched)
    return Found(np.stack(said), np.stack(guess), np.stack(truth))


def _samples(split: Split, seed: int) -> Iterator[Seen]:
    return draw_seen(split, seed, 1_000_000)


def observation_of(seen: Seen, rng: np.random.Generator) -> Observation:
    """A sample as a front end gives it: spoilt masks, enlarged, and spoilt landmarks in their pixels."""
    samples = Samples(**{name: value[None] for name, value in seen.row.items()})
    landmarks, masks = (t[0].numpy() for t in unpack(spoilt(samples, np.zeros(1, dtype=int), rng), EvidenceConfig()))
    low, side = square_of(seen)
    pixels, size = np.kron(masks, np.ones((1, TIMES, TIMES))) > 0, SIDE * TIMES
    focal = size / side
    camera = Camera(np.array([[focal, 0, -low[0] * focal], [0, focal, -low[1] * focal], [0, 0, 1.0]]), size, size)
    xy = (landmarks[:, :2].astype(float) + 1) / 2 * size
    points = Keypoints("blazepose33", xy, landmarks[:, 5].astype(float), landmarks[:, 2:5].astype(float))
    image = np.zeros((size, size, 3), dtype=np.uint8)
    return Observation(image, camera, pixels[0] & ~pixels[1], (pixels[1],), pixels[2] & ~pixels[1], points)


def square_of(seen: Seen) -> tuple[FloatArray, float]:
    """Corner and side of the square that a sample looks at, units of the focal length, from where landmarks went."""
    marks, xy = seen.view.points(seen.scene.landmarks)[:, :2], seen.row["xy"].astype(float)
    per_unit = np.ptp(xy[:, 1]) / np.ptp(marks[:, 1])
    return marks.mean(0) - (xy.mean(0) + 1) / per_unit, 2 / per_unit


def body_of(seen: Seen) -> SceneBody:
    """The true body in the camera's frame."""
    figure, view = seen.scene.figure, seen.view
    pelvis = figure.rest_joints[0]
    turned = (Rotation.from_matrix(view.R) * Rotation.from_rotvec(figure.rotvecs[0])).as_rotvec()
    params = figure.params().replace(global_orient=turned, transl=view.R @ pelvis + view.t - pelvis)
    return body_model().pose(params)


def compare(model: InteractVLM, count: int) -> tuple[Scores, Scores]:
    """Figures of the model and of geometry on as many test samples, thresholds from half as many of validation."""
    val, test = ask(model, "val", VAL_SEED, count // 2), ask(model, "test", TEST_SEED, count)
    area = vertex_area().double().numpy()
    found = []
    for name, of_val, of_test in (
        ("small model", val.model, test.model),
        ("geometry, given the true body", val.geometry, test.geometry),
    ):
        found.append(score(name, of_test, test.truth, best_threshold(of_val, val.truth), area))
    return found[0], found[1]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="tiny")
    parser.add_argument("--samples", type=int, default=150)
    options = parser.parse_args()
    model = InteractVLM.from_pretrained(_path(options.weights))
    ours, theirs = compare(model, options.samples)
    print(f"n = {len(ours.each)}\n{TABLE_HEAD}\n{ours.row()}\n{theirs.row()}\n{compared(ours, theirs)}")


def _path(weights: str) -> str | Path:
    return Path(weights) if Path(weights).is_dir() else weights


if __name__ == "__main__":
    main()
