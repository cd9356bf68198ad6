"""Predictions as other programs hand them in: our folders, DECO's and RHOBIN's pickles, BOP's csv, folders of meshes or
clouds as Open3DHOI, InteractVLM, PICO and HDM keep them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from hoirecon.data.datasets.prediction_folders import FILES, Layout, iter_prediction_folders, layout_of
from hoirecon.data.datasets.predictions import Prediction, prediction_files, read_prediction, read_predictions
from hoirecon.data.datasets.samples import BodyContactTruth, Dataset, Sample
from hoirecon.errors import InputError
from hoirecon.evaluation.runs.results import PREDICTIONS, RUN

if TYPE_CHECKING:
    from hoirecon.evaluation.tasks.task import Task

KINDS = (
    "a folder of predictions (.npz or .json each), a run's folder, a .pkl of DECO or RHOBIN, BOP's .csv, or a folder "
    "of Open3DHOI's, InteractVLM's, PICO's or HDM's files, one folder or cloud per sample"
)


def kind_of(path: Path, dataset: str = "") -> str:
    """``run``, ``folder``, ``deco``, ``rhobin``, ``bop``, ``hdm``, or a layout of folders (``open3dhoi``, ...).

    Raises:
        InputError: nothing there, or of no known kind.
    """
    if path.is_dir():
        if (path / RUN).is_file() or (path / PREDICTIONS).is_dir():
            return "run"
        if prediction_files(path):
            return "folder"
        if (layout := layout_of(path)) is not None:
            return layout
        if next(path.rglob("*.ply"), None) is not None:
            return "hdm"
        raise InputError(f"{path} holds no predictions: give {KINDS}")
    if not path.is_file():
        raise InputError(f"{path} does not exist: give {KINDS}")
    kinds = {".csv": "bop", ".pkl": "rhobin" if dataset == "rhobin" else "deco"}
    if path.suffix.lower() not in kinds:
        raise InputError(f"{path.name} is no predictions that can be read: give {KINDS}")
    return kinds[path.suffix.lower()]


def read_answers(path: str | Path, task: Task | None = None, dataset: Dataset | None = None) -> dict[str, Prediction]:
    """Predictions by id, of any kind.

    Args:
        path: what was handed in.
        task: what it answers, if known.
        dataset: what is asked, if known: gives the ids and the body of a DECO pickle, and the ids of a RHOBIN one.

    Raises:
        InputError: of no known kind, damaged, with code in it, an id twice; names the file.
    """
    path = Path(path)
    kind = kind_of(path, "" if task is None else task.dataset)
    if kind == "run":
        return read_predictions(path / PREDICTIONS)
    if kind == "folder":
        return read_predictions(path)
    if kind == "bop":
        return _from_bop(path)
    if kind in FILES or kind == "hdm":
        return _from_folders(path, kind)
    if kind == "rhobin":
        return _from_rhobin(path, dataset)
    return _from_deco(path, dataset)


def _from_rhobin(path: Path, dataset: Dataset | None) -> dict[str, Prediction]:
    from hoirecon.data.datasets.rhobin import read_rhobin_results

    return read_rhobin_results(path, frozenset(getattr(dataset, "ids", ())))


def _from_folders(path: Path, kind: str) -> dict[str, Prediction]:
    """By the folders' paths, which are the ids of the samples."""
    from hoirecon.data.datasets.hdm import iter_hdm_predictions

    said = iter_hdm_predictions(path) if kind == "hdm" else iter_prediction_folders(path, cast(Layout, kind))
    return {answer.id: answer for answer in said}


def _from_deco(path: Path, dataset: Dataset | None) -> dict[str, Prediction]:
    from hoirecon.data.datasets.deco_challenge import NUM_VERTS, read_challenge

    stand_in = dataset is not None and dataset.stand_in
    found = read_challenge(path, num_verts=NUM_VERTS, stand_in=stand_in)
    return {said.id: said for said in found.predictions}


def _from_bop(path: Path) -> dict[str, Prediction]:
    """The most confident pose of each image; ids are ``scene/image``."""
    from hoirecon.data.datasets.bop import read_bop

    best: dict[str, tuple[float, Prediction]] = {}
    for row in read_bop(path):
        name = f"{row.scene_id}/{row.im_id}"
        if name not in best or row.score > best[name][0]:
            seconds = row.time if row.time >= 0 else None
            best[name] = row.score, Prediction(name, object_pose=row.pose, seconds=seconds)
    return {name: said for name, (_, said) in best.items()}


def take_answer(given: dict[str, Prediction], sample: Sample, task: Task) -> Prediction | None:
    """The answer to a sample, by its id or, where objects are told apart, out of its image's answer.

    An image's answer that does not name the object says that it touches nothing, as in DECO's semantic track.
    """
    if sample.id in given:
        return given[sample.id]
    whole = given.get(sample.group) if task.per_object else None
    truth = sample.truth.get("body_contact")
    if whole is None or not whole.by_object or not isinstance(truth, BodyContactTruth):
        return None if whole is None or not whole.failed else replace(whole, id=sample.id)
    values = whole.by_object.get(sample.question.label, np.zeros(len(truth.contact)))
    return Prediction(sample.id, body_contact=values, topology=whole.topology)


def validate_answers(path: str | Path, dataset_name: str = "") -> dict[str, object]:
    """What is in a file or folder of predictions: kind, how many, what they answer, how many failed.

    Raises:
        InputError: the first thing that is wrong; names the file.
    """
    path = Path(path)
    kind = kind_of(path, dataset_name)
    folder = path / PREDICTIONS if kind == "run" else path
    if kind in ("run", "folder"):
        answers = {said.id: said for said in map(read_prediction, prediction_files(folder))}
        if len(answers) < len(prediction_files(folder)):
            raise InputError(f"{folder} answers an id twice: keep one of them")
    elif kind == "deco":
        answers = _from_deco(path, None)
    else:
        answers = read_answers(path) if kind != "rhobin" else _from_rhobin(path, None)
    fields = ("body_contact", "object_contact", "affordance", "object_pose", "object_verts", "body_verts")
    has = {f: sum(getattr(a, f) is not None for a in answers.values()) for f in fields}
    by_object = sum(bool(a.by_object) for a in answers.values())
    return {
        "kind": kind,
        "predictions": len(answers),
        "failed": sum(bool(a.failed) for a in answers.values()),
        "fields": {name: n for name, n in {**has, "by_object": by_object}.items() if n},
        "topologies": sorted({a.topology for a in answers.values() if a.topology}),
    }
