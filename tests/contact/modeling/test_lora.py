"""LoRA: starts as nothing, merges into what it did apart, and comes back from a folder as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hoirecon.contact.modeling.lora import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    LoraSettings,
    add_lora,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
)
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.errors import InputError
from tests.contact.tiny_network import tiny_network


def states(network: InteractVLMNetwork) -> Tensor:
    with torch.no_grad():
        return network.vlm.hidden(network.vlm.embed([1, 20, 33, 47, 5])[None])


def trained(network: InteractVLMNetwork, seed: int = 1) -> InteractVLMNetwork:
    """With updates that are not zero, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def test_updates_lie_on_queries_and_values_of_the_language_model_alone_and_start_at_zero() -> None:
    network = tiny_network()
    plain = states(network)
    add_lora(network)
    layers = network.config.language.num_layers
    expected = {f"model.layers.{i}.self_attn.{name}" for i in range(layers) for name in ("q_proj", "v_proj")}
    assert set(lora_layers(network)) == expected
    assert not any(".lora_" in name for name, _ in network.named_parameters() if "language_model" not in name)
    torch.testing.assert_close(states(network), plain, rtol=0, atol=0)
    language = dict(network.vlm.language_model.named_parameters())
    assert all(p.requires_grad == (".lora_" in name) for name, p in language.items())
    assert all(p.requires_grad for p in network.mv_loc.parameters())


def test_an_update_is_alpha_over_r_times_b_a() -> None:
    network = tiny_network()
    name = "model.layers.1.self_attn.v_proj"
    before = network.vlm.language_model.get_submodule(name).weight.clone()
    add_lora(network, LoraSettings(r=3, alpha=12))
    layer = lora_layers(trained(network))[name]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert a.shape == (3, 48)
    expected = before + 12 / 3 * b @ a
    merge_lora(network)
    after = network.vlm.language_model.get_submodule(name).weight
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-6)
    assert (after - before).abs().max() > 0.01


def test_merged_gives_what_unmerged_gave_under_the_plain_names() -> None:
    network = tiny_network()
    names, plain = list(network.state_dict()), states(network)
    add_lora(network)
    apart = states(trained(network))
    assert (apart - plain).abs().max() > 0.01
    merge_lora(network)
    assert list(network.state_dict()) == names
    assert not lora_layers(network)
    torch.testing.assert_close(states(network), apart, rtol=0, atol=1e-5)


def test_gradients_reach_the_updates() -> None:
    network = tiny_network()
    add_lora(network)
    trained(network)
    torch.autograd.backward(network.vlm.hidden(network.vlm.embed([1, 20, 33])[None]).square().sum())
    grads = {name: p.grad for name, p in network.vlm.language_model.named_parameters() if ".lora_" in name}
    assert grads
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())


def test_an_adapter_comes_back_from_its_folder(tmp_path: Path) -> None:
    network = tiny_network()
    add_lora(network, LoraSettings(r=4, alpha=6, dropout=0.1))
    save_adapter(trained(network), tmp_path / "adapter")
    again = tiny_network()
    assert load_adapter(again, tmp_path / "adapter") == LoraSettings(r=4, alpha=6, dropout=0.1)
    torch.testing.assert_close(states(again.eval()), states(network), rtol=0, atol=0)
    written = load_file(tmp_path / "adapter" / ADAPTER_WEIGHTS)
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in written  # as peft itself names it


def test_peft_reads_what_was_saved(tmp_path: Path) -> None:
    from peft import PeftModel

    network = tiny_network()
    add_lora(network)
    save_adapter(trained(network), tmp_path / "adapter")
    expected = states(network)
    other = tiny_network()
    read = PeftModel.from_pretrained(other.vlm.language_model, str(tmp_path / "adapter"))
    other.vlm.language_model = read.base_model.model
    torch.testing.assert_close(states(other.eval()), expected, rtol=0, atol=1e-6)


def test_a_second_set_of_updates_is_refused() -> None:
    network = tiny_network()
    add_lora(network)
    with pytest.raises(InputError, match="merge them first"):
        add_lora(network)


def test_updates_that_are_not_finite_are_not_merged() -> None:
    network = tiny_network()
    add_lora(network)
    layer = lora_layers(network)["model.layers.2.self_attn.q_proj"]
    before = network.vlm.language_model.state_dict()["model.layers.0.self_attn.q_proj.base_layer.weight"].clone()
    layer.lora_A["default"].weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"layers\.2\.self_attn\.q_proj"):
        merge_lora(network)
    after = network.vlm.language_model.state_dict()["model.layers.0.self_attn.q_proj.base_layer.weight"]
    assert torch.equal(after, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = tiny_network()
    add_lora(network)
    save_adapter(network, tmp_path / "adapter")
    return tmp_path / "adapter"


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"peft_type": "IA3"}, "not the configuration of a LoRA"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"bias": "all"}, "bias"),
        ({"target_modules": ".*"}, "in a list"),
        ({"target_modules": ["nothing"]}, "nothing"),
        ({"r": "many"}, "not the configuration"),
        ({"r": 0}, "rank of at least 1"),
        ({"r": 2}, "shape"),
    ],
)
def test_a_form_that_interactvlm_does_not_use_is_refused(folder: Path, values: dict[str, object], says: str) -> None:
    change(folder, **values)
    network = tiny_network()
    names, plain = list(network.state_dict()), states(network)
    with pytest.raises(InputError, match=says):
        load_adapter(network, folder)
    assert list(network.state_dict()) == names
    assert torch.equal(states(network), plain)


def test_a_missing_a_foreign_and_a_damaged_file_are_refused(folder: Path) -> None:
    weights = load_file(folder / ADAPTER_WEIGHTS)
    name = next(iter(weights))
    save_file({key: value for key, value in weights.items() if key != name}, folder / ADAPTER_WEIGHTS)
    with pytest.raises(InputError, match="lacks base_model"):
        load_adapter(tiny_network(), folder)
    save_file({**weights, "zzz.weight": torch.zeros(1)}, folder / ADAPTER_WEIGHTS)
    with pytest.raises(InputError, match=r"zzz\.weight"):
        load_adapter(tiny_network(), folder)
    (folder / ADAPTER_WEIGHTS).write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(InputError, match="damaged"):
        load_adapter(tiny_network(), folder)
    (folder / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(InputError, match="pickled ones are not opened"):
        load_adapter(tiny_network(), folder)
    with pytest.raises(InputError, match="does not exist"):
        load_adapter(tiny_network(), folder / "nowhere")


def test_nothing_is_saved_without_updates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no LoRA updates"):
        save_adapter(tiny_network(), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
