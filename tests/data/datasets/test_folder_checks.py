"""Findings, fingerprints, the registry and the stand-in bodies."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import hoirecon
from hoirecon.data.datasets.contact_entries import ENTRIES
from hoirecon.data.datasets.fixtures import write_damon
from hoirecon.data.datasets.folder_checks import Findings, check_data, fingerprint
from hoirecon.data.datasets.registry import get_entry, list_datasets, open_dataset
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.stand_in_body import stand_in_mesh
from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES, is_stand_in
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh


def test_findings_come_worst_first_and_count(tmp_path: Path) -> None:
    found = Findings(tmp_path)
    found.note("a", "told")
    found.about("warning", tmp_path / "x" / "y", ["a", "b", "c", "d"], "without a picture", "get them")
    found.about("error", "z", [], "never said")
    found.error("z", "wrong")
    assert [str(f) for f in found.tuple()] == [
        "error  z  wrong",
        "warning  x/y  4 samples without a picture (a, b, c and 1 more): get them",
        "note  a  told",
    ]


def test_the_fingerprint_sees_every_byte_name_and_option(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1" * 3000)
    b.write_bytes(b"2")
    first = fingerprint(tmp_path, [a, b])
    assert first == fingerprint(tmp_path, [b, a, a])
    assert first != fingerprint(tmp_path, [a])
    assert first != fingerprint(tmp_path, [a, b], "per object")
    a.write_bytes(b"1" * 2999 + b"0")
    assert first != fingerprint(tmp_path, [a, b])


def test_every_entry_of_contact_opens_its_reader_and_says_what_it_needs(tmp_path: Path) -> None:
    names = [entry.name for entry in list_datasets()]
    assert names == sorted(names)
    assert {"damon", "rich", "lemon", "piad", "piadv2", "pico", "mow"} <= set(names)
    for entry in ENTRIES:
        assert entry.licence
        assert entry.where
        assert entry.truth
        with pytest.raises(InputError, match="no split 'nope'"):
            open_dataset(entry.name, tmp_path, "nope")
        with pytest.raises(InputError, match=r"get .* from"):
            open_dataset(entry.name, tmp_path / "none", entry.splits[0])
        assert check_data(tmp_path, entry.name)[0].severity == "error"


def test_check_data_reads_across_a_split(tmp_path: Path) -> None:
    write_damon(tmp_path, 40, pictures=False, smplx=False)
    path = tmp_path / "hot_dca_test.npz"
    with np.load(path, allow_pickle=True) as held:
        arrays = dict(held)
    arrays["contact_label"][7, 5] = 3
    np.savez(path, **arrays)
    told = [str(f) for f in check_data(tmp_path, "damon")]
    assert any("error" in line and "sample 7: the labels of" in line for line in told)
    assert not any("sample 7" in str(f) for f in check_data(tmp_path, "damon", samples=0))


def test_the_sidecar(tmp_path: Path) -> None:
    assert not is_stand_in_folder(tmp_path)
    (tmp_path / "standin.json").write_text(json.dumps({"stand_in": True}))
    (tmp_path / "test").mkdir()
    assert is_stand_in_folder(tmp_path)
    assert is_stand_in_folder(tmp_path / "test")
    (tmp_path / "test" / "standin.json").write_text(json.dumps({"stand_in": False}))
    assert not is_stand_in_folder(tmp_path / "test")
    (tmp_path / "standin.json").write_text("{}")
    with pytest.raises(InputError, match="must hold"):
        is_stand_in_folder(tmp_path)


@pytest.mark.parametrize(("body", "faces"), [("smpl", 13776), ("smplx", 20946), ("mano", 1534)])
def test_stand_in_bodies_are_surfaces_with_the_vertices_of_the_licensed_ones(body: str, faces: int) -> None:
    size = TOPOLOGY_SIZES[body]
    mesh = stand_in_mesh(f"standin-{size}")
    assert mesh.verts.shape == (size, 3)
    assert mesh.faces.shape == (faces, 3)
    assert is_stand_in(mesh.name)
    assert _euler(mesh) == (1 if body == "mano" else 2)  # a disk, or a sphere
    assert mesh.is_watertight == (body != "mano")
    assert mesh.diagonal > (0.15 if body == "mano" else 2)
    assert np.array_equal(np.unique(mesh.faces), np.arange(size))


def _euler(mesh: Mesh) -> int:
    both = np.sort(np.concatenate([mesh.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    return len(mesh.verts) - len(np.unique(both, axis=0)) + len(mesh.faces)


def test_other_stand_ins_and_datasets_are_refused() -> None:
    with pytest.raises(TopologyError, match="no free mesh stands in for 'standin-5'"):
        stand_in_mesh("standin-5")
    with pytest.raises(InputError, match="no dataset is called 'x'"):
        get_entry("x")


def test_the_pages_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(hoirecon.__file__).resolve().parent.parent / "docs" / "datasets.md"
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, "docs/datasets.md", "exec"), {})
    said = capsys.readouterr().out
    assert "True" in said
    assert "free stand-in body" in said
