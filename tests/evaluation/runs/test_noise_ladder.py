"""Noise ladders: spoilt questions that are the same for everybody, rungs that are runs, a table and a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.cli import run as hoirecon
from hoirecon.contact_map import ContactMap
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question
from hoirecon.errors import InputError
from hoirecon.evaluation import load_run
from hoirecon.evaluation.runs.ladder import read_ladder, run_ladder, write_ladder
from hoirecon.evaluation.runs.runner import RunConfig, run_task
from hoirecon.evaluation.tasks.methods import MethodSpec
from hoirecon.evaluation.tasks.noise import AXES, SPOIL, Noise, Noisy, flipped, shifted
from hoirecon.observation import Keypoints, Observation

CAMERA = Camera(np.array([[100.0, 0, 20], [0, 100, 15], [0, 0, 1]]), 40, 30)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    """A question that hands out everything there is to spoil."""
    rgb, mask = np.full((30, 40, 3), 100, np.uint8), np.zeros((30, 40), bool)
    mask[8:22, 10:30] = True
    Image.fromarray(rgb).save(tmp_path / "image.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    points = Keypoints("coco17", np.full((17, 2), 10.0), np.ones(17))
    maps = tuple(ContactMap(np.repeat([1.0, 0.0], [10, 30]), name) for name in ("body", "thing"))
    return Question(
        "a/1", tmp_path / "image.png", "cup", person_mask=tmp_path / "mask.png", object_mask=tmp_path / "mask.png",
        camera=CAMERA, body=BodyParams.rest(),
        extra={"observation": Observation(rgb, CAMERA, mask, (mask,), keypoints=points), "contacts": maps},
    )  # fmt: skip


def _size(noise: Noise, question: Question, folder: Path) -> float:
    """How far a spoilt question is from the true one, whatever is spoilt."""
    found = SPOIL[noise.axis](question, noise, folder)
    true, said = question.extra["observation"], found.extra["observation"]
    assert found.id == question.id
    assert true.keypoints is not None
    return float(
        {
            "image": lambda: np.abs(said.image.astype(float) - true.image).mean(),
            "mask": lambda: (said.object_masks[0] != true.object_masks[0]).sum(),
            "landmarks": lambda: np.abs(said.keypoints.xy - true.keypoints.xy).mean(),
            "camera": lambda: abs(np.log(said.camera.K[0, 0] / true.camera.K[0, 0])),
            "body": lambda: np.abs(found.body.body_pose - question.body.body_pose).mean(),  # type: ignore[union-attr]
            "contact": lambda: np.abs(
                found.extra["contacts"][0].probability - question.extra["contacts"][0].probability
            ).sum(),
        }[noise.axis]()
    )


@pytest.mark.parametrize("axis", sorted(SPOIL))
def test_noise_rises_is_repeatable_and_leaves_the_question_alone(axis: str, question: Question, tmp_path: Path) -> None:
    before = question.extra["observation"].image.copy()
    sizes = [_size(Noise(axis, amount), question, tmp_path) for amount in AXES[axis].amounts]
    assert sizes[0] == 0
    assert all(a < b for a, b in pairwise(sizes)), sizes
    assert _size(Noise(axis, AXES[axis].amounts[1]), question, tmp_path) == sizes[1]
    assert np.array_equal(question.extra["observation"].image, before)


def test_spoilt_pictures_and_memory_agree(question: Question, tmp_path: Path) -> None:
    """Methods that read files and methods that take the observation see the same noise."""
    from hoirecon.images import read_image

    found = SPOIL["mask"](question, Noise("mask", "3"), tmp_path / "x")
    assert found.object_mask is not None
    assert np.array_equal(read_image(found.object_mask).rgb[..., 0] > 127, found.extra["observation"].object_masks[0])
    found = SPOIL["image"](question, Noise("image", "20"), tmp_path / "x")
    assert found.image is not None
    assert np.array_equal(read_image(found.image).rgb, found.extra["observation"].image)


def test_by_hand() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    assert shifted(mask, 1, out=True).sum() == 9 + 12
    assert shifted(mask, 1, out=False).sum() == 1
    assert shifted(mask, 5, out=False).sum() == 1  # never empty
    spoilt = flipped(np.repeat([0.9, 0.1], [10, 90]), 0.3, np.random.default_rng(0))
    assert (spoilt >= 0.5).sum() == 10
    assert (spoilt[:10] >= 0.5).sum() == 7  # precision and recall are both 0.7
    assert Noise("camera", "15").size == 15


@pytest.mark.parametrize("text", ["mask", "mask=", "mask=-1", "mask=nan", "smell=3", "level=L9", "mask=a"])
def test_noise_that_is_none_is_named(text: str) -> None:
    with pytest.raises(InputError):
        Noise.parse(text)


def test_what_is_not_handed_out_cannot_be_spoilt(tmp_path: Path) -> None:
    for axis, spoil in SPOIL.items():
        with pytest.raises(InputError, match="hands out no"):
            spoil(Question("a"), Noise(axis, "1"), tmp_path)


def test_noise_is_in_the_parameters_and_zero_is_the_method_itself(question: Question, tmp_path: Path) -> None:
    class Echo:
        name = "echo"
        params: dict[str, Any] = {"a": 1}  # noqa: RUF012

        def predict(self, question: Question) -> Prediction:
            assert question.image is not None
            return Prediction(question.id, body_contact=[1.0, 1.0, 0.0, 0.0], notes=(question.image.name,))

    method = Noisy(Echo(), Noise("image", "8", seed=3), tmp_path)
    assert method.name == "echo"
    assert method.params == {"a": 1, "noise": {"axis": "image", "amount": "8", "seed": 3}}
    assert method.predict(question).notes != ("image.png",)
    assert Noisy(Echo(), Noise("image", "0"), tmp_path).predict(question).notes == ("image.png",)
    said = Noisy(Echo(), Noise("answer", "0.5"), tmp_path).predict(question).body_contact
    assert said is not None
    assert (said.sum(), said[:2].sum()) == (2.0, 1.0)


def test_a_ladder_from_the_command_line(damon: Path, tmp_path: Path, capsys: Any) -> None:
    """The truth with a tenth and a half of its contact misplaced: precision and recall fall by as much."""
    base = ("bench", "ladder", "--task", "damon/binary", "--method", "truth", "--data", str(damon), "--axis", "answer",
            "--amounts", "0,0.1,0.5", "--limit", "4", "--out", str(tmp_path / "ladder"))  # fmt: skip
    assert hoirecon([*base, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    values = [next(s["value"] for s in r["runs"][0]["scores"] if s["metric"] == "f1") for r in told["rungs"]]
    assert values[0] == 1.0
    assert values[1:] == pytest.approx([0.9, 0.5], abs=0.01)
    assert {p.name for p in (tmp_path / "ladder").glob("ladder.*")} >= {"ladder.md", "ladder.json"}
    assert hoirecon(list(base)) == 2  # answers are there
    assert hoirecon([*base, "--resume"]) == 0
    folders = [str(tmp_path / "ladder" / f"answer-{a}") for a in ("0.5", "0", "0.1")]
    assert hoirecon(["bench", "ladder", *folders, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/ladder.json").read_bytes() == (tmp_path / "ladder/ladder.json").read_bytes()
    capsys.readouterr()
    for words in (["--axis", "level"], ["--task", "x"], ["--method", "x"], ["--amounts", "0,x"], ["--amounts", "0"]):
        assert hoirecon([*base, *words]) in (1, 2)
        assert capsys.readouterr().err.startswith("hoirecon: ")


def test_runs_with_noise_carry_it(damon: Path, tmp_path: Path) -> None:
    args = ["bench", "run", "--task", "damon/binary", "--method", "truth", "--data", str(damon), "--limit", "2",
            "--noise", "answer=0.2", "--out", str(tmp_path / "x"), "--no-plots"]  # fmt: skip
    assert hoirecon(args) == 0
    run = load_run(tmp_path / "x")
    assert run.about["params"]["noise"] == {"axis": "answer", "amount": "0.2", "seed": 0}
    with pytest.raises(InputError, match="two rungs or more"):
        read_ladder([run])
    clean = replace(run, about={**run.about, "params": {}})
    assert list(read_ladder([run, clean])) == ["0", "0.2"]
    with pytest.raises(InputError, match="no metric 'smell'"):
        write_ladder(read_ladder([run, clean]), tmp_path / "y", "smell")
    with pytest.raises(InputError, match="one kind of noise"):
        read_ladder([clean, clean])


def test_a_run_without_noise_is_the_level_that_it_was_given(damon: Path, tmp_path: Path) -> None:
    """The closed world hands out L2 where no level is asked for: such a run is no rung L0."""
    outcome = run_task("damon/binary", damon, MethodSpec("truth"), tmp_path / "x", RunConfig(limit=2))
    assert outcome.run is not None
    spoilt = {"noise": Noise("level", "L3").plain()}
    ladder = read_ladder([replace(outcome.run, about={**outcome.run.about, "params": spoilt}), outcome.run])
    assert list(ladder) == ["L2", "L3"]


@pytest.mark.slow
def test_levels_of_the_closed_world_are_rungs(tmp_path: Path) -> None:
    from hoirecon.evaluation.tasks import get_task

    task = replace(get_task("closedworld/human"), split="dev")
    ladder = run_ladder(task, tmp_path / "data", MethodSpec("geometric"), tmp_path / "x", "level", ("L0", "L3"),
                        RunConfig(limit=1))  # fmt: skip
    assert list(ladder) == ["L0", "L3"]
    assert not any(run.failed for runs in ladder.values() for run in runs)
