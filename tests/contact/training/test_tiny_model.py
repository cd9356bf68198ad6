"""The small model that ships: it is whole, small, reads evidence only, tells left from right; and it can be made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hoirecon.contact
from hoirecon.contact.checkpoints.native import verify
from hoirecon.contact.estimator import InteractVLM
from hoirecon.contact.inference.evidence import Evidence
from hoirecon.contact.training.closedworld_data import Seen, draw_seen
from hoirecon.contact.training.tiny import GROUPS, touched_groups
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.small_model import body_of, observation_of

if TYPE_CHECKING:
    from hoirecon.contact.training.tiny_run import TinyRun

TINY = Path(hoirecon.contact.__file__).parent / "assets" / "tiny"


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return InteractVLM.from_pretrained("tiny", cache=None)


@pytest.fixture(scope="module")
def seen() -> Seen:
    return next(s for s in draw_seen("val", 21, 50) if s.scene.objects[s.which].touched.sum() > 300)


def test_the_weights_are_whole_small_and_those_of_the_card() -> None:
    from hoirecon.contact.checkpoints.layout import MANIFEST, sha256

    verify(TINY)
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) < 10e6
    assert sha256(TINY / MANIFEST) in (TINY / "card.md").read_text()


def test_it_answers_on_the_body_in_words_that_it_was_taught(model: InteractVLM, seen: Seen) -> None:
    observation = observation_of(seen, np.random.default_rng(0))
    found = model.human_contact(observation, "object")
    assert found.probability.shape == (model.body_model.num_verts,)
    assert found.probability.max() > 0.3
    assert set(found.answer.replace(",", " ").split()) & set(GROUPS)


def test_the_made_observation_shows_the_true_body(seen: Seen) -> None:
    observation, body = observation_of(seen, np.random.default_rng(0)), body_of(seen)
    pixels = observation.camera.project(body.verts)
    assert observation.person_mask is not None
    inside = ((pixels >= 0) & (pixels < 512)).all(1)
    column, row = pixels[inside].astype(int).T
    on_somebody = (observation.person_mask | observation.object_masks[0])[row, column]
    assert on_somebody.mean() > 0.8


def test_pictures_are_refused_with_advice(model: InteractVLM) -> None:
    with pytest.raises(InputError, match="sees landmarks and masks"):
        model.human_contact(np.zeros((8, 8, 3), dtype=np.uint8), "chair")
    with pytest.raises(InputError, match="finds no contact in it"):
        model.image_contact(np.zeros((8, 8, 3), dtype=np.uint8), "chair")


def test_looking_twice_is_looking_once(model: InteractVLM, seen: Seen) -> None:
    evidence = Evidence.of(observation_of(seen, np.random.default_rng(0)))
    look = model.look(evidence)
    again = model.human_contact(look, "object").probability
    np.testing.assert_array_equal(again, model.human_contact(evidence, "object").probability)


def test_its_own_threshold_is_one_half_and_it_says_what_it_knows_of_objects(model: InteractVLM, seen: Seen) -> None:
    config = model.network.config
    assert config.vertex_head == model.body_model.num_verts
    assert 0 < config.human_cut < 1
    assert not model.knows_object("flux capacitor")  # spelled in bytes: nothing was learned of it
    assert not model.knows_object("object")
    assert model.knows_object("cell phone") == ("object" in model.trained_for)
    mesh = load_object(seen.scene.objects[seen.which].object_id).mesh
    label = seen.scene.objects[seen.which].object_id.split("/")[0]
    found = model.object_contact(observation_of(seen, np.random.default_rng(0)), label, mesh)
    assert found.probability.shape == (len(mesh.verts),)
    assert any("usual" in note for note in found.notes)


@pytest.mark.slow
def test_two_minutes_of_training_beat_the_category_mean(tmp_path: Path) -> None:
    """A smaller model, the body only, two minutes of one core beside the drawing of 700 scenes."""
    import torch

    from hoirecon.contact.training.baselines import category_mean
    from hoirecon.contact.training.closedworld_data import draw_samples
    from hoirecon.contact.training.evaluation import best_threshold, f1, names_of, predict
    from hoirecon.contact.training.tiny_report import Asked
    from hoirecon.contact.training.tiny_run import train, train_samples

    torch.set_num_threads(1)
    run = two_minutes()
    model = train(run, tmp_path / "run", tmp_path / "samples", tell=lambda _: None)
    asked = Asked.of(draw_samples("val", 50, 200))
    said = predict(
        model.network, model.tokenizer, model.gallery, model.body, asked.evidence, names_of(asked.samples)
    ).contact
    mean = category_mean(train_samples(run, tmp_path / "samples"), asked.samples)
    best = [f1(values > best_threshold(values, asked.truth), asked.truth).mean() for values in (said, mean)]
    assert best[0] > best[1]
    assert touched_groups(said > 0.5).any()


def two_minutes() -> TinyRun:
    from hoirecon.contact.training.engine import EngineConfig
    from hoirecon.contact.training.lessons import LessonConfig
    from hoirecon.contact.training.tiny import TinySize
    from hoirecon.contact.training.tiny_run import TinyRun

    return TinyRun(
        shards=1, scenes=700, apart_scenes=0, lessons=LessonConfig(batch=20, things=0),
        engine=EngineConfig(steps=450, rate=2e-3, flat_share=0.3, checkpoint_every=450),
        size=TinySize(hidden=96, layers=2, tower_layers=2, prompt=32, objects=False),
    )  # fmt: skip
