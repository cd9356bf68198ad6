"""Body model files: the free body that comes with the library, and users' SMPL-family files."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoirecon.arrays import as_floats, as_ints
from hoirecon.data.body.model import BodyAnnotations, BodyModel, Landmarks
from hoirecon.data.body.pickles import read_pickle
from hoirecon.data.body.skeleton import NUM_JOINTS, PARENTS
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

FREE_BODY = Path(__file__).parent / "assets" / "free_body.npz"
MAX_BYTES = 1 << 30
"""Largest model file that is read, packed and unpacked; SMPL-X, the largest of the family, has about 0.5 GB."""

_NEEDED = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
_OPTIONAL = ("posedirs", "hands_meanl", "hands_meanr", "model_name", "license", "part_names", "part_ids", "mirror")
_SMPLX_JOINTS = 55
_SMPLX_FACE = (22, 23, 24)  # jaw, left eye, right eye; all hang on the head
_HEAD = 15
_DEFAULT_BETAS = 16  # SMPL-H has 10 or 16; SMPL-X files carry up to 300, followed by expressions


def load_body(
    path: str | Path | None = None,
    *,
    num_betas: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> BodyModel:
    """Read a body model.

    Args:
        path: None: the free body (CC0) that comes with the library; else a user's SMPL-H file, ``.npz`` or ``.pkl``,
            or an SMPL-X file, of which the 52 joints that SMPL-H shares are kept (jaw, eyes and face stay at rest,
            which is exact: their weights are added to the head's).
        num_betas: use only so many shape coefficients; None: all of an SMPL-H file, 10 of an SMPL-X file (whose later
            columns may be expressions).
        dtype: floating type of the model and of what it returns.
        device: where it lives.

    Raises:
        InputError: missing, too large, damaged, of another kind (SMPL has no fingers), or with arrays of wrong sizes;
            a pickle that asks for code.
    """
    path = FREE_BODY if path is None else Path(path)
    arrays = _read(path)
    try:
        return _build(arrays, num_betas, dtype).to(device)
    except InputError as err:
        raise InputError(f"{path}: {err}") from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"the body model {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_BYTES} for a body model")
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".pkl":
        return read_pickle(path, (*_NEEDED, *_OPTIONAL))
    raise InputError(f"{path} is neither .npz nor .pkl: give the SMPL-H model file as it was downloaded")


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > 2 * MAX_BYTES:
            raise InputError(f"{path} unpacks to {size} bytes, more than the limit of {2 * MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            wanted = [k for k in file.files if k in (*_NEEDED, *_OPTIONAL) or k.startswith("landmark_")]
            return {key: file[key] for key in wanted}
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as err:
        raise InputError(f"{path} is not a readable .npz of plain arrays ({err})") from None


def _build(arrays: dict[str, Any], num_betas: int | None, dtype: torch.dtype) -> BodyModel:
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise InputError(f"the body model lacks '{missing[0]}': give an SMPL-H file (keys {', '.join(_NEEDED)})")
    verts = as_floats(arrays["v_template"], ("V", 3), "v_template")
    count = len(verts)
    _check_metres(verts)
    faces = Mesh(verts, arrays["f"], "the body model").faces
    joints = _check_skeleton(arrays["kintree_table"])
    shapedirs = as_floats(arrays["shapedirs"], (count, 3, "NB"), "shapedirs")
    shapedirs = shapedirs[..., : _betas_to_use(shapedirs.shape[2], num_betas, joints)]
    posedirs = _posedirs(arrays.get("posedirs"), count, joints)
    weights = _unit_rows(as_floats(arrays["weights"], (count, joints), "weights"), "weights")
    regressor = _unit_rows(as_floats(_dense(arrays["J_regressor"]), (joints, count), "J_regressor"), "J_regressor")
    joint_template, joint_shapedirs = regressor @ verts, np.einsum("jv,vcn->jcn", regressor, shapedirs)
    if joints == _SMPLX_JOINTS:
        weights = weights.copy()
        weights[:, _HEAD] += weights[:, list(_SMPLX_FACE)].sum(1)
        weights, joint_template, joint_shapedirs = (
            np.delete(array, _SMPLX_FACE, axis)
            for array, axis in ((weights, 1), (joint_template, 0), (joint_shapedirs, 0))
        )
    hand_mean = [as_floats(arrays.get(f"hands_mean{s}", np.zeros(45)), (45,), f"hands_mean{s}") for s in "lr"]

    def tensor(array: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(array), dtype=dtype)

    return BodyModel(
        topology=_topology(arrays, faces, count, joints),
        faces=faces,
        v_template=tensor(verts),
        shapedirs=tensor(shapedirs),
        posedirs=None if posedirs is None else tensor(posedirs),
        joint_template=tensor(joint_template),
        joint_shapedirs=tensor(joint_shapedirs),
        weights=tensor(weights),
        hand_mean=tensor(np.stack(hand_mean)),
        annotations=_annotations(arrays, count),
        licence=str(arrays.get("license", "")),
    )


def _check_metres(verts: Any) -> None:
    size = float(np.ptp(verts, axis=0).max())
    if not 0.3 < size < 3:
        raise InputError(f"v_template is {size:.4g} long where a body in metres has 0.3 to 3: scale it to metres")


def _check_skeleton(table: Any) -> int:
    """Number of joints, 52 or 55; refuses other layouts."""
    kintree = np.asarray(table)
    if kintree.ndim != 2 or kintree.shape[0] != 2:
        raise InputError(f"kintree_table has shape {kintree.shape}, expected (2, 52)")
    joints = int(kintree.shape[1])
    if joints == 24:
        raise InputError("this is an SMPL file (24 joints, no fingers): give the SMPL-H file (52 joints) instead")
    if joints not in (NUM_JOINTS, _SMPLX_JOINTS):
        raise InputError(f"kintree_table has {joints} joints, expected 52 (SMPL-H) or 55 (SMPL-X)")
    parents = [-1, *as_ints(kintree[0, 1:], (joints - 1,), "kintree_table").tolist()]  # the root's is 2^32 - 1 or -1
    if tuple(parents) != (PARENTS if joints == NUM_JOINTS else _smplx_parents()):
        raise InputError("kintree_table has the right size but other parents than SMPL-H: reorder the joints first")
    return joints


def _smplx_parents() -> tuple[int, ...]:
    shifted = [p + 3 if p >= 22 else p for p in PARENTS[22:]]
    return (*PARENTS[:22], _HEAD, _HEAD, _HEAD, *shifted)


def _betas_to_use(available: int, wanted: int | None, joints: int) -> int:
    if available == 0:
        raise InputError("shapedirs has no shape coefficients")
    if wanted is None:
        return min(available, 10 if joints == _SMPLX_JOINTS else _DEFAULT_BETAS)
    if not 1 <= wanted <= available:
        raise InputError(f"{wanted} betas were asked for, but shapedirs has {available}")
    return wanted


def _posedirs(value: Any, count: int, joints: int) -> Any:
    """(V, 3, 459) pose correctives, or None where they are absent or zero."""
    if value is None:
        return None
    posedirs = as_floats(value, (count, 3, 9 * (joints - 1)), "posedirs")
    if joints == _SMPLX_JOINTS:
        by_joint = posedirs.reshape(count, 3, joints - 1, 9)
        posedirs = np.delete(by_joint, [j - 1 for j in _SMPLX_FACE], axis=2).reshape(count, 3, -1)
    return posedirs if posedirs.any() else None


def _unit_rows(rows: Any, name: str) -> Any:
    sums = rows.sum(1)
    if np.abs(sums - 1).max() > 1e-2:
        worst = int(np.abs(sums - 1).argmax())
        raise InputError(f"row {worst} of {name} sums to {sums[worst]:.4g}, expected 1")
    return rows


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def _topology(arrays: dict[str, Any], faces: Any, count: int, joints: int) -> str:
    if "model_name" in arrays:
        return str(arrays["model_name"])[:80]
    if (count, joints) == (6890, NUM_JOINTS):
        return "smplh"
    if (count, joints) == (10475, _SMPLX_JOINTS):
        return "smplx"
    digest = hashlib.sha256(np.ascontiguousarray(faces, dtype="<i8").tobytes()).hexdigest()[:12]
    return f"smplh-{count}v-{digest}"


def _annotations(arrays: dict[str, Any], count: int) -> BodyAnnotations | None:
    """Parts, landmarks and mirror map as our own builder stores them; None if the file has none."""
    if not {"part_names", "part_ids", "mirror"} <= set(arrays):
        return None
    part_names = tuple(str(name) for name in arrays["part_names"])
    part_ids = as_ints(arrays["part_ids"], (count,), "part_ids")
    mirror = as_ints(arrays["mirror"], (count,), "mirror")
    if part_ids.max() >= len(part_names) or not np.array_equal(mirror[mirror], np.arange(count)):
        raise InputError("part_ids or mirror do not fit the mesh: rebuild the body model file")
    layouts = [k.removeprefix("landmark_").removesuffix("_names") for k in arrays if k.endswith("_names")]
    landmarks = {name: _landmarks(arrays, name, count) for name in layouts if f"landmark_{name}_idx" in arrays}
    return BodyAnnotations(part_names, part_ids, landmarks, mirror)


def _landmarks(arrays: dict[str, Any], layout: str, count: int) -> Landmarks:
    names = tuple(str(name) for name in arrays[f"landmark_{layout}_names"])
    idx = as_ints(arrays[f"landmark_{layout}_idx"], (len(names), "K"), f"landmark_{layout}_idx")
    w = as_floats(arrays[f"landmark_{layout}_w"], idx.shape, f"landmark_{layout}_w")
    if idx.min() < 0 or idx.max() >= count:
        raise InputError(f"landmark_{layout}_idx names vertices {idx.min()}..{idx.max()} of {count}")
    w = _unit_rows(w, f"landmark_{layout}_w")
    return Landmarks(names, idx, w / w.sum(1, keepdims=True))  # float32 rows sum to 1 only to 1e-7
