"""Files of tensors: what is read, and what is refused without being executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.tensor_files import plain_tensors, read_tensor_table

torch = pytest.importorskip("torch")

LIMIT = 1 << 20


class _Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "old.pt"])
def test_tensors_come_back(tmp_path: Path, name: str) -> None:
    path, table = tmp_path / name, {"a": torch.arange(6.0).reshape(2, 3)}
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors.torch").save_file(table, str(path))
    else:
        torch.save(table, path, _use_new_zipfile_serialization=name != "old.pt")
    read = plain_tensors(read_tensor_table(path, LIMIT, "weights", "vlm"), path, "weights")
    assert torch.equal(read["a"], table["a"])


def test_code_is_not_executed(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.pt", tmp_path / "trace"
    torch.save({"a": _Code(trace)}, path)
    with pytest.raises(InputError, match=r"none of it was executed"):
        read_tensor_table(path, LIMIT, "weights", "vlm")
    path.write_bytes(pickle.dumps(_Code(trace)))
    with pytest.raises(InputError, match=r"none of it was executed|damaged"):
        read_tensor_table(path, LIMIT, "weights", "vlm")
    assert not trace.exists()


def test_numpy_numbers_pass_only_where_they_are_let(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"best": np.float64(0.5), "a": torch.ones(1)}, path)
    assert "a" in read_tensor_table(path, LIMIT, "weights", "vlm", numpy_numbers=True)
    with pytest.raises(InputError, match="perhaps code"):
        read_tensor_table(path, LIMIT, "weights", "vlm")


def test_missing_large_cut_and_no_table(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(InputError, match=r"does not exist: give the path of weights"):
        read_tensor_table(path, LIMIT, "weights", "vlm")
    torch.save({"a": torch.ones(100)}, path)
    with pytest.raises(InputError, match=r"more than the limit of 0 MB"):
        read_tensor_table(path, 10, "weights", "vlm")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"damaged or cut short"):
        read_tensor_table(path, LIMIT, "weights", "vlm")
    torch.save([torch.ones(1)], path)
    with pytest.raises(InputError, match=r"holds a list, expected a table"):
        read_tensor_table(path, LIMIT, "weights", "vlm")


@pytest.mark.parametrize("value", [1.0, "x", torch.ones(2).to_sparse(), torch.ones(2, dtype=torch.complex64)])
def test_only_plain_tensors(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"no plain tensor|complex64"):
        plain_tensors({"a": value}, tmp_path / "w", "weights")
