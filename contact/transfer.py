"""Contact carried from one body's vertices to another's: by a matrix that the user has, or by nearest surface.

TransferMatrix.load("smpl_to_smplx.pkl").apply(contact)      # SMPL or SMPL-H -> SMPL-X, as the reference does
transfer_by_surface(contact, smplh_body, load_body())        # any body -> any other, approximate and named so

A vertex of the target gets a weighted mean of a few vertices of the source: a sparse matrix either way.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import BodyModel
from hoirecon.data.datasets.topologies import SAME_ORDER
from hoirecon.errors import InputError, TopologyError
from hoirecon.restricted_pickle import read_pickle
from hoirecon.safe_io import read_arrays

MATRIX_KEY = "matrix"
"""Key of the matrix in a dictionary or archive."""
MAX_BYTES = 1 << 30
"""Largest file, packed and unpacked; a dense float64 matrix of SMPL to SMPL-X has 0.58 GB."""
CANDIDATES = 24
"""Triangles, nearest by their centroids, among which the nearest point of a surface is looked for."""
BOX_PERCENTILES = (3.0, 97.0)
"""Ends of a part's box; inside the extremes, which depend on a few border vertices."""
APPROXIMATE = "carried over from another body by nearest surface: borders may be a vertex or two off"
"""Note of every map that was transferred by surface."""


@dataclass(frozen=True, eq=False)
class TransferMatrix:
    """Per-vertex values of one topology as weighted sums of another's."""

    matrix: Any
    """(T, S) scipy.sparse CSR, float64: target = matrix @ source."""
    source: str
    """Topology that it reads; ``smpl`` counts as ``smplh``, whose vertices are the same."""
    target: str
    """Topology that it gives."""
    approximate: bool = False
    """Whether it was made by nearest surface."""
    _tensors: dict[Any, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = self.matrix
        if len(values.shape) != 2 or 0 in values.shape:
            raise InputError(f"a transfer matrix is (target vertices, source vertices), got shape {values.shape}")
        rows = scipy.sparse.csr_matrix(values, dtype=np.float64)
        if not np.isfinite(rows.data).all():
            raise InputError("the transfer matrix holds NaN or infinity: get the file again")
        object.__setattr__(self, "matrix", rows)

    @classmethod
    def load(cls, path: str | Path, source: str = "smplh", target: str = "smplx") -> TransferMatrix:
        """Read a user's matrix.

        Args:
            path: ``.pkl`` (a dictionary with ``matrix``, as joblib or pickle write it), ``.npz`` (the same key, or
                what ``scipy.sparse.save_npz`` writes) or ``.npy``.
            source: topology that it reads.
            target: topology that it gives.

        Raises:
            InputError: missing, too large, damaged, not a matrix, or a pickle that asks for code.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"the transfer matrix {path} does not exist")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_BYTES}")
        return cls(_read_matrix(path), source, target)

    def apply(self, contact: ContactMap) -> ContactMap:
        """The same contact on the target's vertices, clipped to [0, 1] and not thresholded again.

        Raises:
            TopologyError: a map of another topology or size.
        """
        given = SAME_ORDER.get(contact.topology, contact.topology)
        if given != SAME_ORDER.get(self.source, self.source) or len(contact.probability) != self.matrix.shape[1]:
            raise TopologyError(
                f"the contact map is on '{contact.topology}' ({len(contact.probability)} vertices), but this transfer "
                f"reads '{self.source}' ({self.matrix.shape[1]} vertices): load the matrix of these two bodies"
            )
        values = np.clip(self.matrix @ contact.probability, 0, 1)
        how = "nearest surface, approximate" if self.approximate else "matrix"
        notes = (*contact.notes, APPROXIMATE) if self.approximate else contact.notes
        source = f"{contact.source}, {given} to {self.target} by {how}"
        return replace(contact, probability=values, topology=self.target, source=source, notes=notes, parts={})

    def apply_tensor(self, values: Tensor) -> Tensor:
        """(..., S) -> (..., T) in the type and on the device of the values, not clipped; differentiable."""
        if values.shape[-1] != self.matrix.shape[1]:
            raise InputError(f"{values.shape[-1]} values were given, but the transfer reads {self.matrix.shape[1]}")
        rows, columns, weights = self._parts(values.device, values.dtype)
        flat = values.reshape(-1, values.shape[-1])
        out = flat.new_zeros(len(flat), self.matrix.shape[0])
        out = out.index_add(1, rows, flat.index_select(1, columns) * weights)
        return out.reshape(*values.shape[:-1], -1)

    def _parts(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        key = (device, dtype)
        if key not in self._tensors:
            entries = self.matrix.tocoo()
            rows, columns = (torch.tensor(a, dtype=torch.int64, device=device) for a in (entries.row, entries.col))
            self._tensors[key] = (rows, columns, torch.tensor(entries.data, dtype=dtype, device=device))
        return self._tensors[key]


def transfer_contact(contact: ContactMap, matrix: TransferMatrix | str | Path) -> ContactMap:
    """Contact on SMPL or SMPL-H -> SMPL-X by the user's matrix, or between whatever the matrix is for.

    Args:
        contact: on the matrix's source.
        matrix: read already, or the file of one from SMPL-H to SMPL-X.

    Raises:
        InputError: the file cannot be used.
        TopologyError: contact on another topology.
    """
    return (matrix if isinstance(matrix, TransferMatrix) else TransferMatrix.load(matrix)).apply(contact)


def transfer_by_surface(contact: ContactMap, source_body: BodyModel, target_body: BodyModel) -> ContactMap:
    """Contact on one body -> another, by the nearest point of the surface; approximate, and the result says so.

    Raises:
        TopologyError: contact on another body than ``source_body``.
    """
    given = SAME_ORDER.get(contact.topology, contact.topology)
    if given != SAME_ORDER.get(source_body.topology, source_body.topology):
        contact.check_on(source_body.topology, source_body.num_verts, "the body it is transferred from")
    return surface_transfer(source_body, target_body).apply(contact)


@lru_cache(maxsize=8)
def surface_transfer(source_body: BodyModel, target_body: BodyModel) -> TransferMatrix:
    """The matrix of :func:`transfer_by_surface`, made once per pair of bodies.

    Both bodies take their mean shape and the T pose. Part by part (:attr:`BodyModel.parts`), the target's vertices are
    stretched onto the box of the source's part and take the value of the nearest point of its triangles, so that a hand
    never takes a thigh's value. Parts that only the target has look everywhere.

    Between the free body and a reshaped copy with another mesh, points land 4 mm from their true place in the mean and
    42 mm at worst (at the pelvis, where parts meet); between real SMPL-family files it was not measured.
    """
    source, target = source_body.rest_verts, target_body.rest_verts
    everywhere = np.arange(len(source_body.faces))
    part_of_source, part_of_target = source_body.parts, target_body.parts
    rows: list[IntArray] = []
    corners: list[IntArray] = []
    weights: list[FloatArray] = []
    for index, name in enumerate(part_of_target.names):
        here = np.flatnonzero(part_of_target.ids == index)
        there = np.flatnonzero(_ids_of(part_of_source, name))
        faces = _faces_among(source_body.faces, there, len(source)) if len(there) else everywhere
        if not len(here):
            continue
        points = target[here]
        if len(faces) < len(everywhere):
            points = _onto_box(points, source[there])
        chosen = source_body.faces[faces if len(faces) else everywhere]
        face, bary = nearest_on_surface(points, source[chosen])
        rows.append(here)
        corners.append(chosen[face])
        weights.append(bary)
    at = np.repeat(np.concatenate(rows), 3), np.concatenate(corners).reshape(-1)
    shape = (len(target), len(source))
    matrix = scipy.sparse.csr_matrix((np.concatenate(weights).reshape(-1), at), shape)
    return TransferMatrix(matrix, source_body.topology, target_body.topology, approximate=True)


def nearest_on_surface(points: FloatArray, triangles: FloatArray) -> tuple[IntArray, FloatArray]:
    """The nearest point on triangles, among the :data:`CANDIDATES` whose centroids are nearest.

    Args:
        points: (P, 3).
        triangles: (F, 3, 3) corners.

    Returns:
        (P,) which triangle, and (P, 3) barycentric weights on it.
    """
    count = min(CANDIDATES, len(triangles))
    near = cKDTree(triangles.mean(axis=1)).query(points, k=np.arange(1, count + 1))[1]
    bary = _closest_bary(points[:, None], triangles[near])
    reached = np.einsum("pkc,pkcd->pkd", bary, triangles[near])
    best = np.linalg.norm(reached - points[:, None], axis=-1).argmin(axis=1)
    each = np.arange(len(points))
    return near[each, best], bary[each, best]


def _closest_bary(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """(..., 3) barycentric weights of the point of each triangle (..., 3, 3) that is nearest to a point (..., 3)."""
    a, b, c = (triangles[..., k, :] for k in range(3))
    options = [_inside(points, a, b, c)]
    for start, end, first, second in ((a, b, 0, 1), (b, c, 1, 2), (c, a, 2, 0)):
        along = end - start
        length = np.maximum((along * along).sum(-1), 1e-30)
        t = np.clip(((points - start) * along).sum(-1) / length, 0, 1)
        edge = np.zeros((*t.shape, 3))
        edge[..., first], edge[..., second] = 1 - t, t
        options.append(edge)
    stacked = np.stack(options, axis=-2)  # (..., 4, 3)
    reached = stacked @ triangles
    far = np.linalg.norm(reached - points[..., None, :], axis=-1)
    far = np.where((stacked >= 0).all(-1), far, np.inf)  # the plane's own point counts only inside
    best: FloatArray = np.take_along_axis(stacked, far.argmin(-1)[..., None, None], axis=-2)[..., 0, :]
    return best


def _inside(points: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Barycentric weights of the points' projections on the planes; negative outside, -1 for degenerate triangles."""
    u, v, w = b - a, c - a, points - a
    uu, uv, vv, wu, wv = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = uu * vv - uv * uv
    safe = np.where(area > 1e-30, area, 1)
    s, t = (vv * wu - uv * wv) / safe, (uu * wv - uv * wu) / safe
    flat: FloatArray = np.stack([1 - s - t, s, t], axis=-1)
    return np.where((area > 1e-30)[..., None], flat, -1)


def _onto_box(points: FloatArray, target: FloatArray) -> FloatArray:
    """Stretch points, axis by axis, so that their box covers the target's."""
    low, high = np.percentile(points, BOX_PERCENTILES, axis=0)
    to_low, to_high = np.percentile(target, BOX_PERCENTILES, axis=0)
    moved: FloatArray = to_low + (points - low) * (to_high - to_low) / np.maximum(high - low, 1e-6)
    return moved


def _ids_of(parts: Any, name: str) -> Any:
    return parts.ids == parts.names.index(name) if name in parts.names else np.zeros(len(parts.ids), bool)


def _faces_among(faces: IntArray, verts: IntArray, count: int) -> IntArray:
    """Triangles with a corner among these vertices."""
    inside = np.zeros(count, bool)
    inside[verts] = True
    return np.flatnonzero(inside[faces].any(axis=1))


def _read_matrix(path: Path) -> Any:
    if path.suffix == ".pkl":
        read = read_pickle(path, (MATRIX_KEY,), what="a transfer matrix", max_bytes=MAX_BYTES)
        return _named(read, path)
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".npy":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:  # one reader for both: it checks sizes before memory is taken
            archive.write(path, f"{MATRIX_KEY}.npy")
        return _named(read_arrays(packed.getvalue(), str(path), MAX_BYTES), path)
    raise InputError(f"{path} is neither .pkl, .npz nor .npy: give the transfer matrix as it was downloaded")


def _read_npz(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
        if sum(members.values()) > MAX_BYTES:
            raise InputError(f"{path} unpacks to {sum(members.values())} bytes, more than the limit of {MAX_BYTES}")
        if {"format", "data", "shape"} <= set(members):
            return scipy.sparse.load_npz(path)  # reads without pickle
        return _named(read_arrays(path.read_bytes(), str(path), MAX_BYTES), path)
    except InputError:
        raise
    except Exception as err:  # scipy's reader has no error of its own
        raise InputError(f"{path} is not a readable .npz of a matrix ({type(err).__name__}: {err})") from None


def _named(read: Any, path: Path) -> Any:
    value = read.get(MATRIX_KEY)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise InputError(f"{path} holds no array called '{MATRIX_KEY}': give a file such as smpl_to_smplx.pkl")
    return value
