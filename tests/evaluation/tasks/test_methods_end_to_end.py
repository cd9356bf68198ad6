"""Methods by name from files to figures: the learned estimators, geometry, and reconstructions from photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.cli import run as hoirecon
from hoirecon.data.datasets.fixtures import write_contho, write_damon, write_piad, write_pico_db, write_smplh
from hoirecon.errors import InputError
from hoirecon.evaluation import RunConfig, load_run, run_task
from hoirecon.evaluation.runs.runner import make_plan
from hoirecon.evaluation.tasks import get_task
from hoirecon.evaluation.tasks.joint_methods import JOINT
from hoirecon.evaluation.tasks.methods import METHODS, MethodSpec, build_method
from hoirecon.evaluation.tasks.seeing import look, mask_of
from hoirecon.perception.models import missing_models


def _bench(*words: Any) -> int:
    return hoirecon(["bench", *map(str, words), "--no-plots"])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy network in the released layout of InteractVLM: weights, the tokenizer's files, a vision tower inside."""
    pytest.importorskip("transformers")
    from hoirecon.contact.toy import toy_model
    from tests.contact.checkpoints.tiny_checkpoint import write_released

    model = toy_model()
    folder = write_released(tmp_path_factory.mktemp("toy") / "interactvlm-toy", model.network)
    model.tokenizer.save(folder)
    return folder


def test_interactvlm_answers_a_stand_in_of_damon_with_pictures(
    weights: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the issue, word for word but for the folders; the toy network's answers are noise, and scored."""
    write_damon(tmp_path / "DAMON", samples=3, smplx=False)
    body = write_smplh(tmp_path / "SMPLH_NEUTRAL.pkl")
    run = ("run", "--task", "damon/binary", "--method", "interactvlm", "--weights", weights, "--data",
           tmp_path / "DAMON", "--body", body)  # fmt: skip
    assert _bench(*run, "--out", tmp_path / "x") == 0
    found = load_run(tmp_path / "x")
    assert not found.failed
    assert found.about["params"]["answers"] == "generated"
    assert found.about["data"]["topology"] == found.about["params"]["body"] == "standin-6890"
    assert found.score("geo_fp_cm").value is not None
    assert _bench(*run[:-2], "--out", tmp_path / "y") == 2  # without the body it would be on another one
    assert "give its model file with --body" in capsys.readouterr().err
    monkeypatch.setenv("HOIRECON_BODY", str(body))  # said once instead
    assert _bench(*run[:-2], "--out", tmp_path / "z") == 0
    assert (tmp_path / "z" / "scores.json").read_bytes() == (tmp_path / "x" / "scores.json").read_bytes()


@pytest.mark.parametrize(
    ("task", "writer"),
    [("piad/seen", write_piad), pytest.param("pico/body", write_pico_db, marks=pytest.mark.slow)],
)
def test_interactvlm_answers_points_and_bodies_elsewhere(task: str, writer: Any, weights: Path, tmp_path: Path) -> None:
    writer(tmp_path / "data")
    body = write_smplh(tmp_path / "body.npz")
    out = tmp_path / "x"
    args = ("--weights", weights, "--data", tmp_path / "data", "--body", body, "--out", out, "--limit", 2)
    assert _bench("run", "--task", task, "--method", "interactvlm", *args) in (0, 3)
    run = load_run(out)
    assert [row.status for row in run.rows] == ["ok"] * 2


def test_every_family_of_tasks_has_a_method_that_learns_or_measures(tmp_path: Path) -> None:
    """Of the constant ones apart: which methods can be built for contact, affordance and reconstruction."""
    simple = {"all", "nothing", "truth"}
    families = {"contact": {"interactvlm", "tiny", "geometric", "category-mean"}, "affordance": {"interactvlm"},
                "reconstruction": set(JOINT)}  # fmt: skip
    assert set().union(*families.values()) | simple == set(METHODS)
    write_contho(tmp_path)
    task = get_task("behave/contho")
    assert build_method(MethodSpec("mask-depth"), task, task.open(tmp_path), tmp_path).name == "mask-depth"
    with pytest.raises(InputError, match="places objects"):
        other = get_task("behave/contact-contho")
        build_method(MethodSpec("hoirecon"), other, other.open(tmp_path), tmp_path)
    with pytest.raises(InputError, match="asks for a reconstruction: take one of hoirecon"):
        build_method(MethodSpec("all"), task, task.open(tmp_path), tmp_path)


def test_samples_that_fail_say_why(tmp_path: Path) -> None:
    """Pictures of noise hold nobody, and three of four pictures are not there: no sample is lost, each has a reason."""
    if missing_models():
        pytest.skip("BlazePose's files are not here")
    write_contho(tmp_path / "data")
    body = write_smplh(tmp_path / "body.npz")
    out = tmp_path / "x"
    args = ("run", "--task", "behave/contho", "--method", "hoirecon", "--data", tmp_path / "data", "--body", body)
    assert _bench(*args, "--out", out) == 3
    run = load_run(out)
    assert [row.status for row in run.rows] == ["failed"] * 4
    assert sum("the data hands out no image" in row.reason for row in run.rows) == 3
    assert "no person was found" in run.rows[0].reason
    assert run.score("cd_object_cm").value == 100.0  # the worst case


def test_a_baseline_places_the_object_of_a_scene(tmp_path: Path) -> None:
    task = replace(get_task("closedworld/joint"), split="dev")
    run = run_task(task, tmp_path / "data", MethodSpec("mask-depth"), tmp_path / "x", RunConfig(limit=1)).run
    assert run is not None
    assert not run.failed
    value = run.score("surface_object_cm").value
    assert value is not None
    assert 0 < value < 60


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*JOINT, "nothing"} - {"mask-depth"}))
def test_other_reconstructions_place_it_too(method: str, tmp_path: Path) -> None:
    task = replace(get_task("closedworld/joint"), split="dev")
    run = run_task(task, tmp_path / "data", MethodSpec(method), tmp_path / "x", RunConfig(limit=1)).run
    assert run is not None
    assert not run.failed, run.failed[0].reason


@pytest.mark.slow
def test_a_photograph_of_the_closed_world_becomes_a_scene_with_the_small_model(tmp_path: Path) -> None:
    if missing_models():
        pytest.skip("BlazePose's files are not here: hoirecon models fetch")
    task = replace(get_task("closedworld/photograph"), split="dev")
    spec = MethodSpec("hoirecon", weights=Path("tiny"))
    run = run_task(task, tmp_path / "data", spec, tmp_path / "x", RunConfig(limit=1)).run
    assert run is not None
    assert not run.failed, run.failed[0].reason
    value = run.score("cd_object_cm").value
    assert value is not None
    assert 0 < value < 20
    assert "contact" in run.about["params"]


@pytest.mark.parametrize("method", ["hoirecon", "mask-depth"])
@pytest.mark.parametrize("said", ["person", "nothing", "everything"])
def test_methods_are_handed_the_persons_mask(
    method: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way as others; where the mask says nothing, the box says who is meant."""
    import hoirecon as package
    from hoirecon import perception

    task = get_task("closedworld/photograph")
    data = task.open(tmp_path)
    question = data[0].question
    mask = mask_of(question.person_mask)
    if said != "person":
        mask = np.full_like(mask, said == "everything")
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "other.png")
        question = replace(question, person_mask=tmp_path / "other.png")
    told: dict[str, Any] = {}

    def stop(*_: Any, **options: Any) -> None:
        told.update(options)
        raise InputError("seen enough")

    monkeypatch.setattr(package, "reconstruct", stop)
    monkeypatch.setattr(perception, "observe", stop)
    with pytest.raises(InputError, match="seen enough"):
        build_method(MethodSpec(method), task, data, tmp_path).predict(question)
    if said == "person":
        assert told["person"] == ("auto" if method == "hoirecon" else question.person_box)
        assert np.array_equal(told["person_mask"], mask)
    else:
        assert told["person"] == question.person_box
        assert told["person_mask"] is None


def test_a_mask_of_nobody_is_left_out_where_nothing_is_looked_for(tmp_path: Path) -> None:
    question = get_task("closedworld/photograph").open(tmp_path)[0].question
    with Image.open(question.person_mask) as picture:
        Image.new("RGB", picture.size).save(tmp_path / "nobody.png")
    seen = look(replace(question, person_mask=tmp_path / "nobody.png"), landmarks=False)
    assert seen.person_mask is None
    assert look(question, landmarks=False).person_mask is not None


def test_masks_of_labels_are_read_as_perception_reads_them(tmp_path: Path) -> None:
    """0 and 1, not 0 and 255: a mask, not an empty one."""
    labels = np.zeros((20, 30), np.uint8)
    labels[4:9, 5:12] = 1
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert np.array_equal(mask_of(tmp_path / "labels.png"), labels > 0)


@pytest.mark.parametrize(
    ("name", "method", "writer"),
    [("damon/binary", "tiny", write_damon), ("damon/binary", "geometric", write_damon),
     ("behave/contho", "mask-depth", write_contho)],
)  # fmt: skip
def test_answers_on_one_body_are_not_those_on_another(name: str, method: str, writer: Any, tmp_path: Path) -> None:
    """Two files of one topology, such as of two genders: a run of one does not go on with the other."""
    writer(tmp_path / "data")
    task = get_task(name)
    data, keys = task.open(tmp_path / "data"), []
    for girth in (0.0, 0.0, 0.05):
        body = write_smplh(tmp_path / "SMPLH_NEUTRAL.pkl", girth=girth)
        keys.append(
            make_plan(task, data, build_method(MethodSpec(method, body=body), task, data, tmp_path), None)["key"]
        )
    assert keys[0] == keys[1] != keys[2]


def test_baselines_take_no_contact_weights(tmp_path: Path) -> None:
    task = get_task("closedworld/photograph")
    with pytest.raises(InputError, match="takes no --weights"):
        build_method(MethodSpec("icp", weights=Path("tiny")), task, task.open(tmp_path), tmp_path)


@pytest.mark.parametrize("method", ["tiny", pytest.param("geometric", marks=pytest.mark.slow)])
def test_estimators_answer_where_there_is_evidence(method: str, tmp_path: Path) -> None:
    task = replace(get_task("closedworld/human"), split="dev")
    run = run_task(task, tmp_path / "data", MethodSpec(method), tmp_path / "x", RunConfig(limit=1)).run
    assert run is not None
    assert not run.failed, run.failed[0].reason
    assert run.score("f1").value is not None


@pytest.mark.slow
def test_the_whole_way_from_an_exported_photograph(tmp_path: Path) -> None:
    """BlazePose, contact, fit: a rendered scene as an Open3DHOI folder, whose mesh has lost its size."""
    from hoirecon.data.datasets.closedworld_export import export_closedworld

    folder = export_closedworld([0], tmp_path, ["open3dhoi"])["open3dhoi"]
    run = run_task("open3dhoi/gshoi", folder, MethodSpec("hoirecon"), tmp_path / "x").run
    assert run is not None
    assert not run.failed, run.failed[0].reason
    assert run.rows[0].values["scale"] is not None


def test_the_small_models_threshold_is_that_of_its_card() -> None:
    import hoirecon.contact
    from hoirecon.contact_map import CONTACT_THRESHOLD

    card = Path(hoirecon.contact.__file__).parent / "assets" / "tiny" / "card.md"
    row = next(line for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("| small model |"))
    assert float(row.split("|")[2]) == CONTACT_THRESHOLD
