"""Released folders in every form that they come in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hoirecon.contact.checkpoints.keys import TOWER, to_released
from hoirecon.contact.checkpoints.released import load_network, read_released_config
from hoirecon.contact.modeling.config import VisionConfig
from hoirecon.errors import InputError, MissingModelError
from tests.contact.checkpoints.tiny_checkpoint import (
    random_network,
    released_json,
    released_state,
    same_tensors,
    tiny_config,
    write_released,
    write_tensors,
    write_tower,
    write_weights,
)
from tests.contact.parity_data import configurations, parity_root, values


def edit(folder: Path, **changes: Any) -> None:
    """Change config.json; ``...`` removes a key."""
    path = folder / "config.json"
    merged = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in merged.items() if value is not ...}))


@pytest.mark.parametrize("name", configurations())
def test_a_folder_of_the_reference_loads_with_the_sizes_that_it_was_made_with(name: str) -> None:
    folder, meta = parity_root() / "full" / name, values(f"full/{name}/meta")
    network = load_network(folder, dtype=torch.float32)
    config = network.config
    sizes = {key: tuple(v) if isinstance(v, list) else v for key, v in meta["sam"].items()}
    assert {key: getattr(config.sam, key) for key in sizes} == sizes
    info = meta["info"]
    ids = (config.tokens.general, config.tokens.human, config.tokens.object)
    assert ids == (info["seg_token_idx"], info["hseg_token_idx"], info["oseg_token_idx"])
    assert (config.num_views, config.language.vocab_size) == (info["views"], info["vocab_size"])
    read = load_file(folder / "model.safetensors")
    for key, value in network.state_dict().items():
        if not key.startswith(TOWER):
            assert torch.equal(value, read[to_released(key)].float()), key


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_form_of_file_gives_the_same_bits(tmp_path: Path, kind: str, shards: int) -> None:
    network = random_network(tiny_config(), dtype=torch.bfloat16)
    loaded = load_network(write_released(tmp_path / "m", network, shards, kind))
    assert loaded.config == network.config
    assert same_tensors(loaded, network)
    assert not loaded.training


def test_shards_without_an_index_are_found_by_their_numbers(tmp_path: Path) -> None:
    network = random_network(tiny_config())
    folder = write_released(tmp_path / "m", network, 3)
    (folder / "pytorch_model.bin.index.json").unlink()
    assert same_tensors(load_network(folder), network)
    (folder / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(InputError, match=r"pytorch_model-00002-of-00003\.bin is not there"):
        load_network(folder)


def test_files_of_old_torch_load(tmp_path: Path) -> None:
    network = random_network(tiny_config())
    folder = write_released(tmp_path / "m", network)
    torch.save(released_state(network), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert same_tensors(load_network(folder), network)


def test_loaded_weights_do_not_hang_on_the_file(tmp_path: Path) -> None:
    network = random_network(tiny_config())
    folder = write_released(tmp_path / "m", network)
    loaded = load_network(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert same_tensors(loaded, network)


@pytest.mark.parametrize("encoder", ["none", "simple", "view_index", "vi_v1"])
def test_older_files_without_the_newer_keys(tmp_path: Path, encoder: str) -> None:
    network = random_network(tiny_config("Gen", camera_encoder=encoder))
    folder = write_released(tmp_path / "m", network)
    for key in ("token_type", "img_emb_len", "cam_encoder_type", "multiview_cam_cond", "multiview_channels"):
        edit(folder, **{key: ...})
    edit(folder, seg_token_idx=..., use_fusion=..., use_uncertainty=..., hseg_token_idx=..., oseg_token_idx=...)
    with pytest.raises(InputError, match=re.escape("which id '[SEG]' has")):
        load_network(folder)
    (folder / "added_tokens.json").write_text('{"[SEG]": 40, "<im_start>": 41, "<im_end>": 42}')
    loaded = load_network(folder)
    assert loaded.config == network.config
    assert same_tensors(loaded, network)


def test_ids_come_from_the_tokenizer_and_must_agree_with_config(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "m", random_network(tiny_config()))
    edit(folder, seg_token_idx=..., hseg_token_idx=..., oseg_token_idx=...)
    table = {str(i): {"content": word} for i, word in ((43, "[SEG]"), (45, "[HSEG]"), (44, "[OSEG]"))}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": table}))
    tokens = read_released_config(folder).tokens
    assert (tokens.general, tokens.human, tokens.object) == (43, 45, 44)
    edit(folder, hseg_token_idx=46)
    with pytest.raises(InputError, match=re.escape("'[HSEG]' has the id 46, the tokenizer beside it says 45")):
        read_released_config(folder)


def test_the_training_settings_fill_gaps_of_config(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "m", random_network(tiny_config()))
    edit(folder, hC_sam_view_type=..., oC_loss_weight=..., multiview_cam_cond=...)
    training = {"hC_sam_view_type": "4MV-Z_Vitru_wScene", "oC_loss_weight": 1.5, "multiview_cam_cond": "True"}
    (folder / "pretrained_config.json").write_text(json.dumps(training | {"hC_loss_weight": 9}))
    config = read_released_config(folder)
    assert (config.human_views, config.object_weight, config.human_weight) == ("4MV-Z_Vitru_wScene", 1.5, 3.0)


def test_a_camera_encoder_that_config_turns_off_is_left_out(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "m", random_network(tiny_config()))
    edit(folder, multiview_cam_cond=False)
    loaded = load_network(folder)
    assert loaded.config.camera_encoder == "none"
    assert loaded.feat_lift is None


def test_separate_decoders_are_kept_or_become_the_objects(tmp_path: Path) -> None:
    network = random_network(tiny_config(separate_decoders=True))
    folder = write_released(tmp_path / "m", network)
    assert same_tensors(load_network(folder), network)
    one = load_network(folder, separate_decoders="collapse")
    assert not one.config.separate_decoders
    wanted = network.mv_loc.object_mask_decoder.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in one.mv_loc.mask_decoder.state_dict().items())
    assert not any("human_mask" in key or "object_mask" in key for key in one.state_dict())
    with pytest.raises(InputError, match="expected 'keep' or 'collapse'"):
        load_network(folder, separate_decoders="merge")


def test_dtype_and_device_are_the_callers(tmp_path: Path) -> None:
    network = random_network(tiny_config())
    loaded = load_network(write_released(tmp_path / "m", network), dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.state_dict().values()} == {torch.bfloat16}
    assert same_tensors(loaded, network.to(torch.bfloat16))


class TestVisionTower:
    def test_given_beside_or_inside(self, tmp_path: Path) -> None:
        network = random_network(tiny_config())
        folder = write_released(tmp_path / "m", network)
        (folder / "vision_tower").rename(tmp_path / "elsewhere")
        assert same_tensors(load_network(folder, vision_tower=tmp_path / "elsewhere"), network)
        edit(folder, mm_vision_tower="elsewhere")  # beside the checkpoint
        assert same_tensors(load_network(folder), network)

    def test_nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr("huggingface_hub.snapshot_download", _nothing_cached)
        folder = write_released(tmp_path / "m", random_network(tiny_config()))
        (folder / "vision_tower").rename(tmp_path / "elsewhere")
        with pytest.raises(
            MissingModelError, match=r"hf download openai/a-tower-nobody-has --local-dir .*vision_tower"
        ):
            load_network(folder)
        with pytest.raises(InputError, match="no folder of an image tower"):
            load_network(folder, vision_tower=tmp_path)

    def test_in_the_hub_s_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        network = random_network(tiny_config())
        folder = write_released(tmp_path / "m", network)
        (folder / "vision_tower").rename(tmp_path / "cached")
        asked = []

        def cached(name: str, **_: Any) -> str:
            asked.append(name)
            return str(tmp_path / "cached")

        monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
        assert same_tensors(load_network(folder), network)
        assert asked == ["openai/a-tower-nobody-has"]

    def test_a_name_cannot_leave_the_folder(self, tmp_path: Path) -> None:
        network = random_network(tiny_config())
        folder = write_released(tmp_path / "a" / "b" / "m", network)
        (folder / "vision_tower").rename(tmp_path / "far")
        edit(folder, mm_vision_tower="../../../far")
        with pytest.raises(MissingModelError):
            load_network(folder)

    def test_another_tower_is_refused(self, tmp_path: Path) -> None:
        folder = write_released(tmp_path / "m", random_network(tiny_config()))
        other = random_network(tiny_config(vision=VisionConfig(24, 32, 2, 4, 32, 8)))
        write_tower(tmp_path / "other", other)
        with pytest.raises(InputError, match="4 vectors, but this image tower gives 16"):
            load_network(folder, vision_tower=tmp_path / "other")


class TestLora:
    """Updates that are apart are merged as W + alpha / r B A."""

    RANK, ALPHA = 2, 5.0

    def parts(self) -> tuple[Any, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        network = random_network(tiny_config())
        wanted = {key: value.clone() for key, value in network.state_dict().items()}
        updates: dict[str, torch.Tensor] = {}
        generator = torch.Generator().manual_seed(3)
        for layer in range(2):
            for name in ("q_proj", "v_proj"):
                a, b = torch.randn(2, 32, generator=generator), torch.randn(32, 2, generator=generator)
                at = f"model.layers.{layer}.self_attn.{name}"
                updates |= {f"{at}.lora_A": a, f"{at}.lora_B": b}
                wanted[f"vlm.language_model.{at}.weight"] += self.ALPHA / self.RANK * (b @ a)
        return network, wanted, updates

    @pytest.mark.parametrize("form", ["old", "new"])
    def test_a_training_s_own_save(self, tmp_path: Path, form: str) -> None:
        network, wanted, updates = self.parts()
        folder = write_released(tmp_path / "m", network)
        changed = {key.rsplit(".", 1)[0] for key in updates}
        state = {f"base_model.model.{_wrapped(k, changed, form)}": v for k, v in released_state(network).items()}
        end = ".weight" if form == "old" else ".default.weight"
        state |= {f"base_model.model.{key}{end}": value for key, value in updates.items()}
        if form == "new":  # a layer that was trained whole is there twice
            state["base_model.model.lm_head.original_module.weight"] = torch.zeros(48, 32)
            state["base_model.model.lm_head.modules_to_save.default.weight"] = state.pop(
                "base_model.model.lm_head.weight"
            )
        (folder / "pytorch_model.bin").unlink()
        write_weights(folder, state, 3, "bin")  # the halves of an update lie in different shards
        with pytest.raises(InputError, match=r"no file says their 'lora_alpha'"):
            load_network(folder)
        (folder / "pretrained_config.json").write_text('{"lora_alpha": 5, "lora_r": 2}')
        loaded = load_network(folder).state_dict()
        for key, value in wanted.items():
            assert torch.allclose(loaded[key], value, atol=1e-6), key

    def test_an_adapter_beside_the_weights(self, tmp_path: Path) -> None:
        network, wanted, updates = self.parts()
        folder = write_released(tmp_path / "m", network)
        head = torch.full((48, 32), 0.5)
        adapter = {f"base_model.model.{key}.weight": value for key, value in updates.items()}
        write_tensors(folder / "adapter_model.safetensors", adapter | {"base_model.model.lm_head.weight": head})
        (folder / "adapter_config.json").write_text('{"lora_alpha": 5, "r": 2}')
        loaded = load_network(folder).state_dict()
        assert torch.equal(loaded["vlm.language_model.lm_head.weight"], head)
        for key in (key for key in wanted if "_proj" in key):
            assert torch.allclose(loaded[key], wanted[key], atol=1e-6), key

    def test_what_cannot_be_merged_is_refused(self, tmp_path: Path) -> None:
        network, _, updates = self.parts()
        folder = write_released(tmp_path / "m", network)
        adapter = {f"base_model.model.{key}.weight": value for key, value in updates.items()}
        config = folder / "adapter_config.json"
        config.write_text('{"lora_alpha": 5, "use_dora": true}')
        write_tensors(folder / "adapter_model.safetensors", adapter)
        with pytest.raises(InputError, match="use_dora"):
            load_network(folder)
        config.write_text('{"lora_alpha": 5}')
        some = next(key for key in adapter if "lora_B" in key)
        write_tensors(folder / "adapter_model.safetensors", {k: v for k, v in adapter.items() if k != some})
        with pytest.raises(InputError, match="lacks its other half"):
            load_network(folder)
        write_tensors(folder / "adapter_model.safetensors", adapter | {some: torch.ones(31, 2)})
        with pytest.raises(InputError, match="does not fit the weight"):
            load_network(folder)

    def test_an_adapter_alone_says_what_it_lacks(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 5}')
        (tmp_path / "config.json").write_text(json.dumps(released_json(tiny_config())))
        with pytest.raises(InputError, match="not the weights that it changes"):
            load_network(tmp_path)


def test_language_settings_are_read(tmp_path: Path) -> None:
    config = tiny_config()
    config = replace(config, language=replace(config.language, rope_theta=500.0, rms_norm_eps=1e-6))
    folder = write_released(tmp_path / "m", random_network(config))
    edit(folder, rope_theta=500, eos_token_id=2)
    assert read_released_config(folder).language == config.language


def _wrapped(key: str, changed: set[str], form: str) -> str:
    layer = key.removesuffix(".weight")
    return f"{layer}.base_layer.weight" if form == "new" and layer in changed else key


def _nothing_cached(*_: Any, **__: Any) -> str:
    raise OSError("not cached")
