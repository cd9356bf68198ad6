"""BOP result files: one csv line per estimated pose, ``scene_id,im_id,obj_id,score,R,t,time``.

R: nine numbers, row by row; t: three, in MILLIMETRES; both separated by blanks. Model frame to camera frame, OpenCV
axes: ``x_cam = R x_model + t``. time: seconds for the whole image, the same on each of its lines; -1: unknown. The
file's name is ``METHOD_DATASET-SPLIT[_ID].csv``. Models are in millimetres too.
Source: the BOP challenge's documentation (Hodan et al., ECCV 2018 and 2020).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.datasets.listed import FARTHEST_M, rotation
from hoirecon.errors import InputError
from hoirecon.files import atomic_file
from hoirecon.pose import ObjectPose

COLUMNS = ("scene_id", "im_id", "obj_id", "score", "R", "t", "time")
FILE_NAME = re.compile(r"[^_/]+_[^_/-]+-[^_/]+(_[^_/]+)?\.csv")
MAX_FILE_BYTES = 1 << 30
NEAREST_MM = 20.0
"""No camera of the field sees a pose nearer than 2 cm: such a translation is in metres."""


@dataclass(frozen=True)
class BopPose:
    """One line of a result file."""

    scene_id: int
    im_id: int
    obj_id: int
    score: float
    R: FloatArray
    """(3, 3) model to camera."""
    t_mm: FloatArray
    """(3,) millimetres."""
    time: float = -1.0
    """Seconds for the whole image; -1: unknown."""

    def __post_init__(self) -> None:
        where = f"{self.scene_id},{self.im_id},{self.obj_id}"
        object.__setattr__(self, "R", rotation(self.R, where))
        object.__setattr__(self, "t_mm", as_floats(self.t_mm, (3,), f"t of {where}"))
        if not np.isfinite([self.score, self.time]).all():
            raise InputError(f"score and time of {where} must be finite, got {self.score} and {self.time}")

    @property
    def pose(self) -> ObjectPose:
        """Pose of a model in metres."""
        return ObjectPose(self.R, self.t_mm / 1000)

    @classmethod
    def of(
        cls, pose: ObjectPose, scene_id: int, im_id: int, obj_id: int, score: float = 1.0, time: float = -1.0
    ) -> BopPose:
        """The line of a pose of ours.

        Raises:
            InputError: a pose with a scale, for which the format has no column.
        """
        if abs(pose.s - 1) > 1e-9:
            raise InputError(f"BOP's files have no scale, but the pose has s = {pose.s:.6g}: scale the model instead")
        return cls(scene_id, im_id, obj_id, score, pose.R, pose.t * 1000, time)


def write_bop(poses: Iterable[BopPose], path: str | Path) -> None:
    """Write a result file, whole or not at all; every digit that the numbers have.

    Raises:
        InputError: a file name that BOP's programs refuse, or two times for one image.
    """
    path, poses = Path(path), list(poses)
    if not FILE_NAME.fullmatch(path.name):
        raise InputError(f"{path.name} is no name of a BOP result: METHOD_DATASET-SPLIT[_ID].csv, no other underscores")
    _check_times(poses, path.name)
    lines = [",".join(COLUMNS)]
    for p in poses:
        R, t = (" ".join(repr(float(v)) for v in np.ravel(values)) for values in (p.R, p.t_mm))
        lines.append(f"{p.scene_id},{p.im_id},{p.obj_id},{float(p.score)!r},{R},{t},{float(p.time)!r}")
    with atomic_file(path) as tmp:
        tmp.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_bop(path: str | Path) -> list[BopPose]:
    """Read a result file.

    Raises:
        InputError: missing or too large; columns that are missing or in another order; a line whose numbers do not
            fit (named by its number); translations in metres; two times for one image.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"{path.name} is not a csv file: {err}") from err
    if not rows or tuple(c.strip() for c in rows[0]) != COLUMNS:
        head = ",".join(rows[0])[:80] if rows else "nothing"
        raise InputError(f"{path.name} begins with '{head}', expected '{','.join(COLUMNS)}' in this order")
    poses = [_row(row, f"{path.name}, line {k}") for k, row in enumerate(rows[1:], 2) if row]
    _check_unit(poses, path.name)
    _check_times(poses, path.name)
    return poses


def _row(row: list[str], where: str) -> BopPose:
    if len(row) != len(COLUMNS):
        raise InputError(f"{where}: {len(row)} columns, expected {len(COLUMNS)}")
    try:
        scene, image, thing = (int(v) for v in row[:3])
        score, time = float(row[3]), float(row[6])
        R, t = (np.array([float(v) for v in text.split()]) for text in row[4:6])
    except ValueError as err:
        raise InputError(f"{where}: {err}") from None
    if len(R) != 9 or len(t) != 3:
        raise InputError(f"{where}: R has {len(R)} numbers and t {len(t)}, expected 9 and 3, separated by blanks")
    try:
        return BopPose(scene, image, thing, score, R.reshape(3, 3), t, time)
    except InputError as err:
        raise InputError(f"{where}: {err}") from None


def _check_unit(poses: list[BopPose], name: str) -> None:
    far = [float(np.linalg.norm(p.t_mm)) for p in poses]
    if far and float(np.median(far)) < NEAREST_MM:
        raise InputError(f"{name}: the median distance is {np.median(far):.3g} mm: in metres? multiply t by 1000")
    if far and float(np.median(far)) > 1000 * FARTHEST_M:
        raise InputError(f"{name}: the median distance is {np.median(far) / 1e6:.3g} km: t is in millimetres")


def _check_times(poses: list[BopPose], name: str) -> None:
    times: dict[tuple[int, int], float] = {}
    for p in poses:
        if times.setdefault((p.scene_id, p.im_id), p.time) != p.time:
            raise InputError(
                f"{name}: image {p.im_id} of scene {p.scene_id} has two times, {times[p.scene_id, p.im_id]} and "
                f"{p.time}: the time is that of the whole image"
            )
