"""The encoder that comes with the package, its gallery of the library, and a training too small to be good."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.data.objects import list_objects, load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval import ImageQuery, ObjectIndex, ObjectRecord, QueryEncoder, ShapeEncoder
from hoirecon.retrieval.embedded import ViewGallery, library_gallery, load_embedded, rank
from hoirecon.retrieval.embedded.augment import Augmenter
from hoirecon.retrieval.embedded.dataset import DatasetConfig, read_dataset, write_dataset
from hoirecon.retrieval.embedded.encoder import read_encoder, write_encoder
from hoirecon.retrieval.embedded.evaluation import found, learned_scores, mean_and_spread, siblings
from hoirecon.retrieval.embedded.gallery import read_gallery, write_gallery
from hoirecon.retrieval.embedded.network import ViewNet
from hoirecon.retrieval.embedded.protocol import ProtocolConfig, make_test, yaw_chamfer
from hoirecon.retrieval.embedded.training import Log, TrainConfig, contrastive_loss, train_points, train_views
from hoirecon.retrieval.embedded.views import render, view_rotation
from hoirecon.retrieval.surfaces import Surface

BOX = Mesh(*(lambda b: (b.vertices, b.faces))(__import__("trimesh").creation.box((0.4, 1.0, 0.2))), name="box")
needs_manifold = pytest.mark.skipif(
    importlib.util.find_spec("manifold3d") is None, reason="manifold3d makes the shapes"
)


def _mask_of(object_id: str, azimuth: float = 40.0, size: int = 160) -> tuple[np.ndarray, np.ndarray]:
    R = view_rotation(np.radians([azimuth]), np.radians([17.0]), np.radians([8.0]))
    views = render(Surface.from_mesh(load_object(object_id).mesh), R, 3.5, size, samples=1)
    return views.masks[0] > 0, R[0]


@pytest.mark.parametrize("object_id", ["chair/plain", "bicycle/city", "mug/mug"])
def test_a_mesh_of_the_library_is_found_among_all_with_its_rotation(object_id: str) -> None:
    mask, R = _mask_of(object_id)
    hits = rank(mask, k=5)
    assert object_id in [hit.name for hit in hits]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    turned = hits[[hit.name for hit in hits].index(object_id)].rotations
    angles = np.degrees(np.arccos(np.clip((np.einsum("gij,ij->g", turned, R) - 1) / 2, -1, 1)))
    assert angles.min() < 25


def test_the_gallery_holds_the_whole_library() -> None:
    assert library_gallery().names == [entry.id for entry in list_objects()]


def test_only_candidates_are_ranked_and_unknown_ones_refused() -> None:
    mask, _ = _mask_of("chair/plain")
    couches = [entry.id for entry in list_objects("couch")]
    hits = rank(mask, couches, k=3)
    assert len(hits) == 3
    assert {hit.name for hit in hits} <= set(couches)
    with pytest.raises(InputError, match="no shape"):
        rank(mask, ["chair/of nobody"])
    with pytest.raises(InputError, match="no candidates"):
        rank(mask, [])
    with pytest.raises(InputError, match="empty"):
        rank(np.zeros((20, 20), bool))
    for nothing in ({"k": 0}, {"k": -3}, {"guesses": 0}):
        with pytest.raises(InputError, match="at least 1 of each"):
            library_gallery().rank(mask, couches, **nothing)


def test_the_size_of_the_photograph_and_the_place_in_it_do_not_count() -> None:
    mask, _ = _mask_of("guitar/acoustic")
    large = np.zeros((900, 700), bool)
    large[300:620, 250:570] = mask.repeat(2, 0).repeat(2, 1)
    encoder = load_embedded()
    assert float(encoder.encode_query(mask) @ encoder.encode_query(large)) > 0.99


def test_the_encoder_fits_the_protocols_and_an_index() -> None:
    encoder = load_embedded()
    assert isinstance(encoder, ShapeEncoder)
    assert isinstance(encoder, QueryEncoder)
    ids = ["chair/plain", "mug/mug", "bicycle/city", "bottle/wine"]
    mask, _ = _mask_of("mug/mug", 200.0)
    image = np.zeros((*mask.shape, 3), np.uint8)
    for kind in ("views", "points"):
        chosen = replace(encoder, shapes_by=kind)
        rows = chosen.embed_shapes([load_object(name).mesh for name in ids])
        assert rows.shape == (4, 36 if kind == "views" else 1, 128)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-5)
        index = ObjectIndex.build(
            chosen, [load_object(name).mesh for name in ids], [ObjectRecord(name) for name in ids]
        )
        hits = index.search_with(chosen, [ImageQuery(image, mask)], k=2)[0]
        assert hits[0].record.id == "mug/mug", kind
    with pytest.raises(InputError, match="mask"):
        encoder.embed_queries([ImageQuery(image)])


def test_normals_change_the_query_and_must_fit() -> None:
    encoder = load_embedded()
    mask, _ = _mask_of("mug/mug")
    normals = np.zeros((*mask.shape, 3))
    normals[..., 2] = -1
    assert float(encoder.encode_query(mask) @ encoder.encode_query(mask, normals)) < 0.999
    assert len(library_gallery().rank(mask, k=2, normals=normals)) == 2
    with pytest.raises(InputError, match="normals"):
        encoder.encode_query(mask, normals[:10])


def test_a_users_mesh_joins_the_library_and_is_kept_in_files(tmp_path: Path) -> None:
    encoder = load_embedded()
    mine = encoder.encode_shape(BOX, "mine/box")
    write_gallery([mine], encoder, tmp_path / "mine.npz")
    read = read_gallery(tmp_path / "mine.npz", encoder)
    assert float((read.shapes[0].by_mask * mine.by_mask).sum(1).min()) > 0.999
    both = library_gallery().joined(read)
    mask = (
        render(Surface.from_mesh(BOX), view_rotation(np.ones(1), np.full(1, 0.3), np.zeros(1)), size=64).masks[0] > 0.5
    )
    assert "mine/box" in [hit.name for hit in both.rank(mask, k=20)]
    with pytest.raises(InputError, match="same name"):
        both.joined(read)
    with pytest.raises(InputError, match="made by"):
        read_gallery(tmp_path / "mine.npz", replace(encoder, weights_sha256="0" * 64))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "views.safetensors"
    encoder = load_embedded()
    write_encoder(encoder.view_net, encoder.point_net, tmp_path, {})
    again = read_encoder(tmp_path)
    mask, _ = _mask_of("mug/mug")
    np.testing.assert_allclose(again.encode_query(mask), encoder.encode_query(mask), atol=1e-6)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        read_encoder(tmp_path)
    from safetensors.torch import save_file

    save_file({"head.weight": torch.zeros(3)}, str(path))
    with pytest.raises(InputError, match="does not hold"):
        read_encoder(tmp_path)


def test_the_loss_wants_the_own_view_and_forgives_siblings() -> None:
    """Four shapes of two categories, two views each: worked out by hand for orthogonal embeddings."""
    config = replace(TrainConfig(), siblings=2, views=2, temperature=1.0, sibling_share=0.2)
    gallery = torch.eye(8)
    loss, right = contrastive_loss(gallery.clone(), gallery, np.array([5, 5, 3, 3]), config)
    # Of eight views one is the own shape's other: the softmax is over e and six ones; 0.2 goes to one sibling's view.
    log_total = np.log(np.e + 6)
    forgiven = -(0.8 * (1 - log_total) + 0.2 * (0 - log_total))
    assert float(loss) == pytest.approx(forgiven, rel=1e-6)
    assert right == 1.0
    # A category of one shape before one of three: who is whose sibling does not hang on the place in the batch.
    uneven, _ = contrastive_loss(gallery.clone(), gallery, np.array([1, 2, 2, 2]), config)
    assert float(uneven) == pytest.approx((-(1 - log_total) + 3 * forgiven) / 4, rel=1e-6)


def test_augmented_pictures_are_repeatable_and_never_empty() -> None:
    mask, _ = _mask_of("chair/plain", size=48)
    picture = np.concatenate([mask[..., None].astype(np.float32), np.zeros((48, 48, 3), np.float32)], -1)
    augmenter = Augmenter(48, 1)
    a, b = (augmenter(np.stack([picture] * 24), np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    covered = (a[..., 0] > 0.5).sum((1, 2))
    assert covered.min() >= 12
    assert np.ptp(covered) > 50


def test_the_distance_of_shapes_is_blind_to_turns_about_the_vertical() -> None:
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    tall = Mesh(BOX.verts * [1, 2, 1], BOX.faces)
    assert yaw_chamfer(BOX, Mesh(BOX.verts @ turn.T * 3, BOX.faces)) < 0.03
    assert yaw_chamfer(BOX, tall) > 0.05


def test_spread_over_seeds() -> None:
    assert mean_and_spread([{"a": {"x": 1.0}}, {"a": {"x": 3.0}}]) == {"a": {"x": 2.0, "x_sd": 1.4142}}


@pytest.mark.slow
@needs_manifold
def test_a_toy_is_trained_end_to_end_and_beats_chance(tmp_path: Path) -> None:
    kinds = ("bottle", "chair", "dumbbell", "guitar")
    write_dataset(tmp_path / "data", DatasetConfig(per_variant=1, least=6, most=6), kinds)
    data = read_dataset(tmp_path / "data")
    torch.set_num_threads(1)
    config = replace(TrainConfig(), view_steps=60, point_steps=10, groups=4)
    net = train_views(data, config, Log(None))
    points = train_points(data, net, config, Log(None))
    assert isinstance(net, ViewNet)
    write_encoder(net, points, tmp_path / "toy", {})
    encoder = read_encoder(tmp_path / "toy")
    test = make_test(7, replace(ProtocolConfig(), categories=kinds, per_category=4, queries=40))
    gallery = ViewGallery(encoder, tuple(encoder.encode_shape(s.mesh, s.name) for s in test.shapes))
    no_silhouettes = replace(gallery, weights=replace(gallery.weights, overlap=0.0))
    assert found(learned_scores(no_silhouettes, test.queries.masks), test).category_at_1 > 0.6
    scores = learned_scores(gallery, test.queries.occluded)
    assert found(scores, test).category_at_1 > 0.75
    assert 0 <= siblings(scores, test, 7).removed <= 1
