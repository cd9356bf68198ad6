"""The closed world as a dataset, and written in the field's formats: real readers give its truth back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.data.closedworld import load_scene, observe_scene
from hoirecon.data.closedworld.photograph import GRAIN, photograph
from hoirecon.data.datasets.closedworld import SPLITS, open_closedworld
from hoirecon.data.datasets.closedworld_export import export_closedworld
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import (
    BodyContactTruth,
    CorrespondenceTruth,
    ObjectContactTruth,
    ReconstructionTruth,
    Sample,
)
from hoirecon.errors import InputError

pytest.importorskip("open3d")
SEEDS = (4, 8)


def truth_of(sample: Sample) -> ReconstructionTruth:
    found = sample.truth["reconstruction"]
    assert isinstance(found, ReconstructionTruth)
    return found


def test_splits_share_no_seed_and_only_dev_is_for_tuning() -> None:
    assert set(SPLITS["dev"]) <= set(range(1000))
    assert min(SPLITS["test"]) >= 1000
    assert (len(SPLITS["dev"]), len(SPLITS["test"])) == (60, 300)


def test_questions_are_wrong_by_the_level_and_truths_are_exact(tmp_path: Path) -> None:
    data = open_dataset("closedworld", tmp_path, "dev", level="L2", limit=5)
    assert (len(data), data.stand_in) == (5, True)
    sample, scene = data[4], load_scene(4)
    given, truth, q = observe_scene(scene, "L2"), truth_of(sample), sample.question
    assert q.image is not None
    assert np.array_equal(np.asarray(Image.open(q.image)), given.observation.image)
    assert q.object_mask is not None
    assert np.array_equal(np.asarray(Image.open(q.object_mask))[..., 0] > 127, given.observation.object_masks[0])
    assert q.object_mesh is not None
    assert truth.object_pose is not None
    assert truth.object_verts is not None
    assert np.abs(truth.object_pose.apply(q.object_mesh.verts) - truth.object_verts).max() < 1e-9
    assert np.array_equal(truth.body_verts, scene.body_verts)
    assert q.body is not None
    assert np.abs(q.body.body_pose - scene.params.body_pose).max() > 1e-3  # an estimate, not the truth
    body, thing = sample.truth["body_contact"], sample.truth["object_contact"]
    assert isinstance(body, BodyContactTruth)
    assert isinstance(thing, ObjectContactTruth)
    assert np.array_equal(body.contact > 0, scene.body_distance < 0.02)
    assert np.array_equal(thing.contact > 0, scene.object_distance < 0.02)
    pairs = sample.truth["correspondences"]
    assert isinstance(pairs, CorrespondenceTruth)
    assert len(pairs.body_verts) == (scene.body_distance < 0.02).sum()


def test_tracks_hand_out_what_they_say(tmp_path: Path) -> None:
    extra = {t: open_closedworld(tmp_path, track=t, limit=5)[4].question.extra for t in
             ("contact", "correspondences", "none")}  # fmt: skip
    assert all(e["symmetries"] is not None for e in extra.values())  # else a ball's turn would be an error
    known = {t: (e["contacts"] is not None, e["correspondences"] is not None) for t, e in extra.items()}
    assert known == {"contact": (True, False), "correspondences": (True, True), "none": (False, False)}
    asked = []

    def predicted(scene: Any, given: Any) -> None:
        asked.append(scene.seed)

    data = open_closedworld(tmp_path, track="predicted", limit=5, predicted=predicted)
    assert data[4].question.extra["contacts"] is None
    assert asked == [4]
    with pytest.raises(InputError, match="needs an estimator"):
        open_closedworld(tmp_path, track="predicted")
    with pytest.raises(InputError, match="track is one of"):
        open_closedworld(tmp_path, track="all")
    with pytest.raises(InputError, match="split is one of"):
        open_closedworld(tmp_path, "train")


def test_a_photograph_comes_with_masks_and_mesh_alone(tmp_path: Path) -> None:
    sample, scene = open_closedworld(tmp_path, track="photograph", limit=5)[4], load_scene(4)
    q = sample.question
    assert q.body is None
    assert q.extra.keys() == {"seed", "level", "symmetries"}, "nothing that a method should find by itself"
    assert q.image is not None
    seen = np.asarray(Image.open(q.image)).astype(int)
    assert np.array_equal(seen, photograph(scene))
    background, person, thing = seen[~scene.person & ~scene.visible], seen[scene.person], seen[scene.visible]
    assert (
        background.std(0).max() < 1.5 * GRAIN < person.std(0).max()
    )  # plain behind; clothes, skin and light on people
    hues = [pixels / pixels.sum(1, keepdims=True) for pixels in (background, person)]
    assert hues[1].std(0).max() > 3 * hues[0].std(0).max()  # light alone moves no hue: clothes and skin do
    assert np.linalg.norm(np.median(thing, axis=0) - np.median(background, axis=0)) > 5 * GRAIN
    assert not np.array_equal(photograph(scene, draw=1), seen)


def test_pictures_of_another_version_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that an earlier library drew into would show its pictures beside the present truth."""
    from hoirecon.data.closedworld import storage

    with monkeypatch.context() as patch:
        patch.setattr(storage, "pictures_digest", lambda: "earlier")
        drawn = open_closedworld(tmp_path, limit=1)[0].question.object_mask
    assert drawn is not None
    now = open_closedworld(tmp_path, limit=1)[0].question.object_mask
    assert now is not None
    assert now != drawn
    assert now.parent.parent.name == f"L2-0-{storage.pictures_digest()}"
    assert storage.pictures_digest() != storage.sources_digest()


def test_the_fingerprint_follows_what_is_asked(tmp_path: Path) -> None:
    prints = {
        open_closedworld(tmp_path, **kwargs).fingerprint
        for kwargs in ({}, {"level": "L0"}, {"track": "none"}, {"noise_seed": 1}, {"limit": 3})
    }
    assert len(prints) == 5
    assert open_closedworld(tmp_path).fingerprint in prints


def test_the_fingerprint_follows_the_code_that_spoils_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else ``--resume`` and ``compare`` would take runs under another noise for runs on one data."""
    from hoirecon.data.closedworld import storage

    now = open_closedworld(tmp_path).fingerprint
    monkeypatch.setattr(storage, "pictures_digest", lambda: "earlier")
    assert open_closedworld(tmp_path).fingerprint != now


def test_every_format_is_read_back_by_its_reader(tmp_path: Path) -> None:
    folders = export_closedworld(SEEDS, tmp_path)
    scenes = {seed: load_scene(seed) for seed in SEEDS}
    for sample in open_dataset("open3dhoi", folders["open3dhoi"]):
        scene = scenes[int(sample.id.split("/")[1].split("-")[0])]
        said = truth_of(sample)
        assert said.body_verts is not None
        assert said.object_verts is not None
        assert np.abs(said.body_verts - scene.body_verts).max() < 1e-12
        assert np.abs(said.object_verts - scene.pose.apply(scene.mesh.verts)).max() < 1e-12
        assert np.array_equal(said.body_params["body_pose"], scene.params.body_pose)
        assert sample.question.camera is not None
        assert np.array_equal(sample.question.camera.K, scene.camera.K)
        assert sample.question.object_mask is not None
        assert np.array_equal(np.asarray(Image.open(sample.question.object_mask)) > 127, scene.visible)
        depth = np.asarray(Image.open(sample.question.extra["depth"])) / 1000
        assert np.abs(depth - scene.depth)[scene.visible].max() < 1.1e-3
    for sample, scene in zip(open_dataset("rhobin", folders["rhobin"]), scenes.values(), strict=True):
        said = truth_of(sample)
        assert (sample.id, said.object_name) == (scene.name, scene.object_id)
        assert said.object_pose is not None
        assert np.array_equal(said.object_pose.T_cam_obj, scene.pose.T_cam_obj)
        assert np.array_equal(said.body_params["pose"][3:66], scene.params.body_pose)
        assert np.array_equal(sample.question.extra["symmetries"][:, :3, :3], scene.symmetry)
    for sample, scene in zip(open_dataset("damon", folders["damon"]), scenes.values(), strict=True):
        contact = sample.truth["body_contact"]
        assert isinstance(contact, BodyContactTruth)
        assert contact.topology == "standin-6890"
        share = contact.contact.sum() / max((scene.body_distance < 0.02).sum(), 1)
        assert 0.9 < share < 1.1  # the stand-in is the same surface with a few vertices less
    assert sorted(p.name for p in folders["pico"].iterdir() if p.is_dir()) == sorted(s.name for s in scenes.values())
    with pytest.raises(InputError, match="not as 'coco'"):
        export_closedworld(SEEDS, tmp_path, ["coco"])  # type: ignore[list-item]
