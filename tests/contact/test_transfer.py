"""Contact from one body's vertices to another's: by a user's matrix, and by nearest surface."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from hoirecon.contact import transfer
from hoirecon.contact.transfer import (
    TransferMatrix,
    nearest_on_surface,
    surface_transfer,
    transfer_by_surface,
    transfer_contact,
)
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import BodyModel, load_body
from hoirecon.errors import InputError, TopologyError

S, T = 6, 4


def random_matrix(seed: int = 0) -> Any:
    return np.random.default_rng(seed).dirichlet(np.full(S, 0.3), T)


def contact_on(topology: str = "smplh", count: int = S, **words: Any) -> ContactMap:
    return ContactMap(np.random.default_rng(1).random(count), topology, "interactvlm", **words)


# ------------------------------------------------------------------------------------------------------- by matrix


def write(path: Path, matrix: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, matrix)
    elif path.name == "sparse.npz":
        scipy.sparse.save_npz(path, scipy.sparse.csr_matrix(matrix))
    elif path.suffix == ".npz":
        np.savez(path, matrix=matrix)
    elif path.name == "joblib.pkl":
        pytest.importorskip("joblib").dump({"matrix": matrix}, path)
    elif path.name == "sparse.pkl":
        path.write_bytes(pickle.dumps({"matrix": scipy.sparse.csr_matrix(matrix)}))
    else:
        path.write_bytes(pickle.dumps({"matrix": matrix}))
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "sparse.npz", "a.pkl", "joblib.pkl", "sparse.pkl"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_of_file_gives_the_same_matrix(tmp_path: Path, name: str, dtype: Any) -> None:
    matrix = random_matrix().astype(dtype)
    read = TransferMatrix.load(write(tmp_path / name, matrix))
    np.testing.assert_array_equal(read.matrix.toarray(), matrix)
    assert (read.source, read.target, read.approximate) == ("smplh", "smplx", False)


def test_the_matrix_is_applied_clipped_and_not_thresholded(tmp_path: Path) -> None:
    matrix = 1.5 * random_matrix()
    path = write(tmp_path / "a.npy", matrix)
    contact = contact_on(label="bench", answer="Sure.", parts={"hand": [1, 2]})
    moved = transfer_contact(contact, path)
    np.testing.assert_allclose(moved.probability, np.clip(matrix @ contact.probability, 0, 1))
    assert moved.topology == "smplx"
    assert moved.source == "interactvlm, smplh to smplx by matrix"
    assert (moved.label, moved.answer) == ("bench", "Sure.")
    assert not moved.parts  # they name the other mesh's vertices
    same = transfer_contact(replace(contact, topology="smpl"), path)
    np.testing.assert_array_equal(same.probability, moved.probability)


def test_contact_on_another_mesh_is_refused() -> None:
    matrix = TransferMatrix(random_matrix(), "smplh", "smplx")
    with pytest.raises(TopologyError, match=r"on 'smplx'.*reads 'smplh'"):
        matrix.apply(contact_on("smplx"))
    with pytest.raises(TopologyError, match=r"\(7 vertices\).*\(6 vertices\)"):
        matrix.apply(contact_on(count=7))


def test_tensors_are_transferred_with_their_gradient() -> None:
    dense = random_matrix()
    matrix = TransferMatrix(dense, "smplh", "smplx")
    values = torch.rand(2, 3, S, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matrix.apply_tensor(values), values @ torch.tensor(dense).T)
    assert torch.autograd.gradcheck(matrix.apply_tensor, values)
    assert matrix.apply_tensor(values.float()).dtype == torch.float32
    with pytest.raises(InputError, match="5 values"):
        matrix.apply_tensor(values[..., :5])


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_matrix_file_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"matrix": Attack(mark)}))
    np.savez(tmp_path / "evil.npz", matrix=np.array([Attack(mark)], dtype=object))
    np.save(tmp_path / "evil.npy", np.array([Attack(mark)], dtype=object))
    for name in ("evil.pkl", "evil.npz", "evil.npy"):
        with pytest.raises(InputError, match=name):
            TransferMatrix.load(tmp_path / name)
    assert not mark.exists()


def test_files_that_are_no_matrix_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        TransferMatrix.load(tmp_path / "none.pkl")
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(InputError, match=r"neither \.pkl"):
        TransferMatrix.load(tmp_path / "a.txt")
    with pytest.raises(InputError, match="got shape"):
        TransferMatrix.load(write(tmp_path / "flat.npy", np.zeros(3)))
    with pytest.raises(InputError, match="NaN"):
        TransferMatrix.load(write(tmp_path / "nan.npy", np.full((2, 2), np.nan)))
    np.savez(tmp_path / "other.npz", weights=np.zeros((2, 2)))
    with pytest.raises(InputError, match="no array called 'matrix'"):
        TransferMatrix.load(tmp_path / "other.npz")
    for name in ("a.npy", "a.npz", "sparse.npz", "a.pkl"):
        whole = write(tmp_path / name, random_matrix()).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError):
            TransferMatrix.load(tmp_path / name)
    monkeypatch.setattr(transfer, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="limit of 100"):
        TransferMatrix.load(write(tmp_path / "big.npy", random_matrix()))


# ------------------------------------------------------------------------------------------------------ by surface


@pytest.fixture(scope="module")
def free() -> BodyModel:
    return load_body()


@pytest.fixture(scope="module")
def other(free: BodyModel) -> BodyModel:
    """The free body as another file would hold it: vertices in another order, broader, shorter, elsewhere; no names."""
    order = torch.tensor(np.random.default_rng(0).permutation(free.num_verts))
    place = np.argsort(order.numpy())
    scale = torch.tensor([1.1, 0.95, 1.05], dtype=free.dtype)
    shift = torch.tensor([0.0, -0.3, 0.1], dtype=free.dtype)
    return replace(
        free,
        topology="other",
        faces=place[free.faces],
        v_template=(free.v_template * scale + shift)[order],
        joint_template=free.joint_template * scale + shift,
        shapedirs=free.shapedirs[order],
        posedirs=None,
        weights=free.weights[order],
        annotations=None,
    )


def test_a_body_to_itself_changes_nothing(free: BodyModel) -> None:
    contact = contact_on(free.topology, free.num_verts)
    moved = transfer_by_surface(contact, free, free)
    np.testing.assert_allclose(moved.probability, contact.probability, atol=1e-9)
    assert moved.topology == free.topology


def test_a_transfer_by_surface_says_that_it_is_approximate(free: BodyModel, other: BodyModel) -> None:
    moved = transfer_by_surface(contact_on(free.topology, free.num_verts, notes=("first",)), free, other)
    assert moved.topology == "other"
    assert moved.source == f"interactvlm, {free.topology} to other by nearest surface, approximate"
    assert moved.notes[0] == "first"
    assert "nearest surface" in moved.notes[1]
    assert surface_transfer(free, other) is surface_transfer(free, other)


def test_a_constant_stays_constant_and_nothing_leaves_its_range(free: BodyModel, other: BodyModel) -> None:
    for one, two in ((free, other), (other, free)):
        matrix = surface_transfer(one, two).matrix
        np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1, atol=1e-12)
        assert matrix.data.min() >= 0
        assert matrix.shape == (two.num_verts, one.num_verts)


def test_places_on_the_body_stay_where_they_are(free: BodyModel, other: BodyModel) -> None:
    order = np.random.default_rng(0).permutation(free.num_verts)
    reached = surface_transfer(free, other).matrix @ free.rest_verts
    error_m = np.linalg.norm(reached - free.rest_verts[order], axis=1)
    assert error_m.mean() < 0.006
    assert error_m.max() < 0.06


def test_a_side_never_reaches_the_other(free: BodyModel, other: BodyModel) -> None:
    left = ContactMap((free.rest_verts[:, 0] > 0.03).astype(float), free.topology)
    moved = transfer_by_surface(left, free, other).probability
    x = other.rest_verts[:, 0]
    assert moved[x > 0.08].min() > 1 - 1e-9
    assert moved[x < -0.02].max() == 0


def test_a_hand_that_lies_on_a_thigh_keeps_its_own_value(free: BodyModel) -> None:
    """Both hands are moved onto the thighs in the target: only its parts tell them apart."""
    hands = free.parts.verts_of("left_hand", "right_hand")
    thighs = free.parts.verts_of("left_thigh", "right_thigh")
    verts = free.v_template.clone()
    for side in ("left", "right"):
        hand, thigh = (torch.tensor(free.parts.verts_of(f"{side}_{part}")) for part in ("hand", "thigh"))
        verts[hand] += verts[thigh].mean(dim=0) - verts[hand].mean(dim=0)
    sitting = replace(free, topology="sitting", v_template=verts)
    values = np.zeros(free.num_verts)
    values[thighs] = 1
    moved = transfer_by_surface(ContactMap(values, free.topology), free, sitting).probability
    assert moved[hands].max() == 0
    assert moved[thighs].mean() > 0.95


def test_contact_of_another_body_is_refused(free: BodyModel, other: BodyModel) -> None:
    with pytest.raises(TopologyError, match="the body it is transferred from"):
        transfer_by_surface(contact_on("other", other.num_verts), free, other)


def slow_nearest(point: Any, triangle: Any, steps: int = 60) -> float:
    """Distance to a fine grid of the triangle's points."""
    best = np.inf
    for i in range(steps + 1):
        for j in range(steps + 1 - i):
            weights = np.array([i, j, steps - i - j]) / steps
            best = min(best, float(np.linalg.norm(weights @ triangle - point)))
    return best


def test_the_nearest_point_of_triangles_is_the_nearest() -> None:
    rng = np.random.default_rng(0)
    triangles = rng.normal(size=(6, 3, 3))
    triangles[4, 2] = triangles[4, 1]  # a needle
    triangles[5] = triangles[5, :1]  # a point
    points = 2 * rng.normal(size=(12, 3))
    face, bary = nearest_on_surface(points, triangles)
    reached = np.einsum("pc,pcd->pd", bary, triangles[face])
    np.testing.assert_allclose(bary.sum(axis=1), 1)
    assert bary.min() >= 0
    for point, at in zip(points, reached, strict=True):
        slow = min(slow_nearest(point, triangle) for triangle in triangles)
        exact = float(np.linalg.norm(at - point))
        assert exact <= slow + 1e-9
        assert exact > slow - 0.05
