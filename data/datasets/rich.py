"""RICH (BSTRO, CVPR 2022): contact of people with scanned scenes, seen by several cameras.

Two versions are read. ``tree``: the authors' ``human_scene_contact/<split>/<sequence>/<frame>/<subject>.pkl`` and
``images/<split>/<sequence>/cam_XX/<frame>_<camera>.<ending>``. ``bstro-tsv``: the three files of BSTRO,
``<split>.{img,hw,label}.tsv``, in which pictures are text.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing, need_file
from hoirecon.data.datasets.labels import unique_ids
from hoirecon.data.datasets.listed import ListedDataset, body_topology
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.samples import BodyContactTruth, Question, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES
from hoirecon.errors import InputError
from hoirecon.files import atomic_file

LICENCE = "MPI licence for non-commercial research, no redistribution"
CONTACT = "human_scene_contact"
PLACES = "data", "."
MAX_LABEL_BYTES = 16 << 20
"""A label file of the tree has 0.9 MB, a row of the TSV 20 kB."""
MAX_ROW_BYTES = 64 << 20
MAX_KEY_BYTES = 1024
GREEN = 0.0, 1.0, 0.0
"""Colour of a touching vertex in the OBJ beside a label."""
COLOUR_SLACK = 0.02


def open_rich(
    root: Path,
    split: str,
    *,
    topology: Literal["smpl", "smplx"] = "smpl",
    distance: float | None = None,
    camera: int | None = None,
    pictures: str | Path | None = None,
) -> ListedDataset:
    """Read RICH in either version.

    Args:
        root: folder with ``human_scene_contact/`` (or ``data/`` around it), or with BSTRO's TSV files.
        split: ``train``, ``val`` or ``test``.
        topology: ``smpl``: the labels. ``smplx``: there are none; the set is taken from the colour (0, 255, 0) of the
            ``.obj`` beside a label, or from the distances to the scan.
        distance: metres; for ``smplx``: vertices no farther from the scan are in contact, instead of the colours.
        camera: only the pictures of this camera; None: a sample per picture and person.
        pictures: for the TSV: folder that pictures are written to when their sample is read; None: no pictures.

    Raises:
        InputError: neither version is there, or options of the other one. Labels are read with their sample.
    """
    if distance is not None and not 0 < distance < 1:
        raise InputError(f"distance is in metres, between 0 and 1, got {distance}")
    home = first_existing(root, *(f"{place}/{CONTACT}/{split}" for place in PLACES))
    if home is not None:
        return _open_tree(root, home, split, topology, distance, camera)
    rows = first_existing(root, *(f"{place}/{split}.label.tsv" for place in ("datasets/RICH_for_BSTRO", "RICH", ".")))
    if rows is None:
        raise MissingFile(f"{root} has neither {CONTACT}/{split}/ nor {split}.label.tsv")
    if topology != "smpl" or distance is not None or camera is not None:
        raise InputError("topology, distance and camera belong to the authors' folders, but this copy is BSTRO's TSV")
    return _open_tsv(root, rows, split, None if pictures is None else Path(pictures))


# ---------------------------------------------------------------------------------------------------------------- tree
def _open_tree(
    root: Path, home: Path, split: str, topology: str, distance: float | None, camera: int | None
) -> ListedDataset:
    found, stand_in = Findings(root), is_stand_in_folder(root)
    files = sorted(home.glob("*/*/*.pkl"))
    if not files:
        raise MissingFile(f"{home} has no <sequence>/<frame>/<subject>.pkl")
    shots = _shots(files, home.parent.parent / "images" / split, camera, found)
    ids = [f"{file.parent.parent.name}/{file.parent.name}/{file.stem}{view and '/' + view}" for file, view, _ in shots]

    def sample(place: int) -> Sample:
        file, _, picture = shots[place]
        contact = _tree_contact(file, topology, distance)
        truth = BodyContactTruth(contact, body_topology(len(contact), stand_in, str(file)))
        sequence = file.parent.parent.name
        question = Question(ids[place], picture, extra={"subject": file.stem})
        return Sample(question, {"body_contact": truth}, group=sequence, category=sequence.split("_")[0])

    how = "" if topology == "smpl" else (" smplx-colour" if distance is None else f" smplx-{distance:g}m")
    view = "" if camera is None else f" cam_{camera:02d}"
    labels = tuple(files)
    if topology == "smplx" and distance is None:
        labels += tuple(path for file in files if (path := file.with_suffix(".obj")).is_file())
    version = f"tree{how}{view}"
    return ListedDataset("rich", version, split, LICENCE, tuple(ids), sample, root, labels, stand_in, found.tuple())


def _shots(files: list[Path], images: Path, camera: int | None, found: Findings) -> list[tuple[Path, str, Path | None]]:
    """Label, name of the camera and picture of each sample; a label without a picture stays, as a finding."""
    views: dict[str, dict[str, dict[str, Path]]] = {}
    shots: list[tuple[Path, str, Path | None]] = []
    unseen = []
    for file in files:
        sequence, frame = file.parent.parent.name, file.parent.name
        if sequence not in views:
            views[sequence] = _views(images / sequence, camera)
        here = [(file, view, by_frame[frame]) for view, by_frame in views[sequence].items() if frame in by_frame]
        shots += here or [(file, "", None)]
        if not here:
            unseen.append(f"{sequence}/{frame}/{file.stem}")
    found.about("warning", images, unseen, "without a photograph", "get RICH's images; camera= may be too narrow")
    return shots


def _views(folder: Path, camera: int | None) -> dict[str, dict[str, Path]]:
    """Camera -> frame -> picture of one sequence."""
    names = "cam_*" if camera is None else f"cam_{camera:02d}"
    return {view.name: {p.stem.split("_")[0]: p for p in sorted(view.iterdir())} for view in sorted(folder.glob(names))}


def _tree_contact(file: Path, topology: str, distance: float | None) -> FloatArray:
    if topology == "smplx" and distance is None:
        return green_vertices(file.with_suffix(".obj"))
    held = read_objects(file, "contact labels", MAX_LABEL_BYTES)
    key = "contact" if topology == "smpl" else "s2m_dist_id"
    if not isinstance(held, dict) or key not in held:
        have = ", ".join(map(str, held)) if isinstance(held, dict) else type(held).__name__
        raise InputError(f"{file} has no '{key}', but {have}: it is not a label of RICH")
    values = np.asarray(held[key])
    if topology == "smpl":
        return _labels(values, str(file))
    if values.shape != (TOPOLOGY_SIZES["smplx"], 3) or not np.isfinite(values).all():
        raise InputError(
            f"{file} has distances of shape {values.shape} (or NaN), expected ({TOPOLOGY_SIZES['smplx']}, 3)"
        )
    near = np.linalg.norm(values.astype(np.float64), axis=1) <= (distance or 0)
    return np.asarray(near, dtype=np.float64)


def _labels(values: Any, where: str) -> FloatArray:
    """(6890,) 1 where the label is above zero, as the authors read it."""
    size = TOPOLOGY_SIZES["smpl"]
    if values.size != size or values.dtype.kind not in "biuf":
        raise InputError(f"{where} has {values.size} labels of type {values.dtype}, expected {size}: another copy's?")
    if not np.isfinite(values.astype(np.float64)).all():
        raise InputError(f"{where} holds NaN or infinity: copy it again")
    return np.asarray(values.reshape(-1) > 0, dtype=np.float64)


def green_vertices(path: Path) -> FloatArray:
    """(10475,) 1 at the vertices that an OBJ colours (0, 255, 0), as RICH marks contact on SMPL-X.

    Raises:
        InputError: missing, without colours, or of another number of vertices.
    """
    need_file(path, "give distance=0.02 to take contact on SMPL-X from the distances instead")
    rows = [line.split()[1:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("v ")]
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as err:
        raise InputError(f"{path} has vertices that are no numbers: {err}") from err
    if table.shape != (TOPOLOGY_SIZES["smplx"], 6):
        raise InputError(
            f"{path} has vertices of shape {table.shape}, expected ({TOPOLOGY_SIZES['smplx']}, 6) with colours"
        )
    colours = table[:, 3:] / (255 if table[:, 3:].max() > 1 else 1)
    return np.asarray((np.abs(colours - GREEN) < COLOUR_SLACK).all(axis=1), dtype=np.float64)


# ----------------------------------------------------------------------------------------------------------------- tsv
@dataclass(frozen=True, eq=False)
class TsvRows:
    """Rows of a TSV file, found once and read one at a time."""

    path: Path
    starts: IntArray = field(repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> list[str]:
        """Cells of one row.

        Raises:
            InputError: longer than 64 MiB, or not text.
        """
        with self.path.open("rb") as stream:
            stream.seek(int(self.starts[index]))
            line = stream.readline(MAX_ROW_BYTES + 1)
        if len(line) > MAX_ROW_BYTES:
            raise InputError(f"{self.path} has a row of more than {MAX_ROW_BYTES} bytes")
        try:
            return line.decode("utf-8").rstrip("\r\n").split("\t")
        except UnicodeDecodeError as err:
            raise InputError(f"{self.path}, row {index}, is not text: {err}") from err

    def key(self, index: int) -> str:
        """First cell of one row, without reading the rest."""
        with self.path.open("rb") as stream:
            stream.seek(int(self.starts[index]))
            return stream.readline(MAX_KEY_BYTES).split(b"\t")[0].decode("utf-8", "replace").strip()


def tsv_rows(path: Path) -> TsvRows:
    """Where the rows of a TSV file begin; the file is read through once, never kept."""
    starts, at = [], 0
    with path.open("rb") as stream:
        while block := stream.read(8 << 20):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1 + at
            starts.append(ends)
            at += len(block)
    every = np.concatenate([np.zeros(1, np.int64), *starts])
    return TsvRows(path, every[every < at])


def _open_tsv(root: Path, path: Path, split: str, pictures: Path | None) -> ListedDataset:
    found, stand_in = Findings(root), is_stand_in_folder(root)
    labels = tsv_rows(path)
    images = path.with_name(f"{split}.img.tsv")
    photos = tsv_rows(images) if images.is_file() else None
    keys = [labels.key(k) for k in range(len(labels))]
    if photos is None:
        found.warning(images, "does not exist", "samples have no photograph; get it from BSTRO's page")
    elif len(photos) != len(labels):
        raise InputError(
            f"{images} has {len(photos)} rows for {len(labels)} labels: rows pair by number; copy it again"
        )
    elif pictures is None:
        found.note(images, "holds the pictures as text", "give pictures=FOLDER to have them as files")
    ids = unique_ids(keys, found, path, severity="note")

    def sample(place: int) -> Sample:
        entry = _entry(labels, place)
        contact = _labels(_array(entry["contact"], f"{path}, row {place}"), f"{path}, row {place}")
        truth = BodyContactTruth(contact, body_topology(len(contact), stand_in, str(path)))
        extra: dict[str, Any] = {name: entry[name] for name in ("center", "scale") if name in entry}
        photo = _photo(photos, place, keys[place], pictures) if photos is not None and pictures is not None else None
        sequence = ([""] * 2 + list(PurePosixPath(keys[place]).parts))[-3] or keys[place]
        return Sample(
            Question(ids[place], photo, extra=extra), {"body_contact": truth}, sequence, sequence.split("_")[0]
        )

    return ListedDataset(
        "rich", "bstro-tsv", split, LICENCE, tuple(ids), sample, root, (path,), stand_in, found.tuple()
    )


def _array(value: Any, where: str) -> Any:
    try:
        return np.asarray(value)
    except ValueError as err:
        raise InputError(f"{where}: the labels are no list of numbers ({str(err)[:80]})") from err


def _entry(labels: TsvRows, place: int) -> dict[str, Any]:
    cells = labels.row(place)
    try:
        held = json.loads(cells[1])
        entry = held[0] if isinstance(held, list) else held
    except (IndexError, json.JSONDecodeError) as err:
        raise InputError(f"{labels.path}, row {place}, is no key and JSON: {err}") from err
    if not isinstance(entry, dict) or "contact" not in entry:
        raise InputError(f"{labels.path}, row {place}, has no 'contact'")
    return entry


def _photo(photos: TsvRows, place: int, key: str, folder: Path) -> Path:
    """The picture of a row as a file, written when it is asked for the first time."""
    cells = photos.row(place)
    if cells[0] != key:
        raise InputError(
            f"{photos.path}, row {place}, is of '{cells[0]}', but the label is of '{key}': rows have shifted"
        )
    name = PurePosixPath(key).with_suffix("") if PurePosixPath(key).suffix else PurePosixPath(key)
    path = folder / ("_".join(part for part in name.parts if part not in ("/", "..")) + ".jpg")
    if not path.is_file():
        try:
            data = base64.b64decode(cells[-1], validate=True)
        except binascii.Error as err:
            raise InputError(f"{photos.path}, row {place}, holds no picture in base64: {err}") from err
        with atomic_file(path) as tmp:
            tmp.write_bytes(data)
    return path
