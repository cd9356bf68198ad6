"""The embedded default's figures on the test of a seed, and those of unlearned silhouettes on the same queries."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

import numpy as np

from hoirecon.arrays import BoolArray
from hoirecon.errors import InputError
from hoirecon.retrieval.embedded.dataset import GALLERY_VIEWS
from hoirecon.retrieval.embedded.encoder import EmbeddedEncoder
from hoirecon.retrieval.embedded.gallery import RankWeights, ViewGallery
from hoirecon.retrieval.embedded.protocol import RetrievalTest, yaw_chamfer
from hoirecon.retrieval.embedded.silhouettes import query_silhouettes
from hoirecon.retrieval.embedded.unlearned import silhouette_descriptor
from hoirecon.retrieval.embedded.views import Float32Array, render
from hoirecon.retrieval.surfaces import Surface

Table = dict[str, float]


@dataclass(frozen=True)
class Found:
    """How well queries were answered, over the whole index and no label given."""

    instance_at_1: float
    """Part of the queries whose own shape comes first."""
    instance_at_5: float
    """... whose own shape is among the first five."""
    category_at_1: float
    """... where the first shape is of the right category."""


@dataclass(frozen=True)
class Siblings:
    """How near the chosen shape is when the category is known: Chamfer distance after the best turn about y."""

    kept: float
    """Part of the queries in which the choice among all shapes of the category, the seen one included, is nearer to
    the seen one than a sibling drawn at random (never the seen one)."""
    removed: float
    """The same with the seen shape taken out of the index, as for any real photograph; where chance drew the very
    shape that was chosen, half a point."""
    chamfer: float
    """Mean distance of the choice to the seen shape, that shape taken out; both of radius 1."""
    chamfer_random: float
    """Mean distance of a random sibling."""


def gallery_of(test: RetrievalTest, encoder: EmbeddedEncoder, weights: RankWeights | None = None) -> ViewGallery:
    """The test's shapes as a gallery."""
    named = [(shape.name, Surface.from_mesh(shape.mesh)) for shape in test.shapes]
    return ViewGallery(
        encoder, tuple(encoder.encode_shape(surface, name) for name, surface in named), weights or RankWeights()
    )


def learned_scores(gallery: ViewGallery, masks: BoolArray, normals: Float32Array | None = None) -> Float32Array:
    """(Q, N) scores of all shapes for each mask (Q, S, S)."""
    everything, rows = np.arange(len(gallery.shapes)), []
    for i, mask in enumerate(masks):
        query = gallery.encoder.encode_query(mask, None if normals is None else normals[i])
        rows.append(gallery.scores(query, query_silhouettes(mask), everything, normals is not None)[0])
    return np.stack(rows)


def network_scores(gallery: ViewGallery, masks: BoolArray) -> Float32Array:
    """(Q, N) what the networks say without silhouettes: cosine with the nearest view, and a little with the points."""
    no_silhouettes = replace(gallery, weights=replace(gallery.weights, overlap=0.0))
    return learned_scores(no_silhouettes, masks)


def unlearned_gallery(test: RetrievalTest) -> Float32Array:
    """(N, 36, 324) descriptors of the silhouettes from the gallery's views."""
    views = [render(Surface.from_mesh(shape.mesh), GALLERY_VIEWS.rotations()).masks for shape in test.shapes]
    return np.stack([np.stack([silhouette_descriptor(mask) for mask in masks]) for masks in views])


def unlearned_scores(descriptors: Float32Array, masks: BoolArray) -> Float32Array:
    """(Q, N) cosine with each shape's nearest view."""
    return np.stack([(descriptors @ silhouette_descriptor(mask)).max(1) for mask in masks])


def found(scores: Float32Array, test: RetrievalTest) -> Found:
    """The counts of a table of scores (Q, N)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    truth, category = test.queries.truth, np.array(test.categories)
    return Found(
        instance_at_1=float((order[:, 0] == truth).mean()),
        instance_at_5=float((order[:, :5] == truth[:, None]).any(1).mean()),
        category_at_1=float((category[order[:, 0]] == category[truth]).mean()),
    )


def siblings(scores: Float32Array, test: RetrievalTest, seed: int) -> Siblings:
    """What a table of scores (Q, N) chooses when the category is known."""
    rng = np.random.default_rng([seed, 2])
    category = np.array(test.categories)
    distance = _Distances(test)
    rows = []
    for row, true in zip(scores, test.queries.truth, strict=True):
        same = np.flatnonzero(category == category[true])
        others = same[same != true]
        chance = int(rng.choice(others))
        choice, without = int(same[row[same].argmax()]), int(others[row[others].argmax()])
        d_chance, d_without = distance(true, chance), distance(true, without)
        beaten = 0.5 if without == chance else float(d_without < d_chance)
        rows.append((float(distance(true, choice) < d_chance), beaten, d_without, d_chance))
    return Siblings(*(float(value) for value in np.mean(rows, axis=0)))


class _Distances:
    """Distances of pairs of the test's shapes, each computed once."""

    def __init__(self, test: RetrievalTest) -> None:
        self._test = test
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, a: int, b: int) -> float:
        if a == b:
            return 0.0
        pair = (min(a, b), max(a, b))
        if pair not in self._known:
            self._known[pair] = yaw_chamfer(self._test.shapes[a].mesh, self._test.shapes[b].mesh)
        return self._known[pair]


def evaluate(test: RetrievalTest, encoder: EmbeddedEncoder, seed: int) -> dict[str, Table]:
    """All figures of one test: ours and the unlearned ones, clean and with every query occluded."""
    gallery, plain = gallery_of(test, encoder), unlearned_gallery(test)
    queries, result = test.queries, {}
    start = time.process_time()
    scores = {"clean": learned_scores(gallery, queries.masks), "occluded": learned_scores(gallery, queries.occluded)}
    seconds = (time.process_time() - start) / (2 * len(queries.truth))
    scores["clean_normals"] = learned_scores(gallery, queries.masks, queries.normals)
    for name, masks in (("clean", queries.masks), ("occluded", queries.occluded)):
        scores[f"unlearned_{name}"] = unlearned_scores(plain, masks)
        scores[f"network_alone_{name}"] = network_scores(gallery, masks)
    for name, table in scores.items():
        result[name] = asdict(found(table, test))
    for name in ("clean", "occluded", "unlearned_clean"):
        result[f"{name}_with_label"] = asdict(siblings(scores[name], test, seed))
    result["cost"] = {"cpu_seconds_per_query": seconds}
    return result


def mean_and_spread(results: list[dict[str, Table]]) -> dict[str, Table]:
    """Mean over seeds, and behind ``_sd`` the standard deviation from seed to seed where there is more than one."""
    if not results:
        raise InputError("no results to average: give at least one seed")
    out: dict[str, Table] = {}
    for part, table in results[0].items():
        values = {name: [result[part][name] for result in results] for name in table}
        out[part] = {name: round(float(np.mean(v)), 4) for name, v in values.items()}
        if len(results) > 1:
            out[part] |= {f"{name}_sd": round(float(np.std(v, ddof=1)), 4) for name, v in values.items()}
    return out
