"""What the small model is told beside its landmarks, questions on objects, and scenes in which nothing touches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.contact.modeling.evidence_tower import (
    BONES,
    GLIMPSE,
    EvidenceConfig,
    EvidenceTower,
    detail_features,
    glimpses,
    pack,
    picture_scale,
)
from hoirecon.contact.training.closedworld_data import MOST_VERTS, Samples, draw_samples, object_ids
from hoirecon.contact.training.lessons import LessonConfig, Lessons, vertex_area
from hoirecon.contact.training.object_means import VoxelMean, voxels
from hoirecon.contact.training.quick_scenes import CLEAR_M
from hoirecon.contact.training.quick_step import (
    MOST_BOOST,
    USUAL_SHARE,
    BodyViews,
    QuickWeights,
    SideTasks,
    quick_step,
    vertex_losses,
)
from hoirecon.contact.training.tiny import NO_CONTACT, TinySize
from hoirecon.contact.training.tiny_run import Model, TinyRun, new_model, object_views
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError

SMALL = TinySize(hidden=16, layers=1, tower_layers=1, heads=2, prompt=8, sam_layers=1, view_side=96)


@pytest.fixture(scope="module")
def touching() -> Samples:
    return draw_samples("val", 11, 5)


@pytest.fixture(scope="module")
def apart() -> Samples:
    return draw_samples("val", 11, 3, apart=True)


@pytest.fixture(scope="module")
def model() -> Model:
    return new_model(TinyRun(size=SMALL))


# ------------------------------------------------------------------------------------------------------------- evidence
def evidence() -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.randn(1, 33, 6, generator=torch.Generator().manual_seed(0)) * 0.3
    points[..., 2:4] = points[..., :2] * 2  # a metre is half of the square's half
    points[..., 5] = 0.9
    masks = torch.zeros(1, 3, 64, 64)
    masks[0, 1, 10, 50] = 1
    return points, masks


def test_half_way_to_the_next_landmark_the_object_is_where_it_is() -> None:
    points, masks = evidence()
    told = detail_features(points, masks)
    pixel = torch.tensor([(50 + 0.5) / 32 - 1, (10 + 0.5) / 32 - 1])
    scale = picture_scale(points[..., :2], points[..., 2:5], torch.ones(1, 33, 1))
    knee, hip = 25, BONES[25]
    halfway = (points[0, knee, :2] + points[0, hip, :2]) / 2
    torch.testing.assert_close(told[0, knee, :2], (2 * (pixel - halfway) / scale).clamp(-3, 3), rtol=1e-4, atol=1e-4)
    assert hip == 23


def test_the_middle_of_a_glimpse_is_the_mask_at_the_landmark_and_its_columns_go_to_the_right() -> None:
    _, masks = evidence()
    masks[0, 1, 10, 54] = 1  # four pixels to the right: two places of two pixels
    at = torch.tensor([[[(50 + 0.5) / 32 - 1, (10 + 0.5) / 32 - 1]]])
    seen = glimpses(at, masks, torch.full((1, 1, 1), 2 / 32)).reshape(3, GLIMPSE, GLIMPSE)
    middle = GLIMPSE // 2
    torch.testing.assert_close(seen[1, middle, [middle, middle + 2, middle - 2]], torch.tensor([1.0, 1.0, 0.0]))
    assert seen[0].abs().sum() == 0


def test_unknown_landmarks_tell_nothing_more_either() -> None:
    points, masks = evidence()
    points[0, 4, 5] = 0
    assert (detail_features(points, masks)[0, 4] == 0).all()


def test_a_tower_with_detail_listens_to_it() -> None:
    config = EvidenceConfig(hidden_size=16, intermediate_size=16, num_layers=1, num_heads=2, patch_size=16, detail=True)
    tower = EvidenceTower(config)
    assert tower.landmark_in[0].in_features == config.landmark_numbers
    assert tower(pack(*evidence())).shape == (1, 33 + 4, 16)
    with pytest.raises(InputError, match="BlazePose's 33"):
        EvidenceConfig(landmarks=17, detail=True)


# --------------------------------------------------------------------------------------------------------------- losses
def test_small_contacts_count_as_much_as_large_ones() -> None:
    """Logits of zero: every touched vertex costs log 2 times its weight, so the loss is those weights' sum."""
    truth = torch.zeros(2, 100)
    truth[0, :5], truth[1, :50] = 1, 1
    logits, seen = torch.zeros(2, 1, 100), torch.ones(1, 100)

    def losses(balance: float) -> float:
        found = vertex_losses(logits.sigmoid()[:, 0], logits, seen, truth, None, balance)[0]
        return float(found) / float(np.log(2))

    assert losses(0.0) == pytest.approx(1.0, rel=1e-5)
    # untouched 0.95 and 0.5; touched 0.05 and 0.5, each brought to the usual share
    assert losses(1.0) == pytest.approx((0.95 + USUAL_SHARE + 0.5 + USUAL_SHARE) / 2, rel=1e-5)
    truth[0, 1:5] = 0  # a single vertex in a hundred would be tenfold: too much
    assert losses(1.0) == pytest.approx((0.99 + 0.01 * MOST_BOOST + 0.5 + USUAL_SHARE) / 2, rel=1e-5)


def test_masks_of_own_views_are_those_decoded_one_by_one(model: Model) -> None:
    mv_loc = model.network.mv_loc
    prompts, features = torch.randn(3, 4, 8), torch.randn(3, 4, 8, 12, 12)
    together = mv_loc.localize_many(prompts, features, "object")
    for one, own, found in zip(prompts, features, together, strict=True):
        torch.testing.assert_close(found, mv_loc.localize(one[None], own, "object").logits[0], rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------------------------------------- lessons
def test_nothing_touches_what_was_moved_away_and_the_answer_says_so(apart: Samples, model: Model) -> None:
    assert not apart.contact(slice(None)).any()
    assert not apart.object_contact(slice(None)).any()
    assert (apart.part_distance >= CLEAR_M).all()
    vision = model.network.config.vision
    lessons = Lessons(apart, model.tokenizer, vision, LessonConfig(batch=2, true_words=0.0, glances=0), 0)
    batch = lessons.batch(0)
    for ids, start in zip(batch.answers, batch.learned_from, strict=True):
        assert model.tokenizer.decode(ids).replace("</s>", "").strip() == NO_CONTACT
        assert start == 0
    found = losses(model, batch)
    assert "vertices" not in found
    assert all(torch.isfinite(value) for value in found.values())


def losses(model: Model, batch: object) -> dict[str, torch.Tensor]:
    views = BodyViews.of(model.gallery, model.body)
    side = SideTasks(16, 16, 53)
    return quick_step(model.network, side, views, [1, 5, 6], batch, vertex_area(), QuickWeights())


def test_objects_are_asked_for_in_pictures_that_are_no_mirrors(touching: Samples, model: Model) -> None:
    vision, config = model.network.config.vision, LessonConfig(batch=len(touching), things=2, things_from=3, glances=0)
    lessons = Lessons(touching, model.tokenizer, vision, config, 1, object_views(model))
    assert lessons.batch(2).things is None
    batch, rows = lessons.batch(3), lessons.rows(3)
    things = batch.things
    assert things is not None
    assert len(things.rows) == 2
    for i, contact, views in zip(things.rows.tolist(), things.contact, things.views, strict=True):
        mesh = load_object(object_ids()[touching.instance[rows[i]]]).mesh
        assert len(contact) == views.seen.shape[1] == len(mesh.verts) <= MOST_VERTS
        expected = touching.object_contact(rows)[i]
        np.testing.assert_array_equal(contact.numpy().astype(bool), expected[: len(contact)])
        np.testing.assert_array_equal(batch.contact[i].numpy().astype(bool), touching.contact(rows)[i])
    found = losses(model, batch)
    assert found["objects"].item() > 0
    found["objects"].backward()  # type: ignore[no-untyped-call]
    assert model.network.mv_loc.mask_decoder.iou_token.weight.grad is not None


# ------------------------------------------------------------------------------------------------------------- baseline
def test_the_mean_of_one_voxel_is_the_rate_of_touched_vertices(touching: Samples) -> None:
    mean = VoxelMean(touching, 1)(touching)
    row = 0
    rows = np.flatnonzero(touching.category == touching.category[row])
    counts = [len(load_object(object_ids()[i]).mesh.verts) for i in touching.instance[rows]]
    rate = touching.object_contact(rows).sum() / sum(counts)
    own = len(load_object(object_ids()[touching.instance[row]]).mesh.verts)
    np.testing.assert_allclose(mean[row, :own], rate, rtol=1e-5)
    assert (mean[row, own:] == 0).all()


def test_voxels_of_a_box_are_counted_along_its_axes() -> None:
    name = object_ids()[0]
    verts, cells = load_object(name).mesh.verts, voxels(name, 3)
    assert cells[verts[:, 0].argmin()] < 9
    assert cells[verts[:, 0].argmax()] >= 18
    assert cells.max() < 27
