"""The encoders of shapes and queries behind their protocols: OpenShape, and views by any image embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.arrays import ByteArray
from hoirecon.errors import InputError
from hoirecon.retrieval import EncoderId, ImageQuery, QueryEncoder, ShapeEncoder
from hoirecon.retrieval.checkpoints.folders import save_point_encoder
from hoirecon.retrieval.checkpoints.specs import PointEncoderSpec
from hoirecon.retrieval.clouds import PointCloud, sample_cloud
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import build_point_encoder
from hoirecon.retrieval.openshape import OpenShapeConfig, OpenShapeEncoder
from hoirecon.retrieval.protocols import Float32Array, unit_rows
from hoirecon.retrieval.query_vectors import QueryConfig, query_vectors
from hoirecon.retrieval.surfaces import Surface
from hoirecon.retrieval.view_gallery import ViewGalleryEncoder
from hoirecon.retrieval.view_rendering import ViewSet, render_views
from tests.retrieval.stand_ins import MeanColor, MeanColorAndWords, colored_box, save_clip

SPEC = PointEncoderSpec(
    "tiny",
    PointBertConfig(
        dim=16, depth=1, heads=2, head_dim=8, mlp_dim=16, patch_dim=8, num_patches=8, patch_points=8, embed_dim=12
    ),
)  # fmt: skip
FEW = OpenShapeConfig(points=64, batch=2)
RED, GREEN, BLUE = (230, 20, 20), (20, 230, 20), (20, 20, 230)
BOXES = [colored_box(RED), colored_box(GREEN, (2, 1, 1)), colored_box(BLUE, (1, 3, 1))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    torch.manual_seed(0)
    save_point_encoder(build_point_encoder(SPEC.config), SPEC, folder)
    return folder


def photograph(color: tuple[int, int, int]) -> ImageQuery:
    """A coloured patch on a busy ground, with its mask."""
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    image[mask] = color
    return ImageQuery(image, mask)


def test_openshape_embeds_shapes(weights: Path) -> None:
    encoder = OpenShapeEncoder.from_folder(weights, config=FEW)
    assert isinstance(encoder, ShapeEncoder)
    assert isinstance(encoder, QueryEncoder)
    rows = encoder.embed_shapes(BOXES)
    assert rows.shape == (3, encoder.rows_per_shape, 12)
    assert np.allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-6)
    assert np.array_equal(encoder.embed_shapes(BOXES), rows)
    assert np.allclose(encoder.embed_shapes(BOXES[2:])[0], rows[2], atol=1e-6)
    clouds = [sample_cloud(box, 64) for box in BOXES]
    assert np.array_equal(encoder.embed_clouds(clouds), rows)
    assert encoder.embed_shapes([]).shape == (0, 1, 12)
    assert encoder.encoder_id.name == "tiny"


def test_size_place_and_unit_of_a_mesh_do_not_count(weights: Path) -> None:
    encoder = OpenShapeEncoder.from_folder(weights, config=FEW)
    cloud = sample_cloud(BOXES[1], 64)
    moved = PointCloud(cloud.points * 1000 + [5, 6, 7], cloud.colors)
    assert np.allclose(encoder.embed_clouds([cloud]), encoder.embed_clouds([moved]), atol=1e-4)


def test_clouds_of_several_sizes_in_one_call(weights: Path) -> None:
    encoder = OpenShapeEncoder.from_folder(weights, config=FEW)
    clouds = [sample_cloud(BOXES[0], n) for n in (64, 64, 64, 100, 64)]
    rows = encoder.embed_clouds(clouds)
    alone = np.concatenate([encoder.embed_clouds([cloud]) for cloud in clouds])
    assert np.allclose(rows, alone, atol=1e-6)


def test_queries_need_clip_and_the_right_one(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    encoder = OpenShapeEncoder.from_folder(weights, config=FEW)
    with pytest.raises(InputError, match="without CLIP"):
        encoder.embed_queries([photograph(RED)])
    with pytest.raises(InputError, match=r"clip-20 .* does not go with tiny"):
        OpenShapeEncoder.from_folder(weights, clip=save_clip(tmp_path / "clip-20", projection=20))
    whole = OpenShapeEncoder.from_folder(weights, clip=save_clip(tmp_path / "clip-12"), config=FEW)
    rows = whole.embed_queries([photograph(RED), ImageQuery(label="chair")])
    assert rows.shape == (2, 12)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert whole.encoder_id == encoder.encoder_id


def test_clip_beside_the_weights_is_found(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for file in weights.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_clip(tmp_path / "clip")
    assert OpenShapeEncoder.from_folder(tmp_path).clip is not None


def test_a_query_is_its_image_over_both_grounds_plus_the_weighted_name() -> None:
    embedder = MeanColorAndWords()
    image, mask = photograph(RED).image, photograph(RED).mask
    named = ImageQuery(image, mask, "green_ball")
    bare, with_name = query_vectors([ImageQuery(image, mask), named], embedder, embedder, QueryConfig(text_weight=0.5))
    text = embedder.embed_texts(["a photo of a green ball"])[0]
    assert np.allclose(with_name, unit_rows(bare + 0.5 * text, "it"), atol=1e-6)
    without = query_vectors([named], embedder, embedder, QueryConfig(text_weight=0.0))[0]
    assert np.allclose(without, bare, atol=1e-6)
    assert np.allclose(query_vectors([named], embedder, None), bare[None], atol=1e-6)
    name_only = query_vectors([ImageQuery(label="green_ball")], embedder, embedder, QueryConfig(text_weight=0.0))[0]
    assert np.allclose(name_only, text, atol=1e-6)
    with pytest.raises(InputError, match="embeds no texts"):
        query_vectors([ImageQuery(label="green")], embedder, None)
    assert query_vectors([], embedder, None).shape == (0, 4)


def test_one_ground_is_enough_without_a_mask() -> None:
    class Counting(MeanColor):
        seen = 0

        def embed_images(self, images: Sequence[ByteArray]) -> Float32Array:
            self.seen += len(images)
            return super().embed_images(images)

    embedder, masked = Counting(), photograph(RED)
    query_vectors([masked, ImageQuery(masked.image)], embedder, None)
    assert embedder.seen == 2 + 1


def test_odd_queries_are_refused() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    for wrong, said in (
        ({}, "empty"),
        ({"mask": np.ones((9, 9), bool), "label": "x"}, "without an image"),
        ({"image": image, "mask": np.zeros((9, 9), bool)}, "mask is empty"),
        ({"image": image, "mask": np.ones((8, 9), bool)}, "shape"),
        ({"image": image.astype(float)}, "uint8"),
    ):
        with pytest.raises(InputError, match=said):
            ImageQuery(**wrong)
    for config in ({"backgrounds": ()}, {"backgrounds": (300,)}, {"text_weight": -1.0}, {"text_weight": float("nan")}):
        with pytest.raises(InputError):
            QueryConfig(**config)


def test_encoders_have_names_that_tell_them_apart() -> None:
    encoders = [
        ViewGalleryEncoder(MeanColor()),
        ViewGalleryEncoder(MeanColor(), pooling="max"),
        ViewGalleryEncoder(MeanColor(), ViewSet(azimuths=4)),
        ViewGalleryEncoder(MeanColor(), ViewSet(elevations=(30.0,))),
    ]
    ids = [encoder.encoder_id for encoder in encoders]
    assert len(set(ids)) == 4
    assert ids[0] == ViewGalleryEncoder(MeanColorAndWords()).encoder_id
    for wrong in (("", 3, "0123456789ab"), ("x", 0, "0123456789ab"), ("x", 3, "0123"), ("x", 3, "0123456789AZ")):
        with pytest.raises(InputError, match="expected a name"):
            EncoderId(*wrong)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_view_gallery_finds_the_box_of_that_colour(pooling: str) -> None:
    pytest.importorskip("open3d")
    views = ViewSet(azimuths=4, elevations=(10.0, 40.0), size=32)
    encoder = ViewGalleryEncoder(MeanColorAndWords(), views, pooling)
    assert isinstance(encoder, ShapeEncoder)
    assert isinstance(encoder, QueryEncoder)
    rows = encoder.embed_shapes(BOXES)
    assert rows.shape == (3, 1 if pooling == "mean" else 8, 4)
    queries = encoder.embed_queries([photograph(BLUE), photograph(RED), ImageQuery(label="green box")])
    best = np.einsum("qd,srd->qsr", queries, rows).max(2).argmax(1)
    assert best.tolist() == [2, 0, 1]


def test_the_mean_is_that_of_the_rows_and_the_renderer_is_injected() -> None:
    def flat(surface: Surface, views: ViewSet) -> ByteArray:
        levels = np.linspace(0, 200, len(views)).astype(np.uint8)
        return np.ones((len(views), 8, 8, 3), np.uint8) * levels[:, None, None, None]

    each = ViewGalleryEncoder(MeanColor(), ViewSet(azimuths=3), "max", renderer=flat).embed_shapes(BOXES[:1])
    mean = ViewGalleryEncoder(MeanColor(), ViewSet(azimuths=3), "mean", renderer=flat).embed_shapes(BOXES[:1])
    assert np.allclose(mean[0, 0], unit_rows(each[0].mean(0), "it"), atol=1e-6)
    with pytest.raises(InputError, match="the renderer gave"):
        ViewGalleryEncoder(
            MeanColor(), ViewSet(azimuths=2), renderer=lambda s, v: flat(s, ViewSet(azimuths=3))
        ).embed_shapes(BOXES)
    with pytest.raises(InputError, match="pooling"):
        ViewGalleryEncoder(MeanColor(), pooling="median")


def test_views_show_the_right_side_the_right_way_up() -> None:
    pytest.importorskip("open3d")
    box = colored_box((255, 255, 255), (0.4, 1.0, 0.2))
    colors = np.zeros((12, 3, 3))
    for axis, sign, color in ((2, 1, (1, 0, 0)), (0, 1, (0, 1, 0)), (2, -1, (0, 0, 1))):
        normal = box.face_normals[:, axis] * sign > 0.9
        colors[normal] = color
    surface = Surface(box.verts, box.faces, colors)
    front, right, back, _ = render_views(surface, ViewSet(azimuths=4, elevations=(0.0,), size=40))
    for picture, channel in ((front, 0), (right, 1), (back, 2)):
        assert picture[20, 20].argmax() == channel
    drawn = (front < 250).any(2)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert 0.32 < len(columns) / len(rows) < 0.48
    assert len(rows) > 30
    # From above and to the front, the upper half of the picture shows what is at the back.
    top = Surface(box.verts, box.faces, np.where(box.verts[box.faces][..., 1:2] > 0, 1.0, 0.0) * np.ones(3))
    above = render_views(top, ViewSet(azimuths=1, elevations=(0.0,), size=40))[0]
    assert above[8, 20, 0] > above[31, 20, 0] + 80


def test_rotations_are_those_of_the_pictures() -> None:
    pytest.importorskip("open3d")
    views = ViewSet(azimuths=5, elevations=(-90.0, 20.0, 90.0), size=48, field_of_view=20)
    verts = np.array(
        [[0.9, 0, 0], [0.8, 0.1, 0.05], [0.8, -0.1, -0.05], [-0.9, 0, 0], [-0.9, 0.01, 0], [-0.9, 0, 0.01]]
    )
    surface = Surface(verts, np.array([[0, 1, 2], [3, 4, 5]]), np.zeros((2, 3, 3)))
    rotations, pictures = views.rotations(), render_views(surface, views)
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1)
    checked = 0
    for R, picture in zip(rotations, pictures, strict=True):
        row, column = np.nonzero((picture < 200).any(2))
        side = R @ np.array([0.85, 0, 0])
        if len(row) > 4 and np.hypot(*side[:2]) > 0.5:
            seen = np.array([column.mean() + 0.5, row.mean() + 0.5]) / 48 * 2 - 1
            expected = side[:2] / np.linalg.norm(side[:2])
            assert seen @ expected > 0.35
            checked += 1
    assert checked >= 6
