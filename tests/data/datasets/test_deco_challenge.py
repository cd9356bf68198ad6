"""The challenge's pickle: what is read, what is refused, and what a reader outside this library finds in ours."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.deco_challenge import read_challenge, write_challenge
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.errors import InputError

V = 6890


def _write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def _vector(*ids: int) -> list[int]:
    return [int(k in ids) for k in range(V)]


def test_a_file_by_hand_is_read(tmp_path: Path) -> None:
    content = {
        "one.jpg": {"gen_contact_vids": _vector(3), "sem_contact_vids": {"dining_table": [5, 3]}},
        "two.jpg": {"gen_contact_vids": np.full(V, 0.25)},
    }
    read = read_challenge(_write(tmp_path / "p.pkl", content), ["one", "two"])
    one, two = read.predictions
    assert read.problems == ()
    assert one.body_contact is not None
    assert np.flatnonzero(one.body_contact).tolist() == [3]
    assert np.flatnonzero(one.by_object["dining table"]).tolist() == [3, 5]
    assert one.topology == "smpl"
    assert two.body_contact is not None
    assert two.body_contact[0] == 0.25


def test_ours_is_read_by_the_plainest_reader_and_by_us(tmp_path: Path) -> None:
    scores = np.zeros(V)
    scores[[1, 9]] = 0.5, 0.49
    said = [Prediction("b", body_contact=scores, topology="smpl", by_object={"dining table": scores}),
            Prediction("a", body_contact=np.ones(V), topology="smpl")]  # fmt: skip
    write_challenge(said, tmp_path / "p.pkl", order=["a", "b"])
    held = pickle.loads((tmp_path / "p.pkl").read_bytes())
    assert list(held) == ["a", "b"]
    assert held["b"] == {"gen_contact_vids": _vector(1), "sem_contact_vids": {"dining_table": [1]}}
    assert set(map(type, held["a"]["gen_contact_vids"])) == {int}
    back = read_challenge(tmp_path / "p.pkl", ["a", "b"]).predictions
    assert back[1].by_object["dining table"].sum() == 1


def test_order_and_coverage_are_findings(tmp_path: Path) -> None:
    path = _write(tmp_path / "p.pkl", {k: {"gen_contact_vids": _vector()} for k in "bad"})
    swapped = read_challenge(path, list("abd"))
    assert [p.id for p in swapped.predictions] == list("abd")
    assert "another order than the truth's, from place 0" in swapped.problems[0].what
    partial = read_challenge(path, list("abc"))
    assert [(p.severity, p.what) for p in partial.problems] == [
        ("error", "1 sample without a prediction (c)"),
        ("warning", "1 sample that nobody asked for (d)"),
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"gen_contact_vids": [3, 17, 2000]}, "3 values, expected 6890: these look like vertex ids"),
        ({"gen_contact_vids": [0.5] * 10475}, "10475 values, expected 6890$"),
        ({"gen_contact_vids": [float("nan")] * V}, "NaN or values outside"),
        ({"gen_contact_vids": ["x"] * V}, "holds no numbers"),
        ({"contact": []}, "has neither 'gen_contact_vids' nor 'sem_contact_vids', but contact"),
        ([1, 2], "but ndarray"),
        ({"sem_contact_vids": [1, 2]}, "expected {object: vertex ids}"),
        ({"sem_contact_vids": {"bench": _vector(3)}}, "vector of 0 and 1: the evaluator takes ids"),
        ({"sem_contact_vids": {"bench": [6890]}}, "names vertices 6890..6890, but the body has 6890"),
        ({"sem_contact_vids": {"bench": [0.5]}}, "expected whole numbers"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, entry: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_challenge(_write(tmp_path / "p.pkl", {"one": entry}))


def test_other_files_and_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    for content, said in (([1], "no dictionary of images"), ({"a": Evil()}, "not executed"),
                          ({"a.jpg": {}, "a.png": {}}, "image 'a' twice")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_challenge(_write(tmp_path / "p.pkl", content))
    assert not (tmp_path / "run").exists()


def test_nothing_half_is_written(tmp_path: Path) -> None:
    good = Prediction("a", body_contact=np.zeros(V), topology="smpl")
    for said, order, what in (([good, good], [], "same id"), ([good], ["a", "b"], r"1 images have no prediction \(b\)"),
                              ([Prediction("a", failed="out of memory")], [], "no place for failures")):  # fmt: skip
        with pytest.raises(InputError, match=what):
            write_challenge(said, tmp_path / "p.pkl", order)
    assert not list(tmp_path.iterdir())
