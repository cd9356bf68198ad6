"""The folder of a run: read back as it was written, damaged files named, hashes that hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.runs.distances import CachedDistances, distances_of
from hoirecon.evaluation.runs.fingerprints import digest, file_fingerprint, plain
from hoirecon.evaluation.runs.reconstructions import params_of
from hoirecon.evaluation.runs.results import load_run, read_samples
from hoirecon.evaluation.runs.runner import run_task


@pytest.fixture
def folder(damon: Path, make_guess: Any, tmp_path: Path) -> Path:
    run = run_task("damon/binary", damon, make_guess(0.05, "0001"), tmp_path / "run").run
    assert run is not None
    return run.save(tmp_path / "run")


def test_a_run_comes_back_as_it_was_written(folder: Path) -> None:
    run = load_run(folder)
    before = {p.name: p.read_bytes() for p in folder.glob("*.*")}
    run.save(folder)
    assert {p.name: p.read_bytes() for p in folder.glob("*.*")} == before
    assert run.by("category") == {} or "f1" in next(iter(run.by("category").values()))
    with pytest.raises(InputError, match="by 'category'"):
        run.by("weather")
    with pytest.raises(InputError, match="no 'adds_cm'"):
        run.score("adds_cm")


def test_a_body_file_is_no_reason_to_refuse_a_hand() -> None:
    """HOIRECON_BODY names a whole body, once for every command."""
    from hoirecon.data.body.files import FREE_BODY

    assert distances_of("mano", FREE_BODY) is None
    with pytest.raises(InputError, match="give that body"):
        distances_of("smplx", FREE_BODY)


def test_damaged_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no run\.json"):
        load_run(tmp_path)
    samples = (folder / "samples.csv").read_text()
    for text, what in (
        (samples + samples.splitlines()[1] + "\n", "stands there twice"),
        (samples.replace(",ok,", ",fine,"), "status 'fine'"),
        ("a,b\n", "does not begin with the columns"),
        (samples.replace("0.0", "zero", 1), "is damaged"),
    ):
        (folder / "samples.csv").write_text(text)
        with pytest.raises(InputError, match=what):
            read_samples(folder / "samples.csv")
    told = json.loads((folder / "scores.json").read_text())
    (folder / "scores.json").write_text(json.dumps({**told, "version": 99}))
    with pytest.raises(InputError, match="score its predictions anew"):
        load_run(folder)
    (folder / "scores.json").write_text(json.dumps({**told, "scores": [{"metric": "f1"}]}))
    with pytest.raises(InputError, match="is damaged"):
        load_run(folder)
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match="unfinished run"):
        load_run(folder)


def test_hashes_are_of_contents_and_name_no_machine(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.bin").write_bytes(b"x" * 100)
    assert file_fingerprint(tmp_path / "one") == file_fingerprint(tmp_path / "two")
    (tmp_path / "two/w.bin").write_bytes(b"x" * 99 + b"y")
    assert file_fingerprint(tmp_path / "one") != file_fingerprint(tmp_path / "two")
    assert plain({"weights": tmp_path / "one", "n": np.float64(2)}) == {"weights": "one", "n": 2.0}
    assert digest([1, 2]) != digest([2, 1])
    with pytest.raises(InputError, match="plain values"):
        plain({"f": print})
    with pytest.raises(InputError, match="plain values"):
        plain(float("nan"))


class _Counted:
    """Distances that say how often they were asked."""

    num_verts, diameter_m = 4, 3.0

    def __init__(self) -> None:
        self.asked = 0

    def to_set(self, verts: Any) -> Any:
        self.asked += 1
        return np.abs(np.arange(4) - verts[0]).astype(float)

    from_set = to_set


def test_each_front_is_walked_once_and_memory_is_bounded() -> None:
    inner = _Counted()
    cached = CachedDistances(inner, kept_bytes=2 * 8 * 4)
    for _ in range(3):
        assert cached.to_set(np.array([1])).tolist() == [1, 0, 1, 2]
    assert inner.asked == 1
    cached.from_set(np.array([1]))  # a matrix may differ by direction
    assert inner.asked == 2
    cached.to_set(np.array([2]))
    cached.to_set(np.array([1]))
    assert inner.asked == 4
    assert len(cached._kept) == 2


def test_whose_surface_distances_are_on(tmp_path: Path) -> None:
    stand_in = distances_of("standin-6890")
    assert stand_in is not None
    assert stand_in.num_verts == 6890
    assert distances_of("smpl") is None
    np.save(tmp_path / "d.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match="3 vertices"):
        distances_of("smpl", tmp_path / "d.npy")
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no matrix of distances"):
        distances_of("smpl", tmp_path / "bad.npy")


def test_body_parameters_of_either_length_pose_the_same() -> None:
    from hoirecon.data.body import load_body

    body = load_body()
    pose = np.random.default_rng(0).normal(0, 0.1, 156)
    long = params_of({"pose": pose, "betas": np.zeros(10), "trans": np.ones(3)}, body)
    short = params_of({"pose": pose[:72], "shape": np.zeros(10), "transl": np.ones(3)}, body)
    assert long.body_pose.tolist() == short.body_pose.tolist() == pose[3:66].tolist()
    assert not short.left_hand_pose.any()
    assert long.right_hand_pose.tolist() == pose[111:].tolist()
    with pytest.raises(InputError, match="72 or 156"):
        params_of({"pose": np.zeros(9)}, body)
    with pytest.raises(InputError, match="none of betas, shape"):
        params_of({"pose": np.zeros(72)}, body)
