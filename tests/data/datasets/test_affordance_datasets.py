"""PIAD, PIADv2 and 3DIR: fixtures come back exactly, golden rows by hand, every trap of the lists is named."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.clouds import Finder, class_in_words, pair_by_class, read_cloud
from hoirecon.data.datasets.fixtures import write_lemon, write_piad, write_piadv2
from hoirecon.data.datasets.folder_checks import check_data
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Sample
from hoirecon.errors import InputError


def _map(sample: Sample) -> AffordanceTruth:
    truth = sample.truth["affordance"]
    assert isinstance(truth, AffordanceTruth)
    return truth


def _told(data: Any) -> str:
    return "\n".join(map(str, data.problems))


def _compare(data: Any, written: Any) -> None:
    assert [s.id for s in data] == written.ids
    for sample, name, points, heat in zip(data, written.names, written.points, written.maps, strict=True):
        truth = _map(sample)
        assert truth.name == name
        assert np.array_equal(truth.points, points)
        assert np.array_equal(truth.affordance, heat)
        assert np.array_equal(sample.question.points, points)
        assert sample.question.affordance == ""
        assert sample.question.image is not None


def test_piad_comes_back_exactly(tmp_path: Path) -> None:
    written = write_piad(tmp_path, 5)
    data = open_dataset("piad", tmp_path, "seen-test")
    _compare(data, written)
    assert data.stand_in
    mug = data[0]
    assert (mug.category, mug.question.label) == ("Mug", "mug")
    assert mug.question.person_box == (1, 1, 8, 14)
    assert mug.question.object_box == (4, 2, 8, 8)  # its corners were given the other way round
    assert data[2].question.person_box is None  # the real files lack some subjects
    assert not _map(data[4]).affordance.any()  # a sample without a positive point
    told = open_dataset("piad", tmp_path, "seen-test", tell_affordance=True)
    assert told[0].question.affordance == "grasp"
    assert told.fingerprint != data.fingerprint


def test_a_golden_row_of_piad(tmp_path: Path) -> None:
    write_piad(tmp_path, 1)
    path = tmp_path / "Data/Seen/Point/Test/Mug/Point_Test_Mug_0.txt"
    columns = [0.0] * 17
    columns[0], columns[7] = 0.25, 0.75  # grasp, wrapgrasp
    rows = ["1a2b Mug 0.1 0.2 0.3 " + " ".join(map(str, columns))] * 2048
    path.write_text("\n".join(rows), encoding="utf-8")
    truth = _map(open_dataset("piad", tmp_path, "seen-test")[0])
    assert truth.points[0].tolist() == [0.1, 0.2, 0.3]
    assert truth.affordance[0] == 0.25


def test_training_pairs_take_turns_within_the_class(tmp_path: Path) -> None:
    write_piad(tmp_path, 6)
    data = open_dataset("piad", tmp_path, "seen-train")
    assert len(data) == 6
    assert all(
        _map(s).name == {"Mug": "grasp", "Chair": "sit", "Bag": "lift", "Knife": "cut"}[s.category] for s in data
    )
    pairs = pair_by_class(list("aab"), ["A1", "A2", "C1"], str.upper, lambda c: c[0])
    assert pairs == ["A1", "A2", None]


def test_a_misspelled_affordance_is_mended_and_told(tmp_path: Path) -> None:
    write_piad(tmp_path, 2, typo=True)
    data = open_dataset("piad", tmp_path, "seen-test")
    assert _map(data[0]).name == "grasp"
    assert "1 sample with the affordance 'graps', taken for 'grasp' (Img_Test_Mug_graps_0)" in _told(data)


def test_an_unknown_affordance_leaves_no_truth_and_is_told(tmp_path: Path) -> None:
    write_piad(tmp_path, 2)
    path = tmp_path / "Data/Seen/Img_Test.txt"
    path.write_text(path.read_text().replace("Mug_grasp", "Mug_juggle"))
    data = open_dataset("piad", tmp_path, "seen-test")
    assert data[0].truth == {}
    assert "unknown affordance 'juggle'" in _told(data)
    assert any("no truth" in f.what for f in check_data(tmp_path, "piad"))


def test_lists_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_piad(tmp_path, 4)
    path = tmp_path / "Data/Seen/Point_Test.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[1:], lines[0]]))
    data = open_dataset("piad", tmp_path, "seen-test")
    assert "4 samples paired by line with a cloud of another class" in _told(data)
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(InputError, match="3 clouds for 4 images"):
        open_dataset("piad", tmp_path, "seen-test")
    with pytest.raises(InputError, match=r"has no Img_Test.txt in any of Data/Unseen"):
        open_dataset("piad", tmp_path, "unseen-test")
    path.write_text("")
    with pytest.raises(InputError, match="is empty"):
        open_dataset("piad", tmp_path, "seen-test")


@pytest.mark.parametrize("columns", [1, 24])
def test_piadv2_comes_back_exactly(tmp_path: Path, columns: int) -> None:
    written = write_piadv2(tmp_path, 4, columns=columns)
    data = open_dataset("piadv2", tmp_path, "seen-test")
    _compare(data, written)
    assert data[0].question.extra == {"human_knowledge": "the hand closes round it", "object_knowledge": "a handle"}
    assert len(open_dataset("piadv2", tmp_path, "seen-train")) == 4


def test_3dir_comes_back_exactly_without_behave(tmp_path: Path) -> None:
    written = write_lemon(tmp_path, 4)
    data = open_dataset("lemon", tmp_path, "val", bodies=True)
    _compare(data, written)
    for sample, ids in zip(data, written.contact, strict=True):
        truth = sample.truth["body_contact"]
        assert isinstance(truth, BodyContactTruth)
        assert np.flatnonzero(truth.contact).tolist() == ids.tolist()
        assert truth.topology == "standin-6890"
        assert len(sample.question.extra["smplh_param"]["body_pose"]) == 21
        assert sample.question.person_box == (1, 2, 10, 12)
        assert sample.question.extra["interaction_mask"].is_file()
    assert "1 sample of BEHAVE's part, which the authors withhold; left out (Chair_sit_0)" in _told(data)
    assert "smplh_param" not in open_dataset("lemon", tmp_path, "val")[0].question.extra


def test_3dir_columns_are_not_piads(tmp_path: Path) -> None:
    write_lemon(tmp_path, 3, behave=0)
    path = tmp_path / "Data/Objects/Backpack/Backpack_val2.txt"
    columns = ["0.0"] * 17
    columns[16], columns[1] = "0.5", "0.125"  # carry, the last; lift
    path.write_text("\n".join(["0 0 1 " + " ".join(columns)] * 2048))
    truth = _map(open_dataset("lemon", tmp_path, "val")[2])
    assert (truth.name, truth.affordance[0]) == ("carry", 0.5)


def test_a_missing_or_bad_label_of_3dir_is_named(tmp_path: Path) -> None:
    write_lemon(tmp_path, 3, behave=0)
    labels = sorted((tmp_path / "Data/smplh_contact_pkl").rglob("*val*.pkl"))
    labels[0].unlink()
    data = open_dataset("lemon", tmp_path, "val")
    assert "1 sample without a contact label" in _told(data)
    assert sorted(len(sample.truth) for sample in data) == [1, 2, 2]
    labels[1].write_bytes(pickle.dumps(np.zeros(10475)))
    labels[2].write_bytes(pickle.dumps(np.full((1, 6890), np.nan)))
    told = "\n".join(map(str, check_data(tmp_path, "lemon")))
    assert "10475 values of type float64, expected 6890 labels" in told
    assert "holds NaN" in told


def test_code_in_a_label_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    write_lemon(tmp_path, 1, behave=0)
    next((tmp_path / "Data/smplh_contact_pkl").rglob("*val*.pkl")).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="not executed"):
        open_dataset("lemon", tmp_path, "val")[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("row", "count", "said"),
    [
        ("0 a 0 0 0 " + "0 " * 17, 2047, "2047 rows, expected 2048"),
        ("0 a 0 0 0 " + "0 " * 16, 2048, "16 affordances per row, expected 17"),
        ("0 a 0 0 nan " + "0 " * 17, 2048, "NaN"),
        ("0 a 0 0 0 2 " + "0 " * 16, 2048, "columns shifted"),
        ("0 a 0 0 x " + "0 " * 17, 2048, "not a table of numbers behind 2 words"),
    ],
)
def test_bad_clouds_are_named(tmp_path: Path, row: str, count: int, said: str) -> None:
    (tmp_path / "c.txt").write_text("\n".join([row] * count))
    with pytest.raises(InputError, match=said):
        read_cloud(tmp_path / "c.txt", 17, leading=2)


def test_files_are_found_where_the_copy_has_them(tmp_path: Path) -> None:
    written = write_piad(tmp_path / "a", 2)
    shutil.move(tmp_path / "a/Data/Seen", tmp_path / "piad_ocontact_seen")  # InteractVLM's name for the folder
    data = open_dataset("piad", tmp_path, "seen-test")
    assert [s.id for s in data] == written.ids
    assert np.array_equal(_map(data[1]).affordance, written.maps[1])
    assert Finder(tmp_path).find("/etc/../../x/y.txt").is_relative_to(tmp_path)


def test_classes_in_words() -> None:
    assert [class_in_words(c) for c in ("TrashCan", "Baseballbat", "Mug")] == ["trash can", "baseball bat", "mug"]


def test_a_file_is_found_whatever_was_looked_for_before(tmp_path: Path) -> None:
    for name in ("x/a.txt", "x/b.txt", "Data/x/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    finder = Finder(tmp_path)
    assert finder.find("Data/x/a.txt") == tmp_path / "x/a.txt"
    assert finder.find("Data/x/b.txt") == tmp_path / "Data/x/b.txt"
