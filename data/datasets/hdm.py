"""Clouds of template-free reconstruction (HDM, Xie et al., CVPR 2024): person and object as points in one PLY.

``gt/<sequence>/<image>.ply``: the first half of the points is the person, the second the object.
``pred/<sequence>/<image>.ply``: a point is the person's if its blue is above one half of the scale's smallest step, as
the evaluator has it: any blue in files of 8 bits, more than 0.5 in files of floats.

**Frame.** As stored, and the evaluator aligns nothing: truth and prediction must lie in the same normalised frame (the
dataset's own: centred, a unit across), so these are no metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, as_floats
from hoirecon.data.datasets.folder_checks import need_folder
from hoirecon.data.datasets.listed import ListedDataset, first_file
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question, ReconstructionTruth, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_mesh_file, check_writable

LICENCE = "HDM's packing: under the terms of BEHAVE, InterCap and ProciGen, non-commercial research only"
MAX_BYTES = 256 << 20
PERSON_BLUE = 0.5
"""A point whose blue, as the file's numbers have it, is above this is the person's."""
COLORS = {"person": (111, 173, 220), "object": (250, 140, 0)}
"""What :func:`write_hdm_cloud` paints: the person with blue, the object without any."""


def open_hdm(root: str | Path, split: str = "test", images: str | Path = "") -> ListedDataset:
    """Read ground-truth clouds.

    Args:
        root: folder of ``gt``.
        split: ``test``; the files do not say.
        images: folder of ``<id>.jpg`` or ``.png``; empty: ``images`` below the root.

    Raises:
        InputError: no such folder.
    """
    root = Path(root)
    folder = need_folder(root / "gt", "put the ground-truth clouds there, <sequence>/<image>.ply")
    files = sorted(folder.rglob("*.ply"))
    ids = tuple(path.relative_to(folder).with_suffix("").as_posix() for path in files)
    pictures = Path(images) if str(images) else root / "images"
    return ListedDataset(
        name="hdm",
        version="ply",
        split=split,
        licence=LICENCE,
        ids=ids,
        read=lambda k: _sample(files[k], ids[k], pictures),
        root=root,
        label_files=tuple(files),
        stand_in=is_stand_in_folder(root),
    )


def _sample(path: Path, id: str, pictures: Path) -> Sample:
    points, _ = _points(path)
    half = len(points) // 2
    truth = ReconstructionTruth(body_verts=points[:half], object_verts=points[half:], topology="points")
    image = first_file(*(pictures / f"{id}.{e}" for e in ("jpg", "png")))
    group = id.rsplit("/", 1)[0]
    return Sample(Question(id, image=image), {"reconstruction": truth}, group=group)


def iter_hdm_predictions(folder: str | Path) -> Iterator[Prediction]:
    """Predicted clouds of a folder, sorted by path; ids as of :func:`open_hdm`.

    Raises:
        InputError: a file that is damaged, has no colours, or no point of one of the two.
    """
    folder = need_folder(Path(folder), "give the folder of predicted clouds")
    for path in sorted(folder.rglob("*.ply")):
        person, thing = read_hdm_cloud(path)
        id = path.relative_to(folder).with_suffix("").as_posix()
        yield Prediction(id, body_verts=person, object_verts=thing)


def read_hdm_cloud(path: str | Path) -> tuple[FloatArray, FloatArray]:
    """(N, 3) points of the person and (M, 3) of the object, told apart by colour.

    Raises:
        InputError: missing, damaged, without colours, NaN, or all of one kind.
    """
    points, blue = _points(Path(path))
    if blue is None:
        raise InputError(f"{path} has no colours, by which person and object are told apart")
    is_person = blue > PERSON_BLUE
    if is_person.all() or not is_person.any():
        raise InputError(f"{path}: all {len(points)} points are the {'person' if is_person.any() else 'object'}'s")
    return points[is_person], points[~is_person]


def write_hdm_cloud(person: FloatArray, thing: FloatArray, path: str | Path) -> None:
    """Write one cloud: the person first, with blue; the object after it, without."""
    parts = [as_floats(person, ("N", 3), "person"), as_floats(thing, ("N", 3), "object")]
    points = np.concatenate(parts)
    colors: ByteArray = np.repeat(np.array(list(COLORS.values()), dtype=np.uint8), [len(p) for p in parts], axis=0)
    rows = np.zeros(len(points), dtype=[("p", "<f8", 3), ("c", "u1", 3)])
    rows["p"], rows["c"] = points, colors
    names = [*(f"property double {c}" for c in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue"))]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *names, "end_header"]
    check_writable(Path(path).parent)
    with atomic_file(path) as tmp:
        tmp.write_bytes("\n".join([*head, ""]).encode("ascii") + rows.tobytes())


def write_hdm_predictions(said: Iterable[Prediction], folder: str | Path) -> int:
    """Write predictions that have points of both; failures have no file. Returns how many were written.

    Raises:
        InputError: an answer without one of the two, or an id that would leave the folder.
    """
    count = 0
    for p in said:
        if p.failed:
            continue
        path = Path(folder) / f"{p.id}.ply"
        if p.body_verts is None or p.object_verts is None:
            raise InputError(f"the prediction for '{p.id}' lacks points of the person or of the object")
        if not path.resolve().is_relative_to(Path(folder).resolve()):
            raise InputError(f"the id '{p.id}' would be written outside {folder}")
        write_hdm_cloud(p.body_verts, p.object_verts, path)
        count += 1
    return count


def _points(path: Path) -> tuple[FloatArray, Any]:
    """(N, 3) points, and (N,) blue as the file's numbers have it, or None."""
    import trimesh

    check_mesh_file(path, (".ply",), MAX_BYTES)
    try:
        with path.open("rb") as stream:
            loaded: Any = trimesh.exchange.ply.load_ply(stream)
        data = loaded["metadata"]["_ply_raw"]["vertex"]["data"]
        names = data.dtype.names if hasattr(data, "dtype") and data.dtype.names else tuple(data)
        points = np.stack([np.asarray(data[c], dtype=np.float64).ravel() for c in "xyz"], axis=1)
        blue = np.asarray(data["blue"], dtype=np.float64).ravel() if "blue" in names else None
    except Exception as err:  # trimesh's reader raises anything on a broken file
        raise InputError(f"{path} cannot be read as a cloud ({type(err).__name__}: {str(err)[:100]})") from err
    return as_floats(points, ("N", 3), f"points of {path}"), blue
