"""From released to ours, with as little in memory as promised."""

from __future__ import annotations

import weakref
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from hoirecon.contact.checkpoints import shards
from hoirecon.contact.checkpoints.convert import convert_released
from hoirecon.contact.checkpoints.native import load_saved, verify
from hoirecon.contact.checkpoints.open import open_checkpoint
from hoirecon.contact.checkpoints.released import load_network
from hoirecon.errors import InputError
from tests.contact.checkpoints.tiny_checkpoint import (
    outputs,
    random_network,
    same_tensors,
    tiny_config,
    write_released,
)
from tests.contact.parity_data import configurations, parity_root


@pytest.mark.parametrize("name", configurations())
def test_converted_is_what_loading_the_reference_s_folder_gives(tmp_path: Path, name: str) -> None:
    folder = parity_root() / "full" / name
    manifest = convert_released(folder, tmp_path / "m", max_shard_bytes=100_000)
    direct, converted = load_network(folder), load_saved(tmp_path / "m")
    assert manifest.config == direct.config == converted.config
    assert (manifest.name, manifest.released) == (name, True)
    assert same_tensors(direct, converted)
    verify(tmp_path / "m")


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_outputs_are_equal_bit_by_bit(tmp_path: Path, kind: str) -> None:
    network = random_network(tiny_config(), dtype=torch.bfloat16)
    folder = write_released(tmp_path / "released", network, 3, kind)
    for name in ("tokenizer.model", "added_tokens.json"):
        (folder / name).write_text("{}")
    convert_released(folder, tmp_path / "ours")
    loaded = open_checkpoint(tmp_path / "ours", dtype=torch.float32)
    pairs = zip(outputs(load_network(folder, dtype=torch.float32)), outputs(loaded.network), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (loaded.tokenizer_folder / "tokenizer.model").is_file()
    assert (tmp_path / "ours" / "vision_tower" / "preprocessor_config.json").is_file()


def test_collapsed_decoders(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "released", random_network(tiny_config(separate_decoders=True)))
    convert_released(folder, tmp_path / "ours", separate_decoders="collapse")
    assert same_tensors(load_saved(tmp_path / "ours"), load_network(folder, separate_decoders="collapse"))


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_one_source_shard_is_open_at_a_time_and_no_tensor_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = write_released(tmp_path / "released", random_network(tiny_config()), 5, kind)
    real, open_now, most, seen = shards.open_shard, [], [0], set()
    alive: list[weakref.ref[torch.Tensor]] = []

    class Watched:
        def __init__(self, shard: Any) -> None:
            self.infos, self._shard = shard.infos, shard

        def tensor(self, key: str) -> torch.Tensor:
            assert sum(ref() is not None for ref in alive) <= 1  # the one before may still be in the caller's hand
            tensor: torch.Tensor = self._shard.tensor(key).clone()
            alive.append(weakref.ref(tensor))
            return tensor

    @contextmanager
    def watched(path: Path) -> Iterator[Any]:
        open_now.append(path)
        most[0] = max(most[0], len(open_now))
        seen.add(path.name)
        with real(path) as shard:
            yield Watched(shard)
        open_now.remove(path)

    monkeypatch.setattr(shards, "open_shard", watched)
    convert_released(folder, tmp_path / "ours")
    assert most == [1]
    assert len(seen) == 6  # five shards and the tower
    assert len(alive) == sum(1 for _ in load_saved(tmp_path / "ours").state_dict())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_released(tmp_path / "released", random_network(tiny_config()), 3)

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hoirecon.contact.checkpoints.convert.write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        convert_released(folder, tmp_path / "ours")
    assert [p.name for p in tmp_path.iterdir()] == ["released"]


def test_a_full_disk_is_said_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_released(tmp_path / "released", random_network(tiny_config()))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 5, 5))
    with pytest.raises(InputError, match=r"need .* GB, 5e-09 GB are free"):
        convert_released(folder, tmp_path / "ours")
    with pytest.raises(InputError, match="hold nothing"):
        convert_released(folder, tmp_path / "ours", max_shard_bytes=0)


def test_a_user_s_folder_is_not_overwritten(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "released", random_network(tiny_config()))
    with pytest.raises(InputError, match=r"holds no hoirecon\.json"):
        convert_released(folder, folder)


def test_our_own_folder_is_not_converted_again(tmp_path: Path) -> None:
    convert_released(write_released(tmp_path / "released", random_network(tiny_config())), tmp_path / "ours")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"converted already.*load it as it is"):
            convert_released(tmp_path / "ours", tmp_path / "again", overwrite=overwrite)
    assert not (tmp_path / "again").exists()


def test_an_earlier_result_is_replaced_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        write_released(tmp_path / f"released{seed}", random_network(tiny_config(), seed=seed)) for seed in (1, 2)
    )
    convert_released(first, tmp_path / "ours")
    with pytest.raises(InputError, match="overwrite=True"):
        convert_released(second, tmp_path / "ours")
    assert same_tensors(load_saved(tmp_path / "ours"), load_network(first))
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("hoirecon.contact.checkpoints.convert.write_manifest", lambda *_, **__: 1 // 0)
        convert_released(second, tmp_path / "ours", overwrite=True)
    assert same_tensors(load_saved(tmp_path / "ours"), load_network(first))
    convert_released(second, tmp_path / "ours", overwrite=True)
    assert same_tensors(load_saved(tmp_path / "ours"), load_network(second))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours", "released1", "released2"]
