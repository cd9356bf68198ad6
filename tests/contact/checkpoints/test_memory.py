"""What is needed is said before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hoirecon.contact.checkpoints import memory
from hoirecon.contact.checkpoints.keys import expected_released_shapes, to_ours
from hoirecon.contact.checkpoints.native import load_saved, save_network
from hoirecon.contact.checkpoints.quantize import is_quantized, quantized_bytes
from hoirecon.contact.checkpoints.released import load_network
from hoirecon.contact.checkpoints.shards import TensorInfo
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.errors import InputError
from tests.contact.checkpoints.tiny_checkpoint import random_network, tiny_config, write_released


def full_size() -> dict[str, TensorInfo]:
    shapes = expected_released_shapes(NetworkConfig())
    return {to_ours(key): TensorInfo(Path("x"), key, shape, torch.bfloat16) for key, shape in shapes.items()}


def test_the_13b_model_by_precision() -> None:
    """Published: 13.0e9 numbers of LLaMA, of which 12.7e9 are in its linear layers, 0.7e9 beside it."""
    infos = full_size()
    sizes = [quantized_bytes(infos, torch.bfloat16, q) / 1e9 for q in (None, "int8", "int4")]
    assert sizes == pytest.approx([27.4, 14.7, 9.2], rel=0.02)
    assert quantized_bytes(infos, torch.float32, None) == 2 * quantized_bytes(infos, torch.bfloat16, None)
    assert sum(map(is_quantized, infos)) == 40 * 7


def test_a_load_that_would_not_fit_touches_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(tiny_config())
    released, ours = write_released(tmp_path / "m", network), save_network(network, tmp_path / "ours")
    monkeypatch.setattr(memory, "available_bytes", lambda _: 12 << 20)

    def never(*_: Any) -> None:
        raise AssertionError("read weights")

    monkeypatch.setattr("hoirecon.contact.checkpoints.released.fill", never)
    monkeypatch.setattr("hoirecon.contact.checkpoints.native.fill", never)
    for load, folder in ((load_network, released), (load_saved, ours)):
        with pytest.raises(InputError, match=r"need 0\.0\d+ GB in fp32, 0\.0126 GB are free on cpu: .*dtype.*quantize"):
            load(folder)
        with pytest.raises(InputError, match="in bf16"):
            load(folder, dtype=torch.bfloat16)


def test_message_of_the_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda _: 12_000_000_000)
    with pytest.raises(InputError, match=r"need 26\.9 GB in bf16, 12 GB are free on cpu"):
        memory.check_memory(26_900_000_000, "cpu", "bf16")
    memory.check_memory(11_000_000_000, "cpu", "int4")


def test_an_unknown_amount_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda _: None)
    memory.check_memory(1 << 60, "mps", "fp32")


def test_free_memory_of_this_machine_is_plausible() -> None:
    free = memory.available_bytes("cpu")
    assert free is not None
    assert 1 << 20 < free < 1 << 46
    assert memory.available_bytes("meta") is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_counts_caches_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    root = tmp_path if version == 2 else tmp_path / "memory"
    root.mkdir(exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (root / names[0]).write_text("5000\n")
    (root / names[1]).write_text("3000\n")
    (root / "memory.stat").write_text(f"anon 7\n{'' if version == 2 else 'total_'}inactive_file 500\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_bytes("cpu") == 2500
    (root / names[0]).write_text("max\n")
    unlimited = memory.available_bytes("cpu")
    assert unlimited is not None
    assert unlimited > 1 << 20


def test_meminfo_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:      16 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_bytes("cpu") == 16 << 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_load_to_the_gpu_takes_what_was_announced(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "m", random_network(tiny_config()))
    before = torch.cuda.memory_allocated()
    network = load_network(folder, device="cuda", dtype=torch.bfloat16)
    taken = torch.cuda.memory_allocated() - before
    numbers = sum(value.numel() for value in network.state_dict().values())
    assert 2 * numbers <= taken < 2 * numbers + 512 * (len(network.state_dict()) + 8)  # allocated in pieces of 512
