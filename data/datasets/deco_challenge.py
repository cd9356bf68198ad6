"""The pickle of DECO's contact challenges: read by a restricted unpickler, written with Python's own types alone.

``{image: {"gen_contact_vids": 0/1 per vertex, "sem_contact_vids": {object_name: vertex ids}}}``. The first promises ids
by its name and holds a vector; for the second the challenge's page says a 0/1 vector, but its evaluator takes ids. The
evaluators want the keys in the order of the truth's file; here samples are found by key, another order is a finding.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.folder_checks import Finding, Findings, some
from hoirecon.data.datasets.labels import mask_of, vertex_ids, words
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.topologies import topology_of_size
from hoirecon.errors import InputError
from hoirecon.files import atomic_file

BINARY, SEMANTIC = "gen_contact_vids", "sem_contact_vids"
NUM_VERTS = 6890


@dataclass(frozen=True, eq=False)
class ChallengeFile:
    """What a challenge's pickle says."""

    predictions: tuple[Prediction, ...]
    """In the order of the wanted ids, where they were given; else of the file."""
    problems: tuple[Finding, ...]
    """Another order, ids that are missing or unknown."""


def read_challenge(
    path: str | Path, ids: Sequence[str] = (), *, num_verts: int = NUM_VERTS, stand_in: bool = False
) -> ChallengeFile:
    """Read a challenge's pickle, of either track or of both.

    Args:
        path: the file; nothing in it is executed.
        ids: the images that are asked about; empty: those of the file. Endings of file names do not matter.
        num_verts: vertices of the body.
        stand_in: whether the body is a free stand-in.

    Raises:
        InputError: not such a file, vectors of another length, vertex ids where a vector is wanted or a vector where
            ids are, NaN, or a pickle that asks for code.
    """
    path = Path(path)
    held = read_objects(path, "a challenge's predictions")
    if not isinstance(held, Mapping) or not held:
        raise InputError(f"{path} holds no dictionary of images: expected {{image: {{'{BINARY}': ...}}}}")
    topology = topology_of_size(num_verts, stand_in)
    stems = _by_stem(held, path)
    found = Findings(path.parent)
    wanted = [_stem(name) for name in ids] or list(stems)
    _compare(list(stems), wanted, path, found)
    read = [_prediction(name, stems[name], num_verts, topology, path) for name in wanted if name in stems]
    return ChallengeFile(tuple(read), found.tuple())


def write_challenge(
    predictions: Iterable[Prediction], path: str | Path, order: Sequence[str] = (), threshold: float = 0.5
) -> None:
    """Write predictions as the challenge wants them: whole numbers in lists, the truth's order of keys.

    Args:
        predictions: those with ``body_contact`` go to the first track, those with ``by_object`` to the second.
        path: the pickle.
        order: ids in the order of the truth's file, which the challenge's evaluators insist on; empty: as given.
        threshold: scores from it on are contact.

    Raises:
        InputError: an id twice or without prediction, a failed prediction, or one that says nothing.
    """
    said = list(predictions)
    by_id = {one.id: one for one in said}
    if len(by_id) < len(said):
        raise InputError("two predictions have the same id: the challenge wants one per image")
    if absent := [name for name in order if name not in by_id]:
        raise InputError(
            f"{len(absent)} images have no prediction ({some(absent)}): the challenge takes all or nothing"
        )
    content = {name: _entry(by_id[name], threshold) for name in (order or by_id)}
    with atomic_file(path) as tmp:
        tmp.write_bytes(pickle.dumps(content, protocol=4))


def _entry(said: Prediction, threshold: float) -> dict[str, Any]:
    if said.failed or (said.body_contact is None and not said.by_object):
        raise InputError(f"the prediction for '{said.id}' has no body contact: the challenge has no place for failures")
    entry: dict[str, Any] = {}
    if said.body_contact is not None:
        entry[BINARY] = (said.body_contact >= threshold).astype(int).tolist()
    if said.by_object:
        named = {label.replace(" ", "_"): scores for label, scores in said.by_object.items()}
        entry[SEMANTIC] = {label: np.flatnonzero(scores >= threshold).tolist() for label, scores in named.items()}
    return entry


def _stem(name: str) -> str:
    """Name of an image without folder and ending."""
    file = PureWindowsPath(name)
    return file.stem if file.suffix.lower() in (".jpg", ".jpeg", ".png") else file.name


def _by_stem(held: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    stems: dict[str, Any] = {}
    for name, entry in held.items():
        if _stem(str(name)) in stems:
            raise InputError(f"{path} names the image '{_stem(str(name))}' twice: keep one")
        stems[_stem(str(name))] = entry
    return stems


def _compare(have: list[str], wanted: list[str], path: Path, found: Findings) -> None:
    """Findings about coverage and order."""
    there, asked = set(have), set(wanted)
    found.about("error", path, [n for n in wanted if n not in there], "without a prediction", "they count as failed")
    found.about("warning", path, [n for n in have if n not in asked], "that nobody asked for", "they are left out")
    if there == asked and have != wanted:
        first = next(k for k, (a, b) in enumerate(zip(have, wanted, strict=True)) if a != b)
        what = f"the keys are in another order than the truth's, from place {first} on ('{have[first]}')"
        found.warning(path, what, "here they are found by name; DECO's own evaluator stops: write them in its order")


def _prediction(name: str, entry: Any, num_verts: int, topology: str, path: Path) -> Prediction:
    where = f"{path}: {name}"
    if not isinstance(entry, Mapping) or not {BINARY, SEMANTIC} & set(entry):
        keys = some(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
        raise InputError(f"{where} has neither '{BINARY}' nor '{SEMANTIC}', but {keys}")
    contact = _vector(entry[BINARY], num_verts, where) if BINARY in entry else None
    named = entry.get(SEMANTIC, {})
    if not isinstance(named, Mapping):
        raise InputError(f"{where}: '{SEMANTIC}' is a {type(named).__name__}, expected {{object: vertex ids}}")
    objects = {words(str(label)): _mask(ids, num_verts, f"{where}, {label}") for label, ids in named.items()}
    return Prediction(name, body_contact=contact, topology=topology, by_object=objects)


def _vector(value: Any, num_verts: int, where: str) -> FloatArray:
    values = np.ravel(np.asarray(value))
    if values.dtype.kind not in "biuf":
        raise InputError(f"{where}: '{BINARY}' holds no numbers")
    if values.size != num_verts:
        ids = values.dtype.kind in "iu" and values.size and values.max() > 1
        hint = ": these look like vertex ids, but the challenge wants 0 or 1 for each vertex" if ids else ""
        raise InputError(f"{where}: '{BINARY}' has {values.size} values, expected {num_verts}{hint}")
    if not ((values >= 0) & (values <= 1)).all():  # NaN fails too
        raise InputError(f"{where}: '{BINARY}' holds NaN or values outside [0, 1]: give 0 or 1")
    return values.astype(np.float64)


def _mask(value: Any, num_verts: int, where: str) -> FloatArray:
    values = np.ravel(np.asarray(value))
    if values.size == num_verts and np.isin(values, (0, 1)).all():
        raise InputError(
            f"{where} is a vector of 0 and 1: the evaluator takes ids and would set vertices 0 and 1 alone; give "
            f"np.flatnonzero(vector)"
        )
    ids = vertex_ids(values, where)
    if ids.size and (ids[0] < 0 or ids[-1] >= num_verts):
        raise InputError(f"{where} names vertices {ids[0]}..{ids[-1]}, but the body has {num_verts}")
    return mask_of(ids, num_verts)
