"""What the encoders are trained on: shapes drawn from the library's generators, their views and points, in a folder."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hoirecon.arrays import FloatArray
from hoirecon.files import atomic_folder, read_json, write_json
from hoirecon.retrieval.clouds import sample_cloud
from hoirecon.retrieval.embedded.shapes import DrawnShape, ShapeSpread, draw_shape, parametric_variants
from hoirecon.retrieval.embedded.views import SIZE, Views, render, view_rotation
from hoirecon.retrieval.surfaces import Surface
from hoirecon.retrieval.view_rendering import ViewSet

Int8Array = npt.NDArray[np.int8]

TRAINING_SEED = 5000
"""Of all that is drawn for training; the test's seeds are below 2000."""
GALLERY_VIEWS = ViewSet(azimuths=12, elevations=(2.0, 22.0, 42.0), size=SIZE)
"""From where a shape of the gallery is seen: 36 views."""
MARKER = "shapes.json"


@dataclass(frozen=True)
class DatasetConfig:
    """Sizes of the training set."""

    per_variant: int = 5
    """Shapes drawn near each parametric mesh of the library."""
    least: int = 8
    """Fewest shapes of a category."""
    most: int = 45
    """Most shapes of a category."""
    queries: int = 18
    """Random views of a shape, each near a view of the gallery that all shapes of the category share."""
    points: int = 1024
    """Points of a shape's cloud."""
    spread: ShapeSpread = field(default_factory=lambda: ShapeSpread(0.15, 0.3, 0.1, 0.5, 0.15))
    """How far the shapes lie from those of the library."""
    distance: tuple[float, float] = (1.8, 8.0)
    """Of the random views' cameras, in radii of the object."""
    roll: float = 16.0
    """Largest roll of the random views, degrees."""


@dataclass(frozen=True)
class TrainingSet:
    """Pictures and points of the training shapes; pictures are (mask, normals) times 127."""

    categories: npt.NDArray[np.int64]
    """(N,) number of each shape's category."""
    gallery: Int8Array
    """(N, 36, S, S, 4) from :data:`GALLERY_VIEWS`."""
    queries: Int8Array
    """(N, Q, S, S, 4) random views."""
    query_view: npt.NDArray[np.int64]
    """(N, Q) which view of the gallery is nearest."""
    clouds: npt.NDArray[np.float16]
    """(N, P, 3) points, y up, centred on their mean, the farthest at distance 1."""


def drawn_shapes(config: DatasetConfig, only: tuple[str, ...] | None = None) -> Iterator[DrawnShape]:
    """The training shapes, category by category; ``only`` some of them."""
    by_category: dict[str, list[str]] = {}
    variants = parametric_variants()
    for name, variant in variants.items():
        by_category.setdefault(variant.category, []).append(name)
    for category, names in by_category.items():
        if only is not None and category not in only:
            continue
        count = int(np.clip(config.per_variant * len(names), config.least, config.most))
        for draw in range(count):
            yield draw_shape(variants[names[draw % len(names)]], TRAINING_SEED, draw, config.spread)


def write_dataset(folder: Path, config: DatasetConfig = DatasetConfig(), only: tuple[str, ...] | None = None) -> None:
    """Draw the shapes, render them, and write the folder whole or not at all."""
    shapes = list(drawn_shapes(config, only))
    names = sorted({shape.category for shape in shapes})
    size, count = SIZE, len(shapes)
    with atomic_folder(folder, MARKER) as part:
        gallery = _memmap(part / "gallery.npy", (count, len(GALLERY_VIEWS), size, size, 4))
        queries = _memmap(part / "queries.npy", (count, config.queries, size, size, 4))
        query_view = np.zeros((count, config.queries), np.int64)
        clouds = np.zeros((count, config.points, 3), np.float16)
        for i, shape in enumerate(tqdm(shapes, desc="rendering", mininterval=10)):
            rng = np.random.default_rng([TRAINING_SEED, i, 1])
            surface = Surface.from_mesh(shape.mesh)
            gallery[i] = packed(render(surface, GALLERY_VIEWS.rotations()))
            query_view[i] = shared_views(shape.category, config.queries)
            queries[i] = packed(_random_views(surface, query_view[i], rng, config))
            clouds[i] = unit_cloud(surface, config.points, seed=i)
        np.save(part / "query_view.npy", query_view)
        np.save(part / "clouds.npy", clouds)
        rows = [{"name": s.name, "category": names.index(s.category)} for s in shapes]
        write_json(part / MARKER, {"categories": names, "shapes": rows, "config": asdict(config)})


def read_dataset(folder: Path) -> TrainingSet:
    """A written training set; the pictures are mapped, not read."""
    rows = read_json(folder / MARKER)["shapes"]
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("gallery", "queries")}
    return TrainingSet(
        categories=np.array([row["category"] for row in rows]),
        query_view=np.load(folder / "query_view.npy"),
        clouds=np.load(folder / "clouds.npy"),
        **arrays,
    )


def shared_views(category: str, count: int) -> npt.NDArray[np.int64]:
    """(count,) which views of the gallery the queries of a category are near: every other one, in a row of its own."""
    every = len(GALLERY_VIEWS) // count
    return np.arange(count) * every + zlib.crc32(category.encode()) % every


def unit_cloud(surface: Surface, points: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """(points, 3) of a shape, y up, centred on their mean, the farthest at distance 1."""
    cloud = sample_cloud(surface, points, seed).points
    cloud = cloud - cloud.mean(0)
    unit: npt.NDArray[np.float32] = (cloud / max(float(np.linalg.norm(cloud, axis=1).max()), 1e-9)).astype(np.float32)
    return unit


def packed(views: Views) -> Int8Array:
    """(V, S, S, 4) mask and normals times 127."""
    joined = np.concatenate([views.masks[..., None], views.normals], -1)
    return np.round(127 * joined).astype(np.int8)


def _random_views(
    surface: Surface, near: npt.NDArray[np.int64], rng: np.random.Generator, config: DatasetConfig
) -> Views:
    """Views about as far from the gallery's as its own are from each other; half with hard edges, half with soft."""
    count = len(near)
    azimuth, elevation = _view_angles(near)
    azimuth = azimuth + rng.uniform(-0.5, 0.5, count) * 2 * np.pi / GALLERY_VIEWS.azimuths
    elevation = elevation + np.radians(rng.uniform(-10, 10, count))
    roll = np.radians(rng.uniform(-config.roll, config.roll, count))
    R_cam_obj, distance = view_rotation(azimuth, elevation, roll), rng.uniform(*config.distance, count)
    hard = np.arange(count) % 2 == 0
    out = Views(np.zeros((count, SIZE, SIZE), np.float32), np.zeros((count, SIZE, SIZE, 3), np.float32))
    for samples, which in ((1, hard), (2, ~hard)):
        views = render(surface, R_cam_obj[which], distance[which], samples=samples)
        out.masks[which], out.normals[which] = views.masks, views.normals
    return out


def _view_angles(index: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    azimuth = (index % GALLERY_VIEWS.azimuths) * 2 * np.pi / GALLERY_VIEWS.azimuths
    return azimuth, np.radians(np.array(GALLERY_VIEWS.elevations)[index // GALLERY_VIEWS.azimuths])


def _memmap(path: Path, shape: tuple[int, ...]) -> Int8Array:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=shape)
