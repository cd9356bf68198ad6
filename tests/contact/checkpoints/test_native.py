"""Our own folders: what goes in comes out, bit by bit, and what was changed is noticed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hoirecon.contact.checkpoints import layout
from hoirecon.contact.checkpoints.native import load_saved, read_extras, save_network, verify
from hoirecon.contact.checkpoints.open import open_checkpoint
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.errors import InputError
from tests.contact.checkpoints.tiny_checkpoint import (
    outputs,
    random_network,
    same_tensors,
    tiny_config,
    write_released,
)

CONFIGS = {
    "joint": tiny_config(),
    "common token": tiny_config("Gen", camera_encoder="simple"),
    "own decoders": tiny_config("Gen-Int", separate_decoders=True, camera_encoder="view_index"),
    "everything": tiny_config(fusion=True, uncertainty=True, human_views="4MV-Z_Vitru_mv2", object_weight=0.5),
}


@pytest.fixture(scope="module")
def network() -> InteractVLMNetwork:
    return random_network(tiny_config())


@pytest.fixture
def saved(tmp_path: Path, network: InteractVLMNetwork) -> Path:
    return save_network(network, tmp_path / "saved")


@pytest.mark.parametrize("name", CONFIGS)
def test_round_trip(tmp_path: Path, name: str) -> None:
    network = random_network(CONFIGS[name])
    back = load_saved(save_network(network, tmp_path / "m", max_shard_bytes=20_000))
    assert len(list((tmp_path / "m" / "language_model").glob("*.safetensors"))) > 1
    assert back.config == network.config
    assert same_tensors(back, network)
    assert all(torch.equal(a, b) for a, b in zip(outputs(network), outputs(back), strict=True))
    assert not back.training


def test_bf16_round_trip_and_the_type_on_request(tmp_path: Path) -> None:
    network = random_network(tiny_config(), dtype=torch.bfloat16)
    folder = save_network(network, tmp_path / "m")
    assert same_tensors(load_saved(folder), network)
    assert {v.dtype for v in load_saved(folder, dtype=torch.float32).state_dict().values()} == {torch.float32}


def test_transformers_reads_both_halves_on_their_own(saved: Path, network: InteractVLMNetwork) -> None:
    from transformers import CLIPVisionModel, LlamaForCausalLM

    for kind, folder in ((LlamaForCausalLM, "language_model"), (CLIPVisionModel, "vision_tower")):
        _, info = kind.from_pretrained(saved / folder, output_loading_info=True)
        assert not any(info.values()), (folder, info)
    config = LlamaForCausalLM.from_pretrained(saved / "language_model").config
    assert config.rope_parameters["rope_theta"] == network.config.language.rope_theta


def test_what_lies_beside_comes_along(tmp_path: Path, network: InteractVLMNetwork) -> None:
    beside = tmp_path / "released"
    beside.mkdir()
    for name in layout.TOKENIZER_FILES:
        (beside / name).write_text(name)
    (beside / "secret.txt").write_text("stays")
    (beside / "preprocessor_config.json").write_text("{}")
    extras = {"body_views": torch.rand(2, 3), "count": torch.tensor(4)}
    save_network(
        network, tmp_path / "m", name="mine", released=True, tokenizer_folder=beside, vision_tower=beside, extras=extras
    )
    loaded = open_checkpoint(tmp_path / "m")
    assert (loaded.kind, loaded.name, loaded.released) == ("native", "mine", True)
    assert sorted(p.name for p in loaded.tokenizer_folder.iterdir()) == sorted(layout.TOKENIZER_FILES)
    assert (tmp_path / "m" / "vision_tower" / "preprocessor_config.json").is_file()
    assert loaded.extras.keys() == extras.keys()
    assert all(torch.equal(loaded.extras[key], value) for key, value in extras.items())
    assert loaded.manifest["config"]["language"]["hidden_size"] == 32
    verify(tmp_path / "m")


def test_open_knows_released_folders_too(tmp_path: Path, network: InteractVLMNetwork) -> None:
    loaded = open_checkpoint(write_released(tmp_path / "m", network))
    assert (loaded.kind, loaded.name, loaded.released, loaded.tokenizer_folder) == (
        "released",
        "m",
        True,
        tmp_path / "m",
    )
    assert same_tensors(loaded.network, network)
    with pytest.raises(InputError, match="hoirecon contact convert"):
        open_checkpoint(tmp_path / "m", quantize="int8")


def test_options_of_released_folders_are_refused_on_ours(saved: Path) -> None:
    with pytest.raises(InputError, match="when converting"):
        open_checkpoint(saved, separate_decoders="collapse")
    with pytest.raises(InputError, match="when converting"):
        open_checkpoint(saved, vision_tower=saved / "vision_tower")


def test_a_failed_save_leaves_the_earlier_one(
    saved: Path, network: InteractVLMNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("hoirecon.contact.checkpoints.native.write_manifest", fail)
    with pytest.raises(OSError, match="disk full"):
        save_network(random_network(tiny_config(), seed=9), saved)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    assert same_tensors(load_saved(saved), network)


def test_a_save_replaces_an_earlier_one_but_no_other_folder(saved: Path, tmp_path: Path) -> None:
    other = random_network(tiny_config("Gen"), seed=2)
    save_network(other, saved)
    assert same_tensors(load_saved(saved), other)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    with pytest.raises(InputError, match=r"holds no hoirecon\.json"):
        save_network(other, tmp_path / "photos")


def test_unmerged_updates_are_not_saved_as_if_merged(tmp_path: Path) -> None:
    from hoirecon.contact.modeling.lora import add_lora

    network = random_network(tiny_config())
    add_lora(network)
    with pytest.raises(InputError, match="merge them before saving"):
        save_network(network, tmp_path / "m")
    assert not (tmp_path / "m").exists()


class TestManifest:
    def test_every_file_is_hashed(self, saved: Path) -> None:
        manifest = verify(saved)
        on_disk = {p.relative_to(saved).as_posix() for p in saved.rglob("*") if p.is_file()}
        assert set(manifest.files) == on_disk - {layout.MANIFEST}

    def test_a_flipped_bit_is_found_by_verify(self, saved: Path) -> None:
        path = saved / "mv_loc.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        load_saved(saved)  # hashing 27 GB at every start would take a minute
        with pytest.raises(InputError, match=r"mv_loc\.safetensors is not what was written"):
            verify(saved)

    @pytest.mark.parametrize("name", ["language_model/model-00002-of-", "vision_tower/model", "contact"])
    def test_loading_with_verify_refuses_a_changed_file_by_name(self, tmp_path: Path, network: Any, name: str) -> None:
        saved = save_network(network, tmp_path / "m", max_shard_bytes=20_000)
        assert same_tensors(open_checkpoint(saved, verify=True).network, network)
        (path,) = saved.glob(f"{name}*.safetensors")
        data = path.read_bytes()
        path.write_bytes(data[:-3] + bytes(byte ^ 255 for byte in data[-3:]))
        for load in (load_saved, open_checkpoint):
            with pytest.raises(InputError, match=rf"{re.escape(path.name)} is not what was written"):
                load(saved, verify=True)

    def test_a_released_folder_has_nothing_to_verify(self, tmp_path: Path, network: InteractVLMNetwork) -> None:
        with pytest.raises(InputError, match=r"no hashes to verify.*hoirecon contact convert"):
            open_checkpoint(write_released(tmp_path / "m", network), verify=True)

    @pytest.mark.parametrize("name", ["contact.safetensors", "language_model/model.safetensors"])
    def test_a_short_or_missing_file_is_found_at_once(self, saved: Path, name: str) -> None:
        data = (saved / name).read_bytes()
        (saved / name).write_bytes(data[:-5])
        with pytest.raises(InputError, match=f"{name} has {len(data) - 5} bytes"):
            load_saved(saved)
        (saved / name).unlink()
        with pytest.raises(InputError, match=f"{name} has no bytes"):
            load_saved(saved)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format": "other"}, "no manifest"),
            ({"version": 2}, "update hoirecon"),
            ({"files": None}, "lacks 'files'"),
            ({"config": {}}, "not the configuration"),
            ({"files": {"../../etc/passwd": {"bytes": 1, "sha256": ""}}}, "wrong entry"),
            ({"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, "wrong entry"),
        ],
    )
    def test_a_spoiled_manifest(self, saved: Path, changes: dict[str, Any], message: str) -> None:
        path = saved / layout.MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        with pytest.raises(InputError, match=message):
            load_saved(saved)

    def test_a_manifest_of_another_network(self, saved: Path) -> None:
        path = saved / layout.MANIFEST
        read = json.loads(path.read_text())
        read["config"]["language"]["num_layers"] = 3
        path.write_text(json.dumps(read))
        with pytest.raises(InputError, match=r"no tensor 'model\.layers\.2\."):
            load_saved(saved)


def test_extras_are_empty_without_any(saved: Path) -> None:
    assert read_extras(saved) == {}
