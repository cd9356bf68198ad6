"""Tasks as data: every one has readers and protocols of its kind; questions that guard the truth; methods."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.body_params import BodyParams
from hoirecon.data.body import load_body
from hoirecon.data.datasets.registry import get_entry
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Question, Sample
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks import TruthAskedError, get_task, list_tasks
from hoirecon.evaluation.tasks.methods import (
    Constant,
    Geometric,
    Learned,
    MethodSpec,
    Shape,
    build_method,
    category_mean,
    shape_of,
)
from hoirecon.evaluation.tasks.predictor import TRUTH_FIELDS, guarded, prediction_of_truth
from hoirecon.evaluation.tasks.task import read_tasks


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_every_task_has_a_reader_a_split_and_protocols_of_its_kind(task: Any) -> None:
    entry = get_entry(task.dataset)
    assert task.split in entry.splits
    assert task.truth in entry.truth
    assert not task.train_split or task.train_split in entry.splits
    assert task.train_split != task.split
    presets = task.presets()
    assert [p.name for p in presets] == list(task.protocols)
    assert all(p.metrics for p in presets)


def test_unknown_tasks_and_broken_lists_are_named() -> None:
    with pytest.raises(InputError, match="damon/binary"):
        get_task("damon")
    for text in ("x = [", "[[task]]\nname = 'a'\n", "nothing = 1\n"):
        with pytest.raises(InputError, match=r"mine\.toml"):
            read_tasks(text, "mine.toml")


def test_a_guarded_question_shows_all_but_the_truth() -> None:
    question = guarded(Question("a", label="cup", extra={"k": 1}))
    assert (question.id, question.label, question.extra["k"]) == ("a", "cup", 1)
    for name in sorted(TRUTH_FIELDS):
        with pytest.raises(TruthAskedError):
            getattr(question, name)
        with pytest.raises(TruthAskedError):
            hasattr(question, name)
    with pytest.raises(AttributeError, match="has no 'colour'"):
        _ = question.colour
    assert copy.deepcopy(question).id == pickle.loads(pickle.dumps(question)).id == "a"


class _List:
    """A dataset in memory."""

    name, version, split, licence, stand_in, fingerprint = "toy", "1", "train", "CC0", True, "f" * 40

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Any:
        return iter(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def _sample(name: str, label: str, contact: list[float]) -> Sample:
    return Sample(Question(name, label=label), {"body_contact": BodyContactTruth(np.array(contact), "standin-3")})


def test_category_means_are_shares_of_training_samples() -> None:
    train = _List([_sample("a", "cup", [1, 0, 0]), _sample("b", "cup", [1, 1, 0]), _sample("c", "bat", [0, 0, 1])])
    shape = shape_of(get_task("damon/binary"), train)
    method = category_mean(shape, train, "body_contact")
    said = method.predict(Question("x", label="cup")).body_contact
    assert said is not None
    assert said.tolist() == [1.0, 0.5, 0.0]
    unknown = method.predict(Question("x", label="boat")).body_contact
    assert unknown is not None
    assert unknown.tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    with pytest.raises(InputError, match="no labels of 3 values"):
        category_mean(shape, _List([_sample("a", "cup", [1, 0])]), "body_contact")


def test_constants_count_what_is_asked() -> None:
    shape = Shape("affordance", "", 0)
    said = Constant("all", 1.0, shape).predict(Question("a", points=np.zeros((5, 3))))
    assert said.affordance is not None
    assert said.affordance.tolist() == [1.0] * 5
    with pytest.raises(InputError, match="no mesh or points"):
        Constant("all", 1.0, shape).predict(Question("a"))


def test_the_truth_as_a_prediction() -> None:
    truth = {"affordance": AffordanceTruth(np.zeros((2, 3)), np.array([0.0, 1.0]), "sit")}
    said = prediction_of_truth(Sample(Question("a"), truth))
    assert said.affordance is not None
    assert said.affordance.tolist() == [0.0, 1.0]


def test_geometry_answers_from_what_the_question_hands_out(tmp_path: Path) -> None:
    from hoirecon.camera import Camera

    body = load_body()
    camera = Camera(np.array([[200.0, 0, 80], [0, 200, 100], [0, 0, 1]]), 160, 200)
    params = BodyParams.rest().replace(global_orient=[np.pi, 0, 0], transl=[0.0, 0.2, 3.0])
    marks = camera.project(body.pose(params).joints)
    hand = marks[20]
    mask = np.zeros((200, 160), np.uint8)
    x, y = (int(v) for v in np.clip(hand, 8, (150, 190)))
    mask[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 255
    Image.fromarray(np.full((200, 160, 3), 120, np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    question = Question("a", tmp_path / "photo.png", "bottle", object_mask=tmp_path / "mask.png", camera=camera,
                        body=params)  # fmt: skip
    said = Geometric(body, Shape("body_contact", body.topology, body.num_verts)).predict(question)
    assert said.topology == body.topology
    assert said.body_contact is not None
    assert len(said.body_contact) == body.num_verts
    assert 0 < said.body_contact.max() <= 1
    with pytest.raises(InputError, match="hands out no object mask"):
        Geometric(body, Shape("body_contact", "", 3)).predict(Question("a", tmp_path / "photo.png"))


def test_the_learned_method_generates_its_answer() -> None:
    pytest.importorskip("transformers")
    from hoirecon.contact.toy import toy_model

    model = toy_model()
    method = Learned(model, Shape("body_contact", model.body_model.topology, model.body_model.num_verts), "abc")
    assert method.params["answers"] == "generated"
    with pytest.raises(InputError, match="no image"):
        method.predict(Question("a", label="cup"))


def test_methods_are_named() -> None:
    train, task = _List([_sample("a", "cup", [1, 0, 0])]), get_task("damon/binary")
    with pytest.raises(InputError, match="no method is called 'magic'"):
        build_method(MethodSpec("magic"), task, train, Path())
    with pytest.raises(InputError, match="give --weights"):
        build_method(MethodSpec("interactvlm"), task, train, Path())
