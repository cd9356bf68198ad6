"""The language model in 8 and 4 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hoirecon.contact.checkpoints.native import load_saved, save_network
from hoirecon.contact.checkpoints.open import open_checkpoint
from hoirecon.contact.modeling.config import LanguageConfig
from hoirecon.errors import InputError, MissingExtraError
from tests.contact.checkpoints.tiny_checkpoint import outputs, random_network, tiny_config

LAYERS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(
        tiny_config(), language=LanguageConfig(48, 128, 256, LAYERS, 4, 4, rope_theta=700.0, max_position_embeddings=64)
    )
    return save_network(random_network(config), tmp_path_factory.mktemp("q") / "m")


def linear_bytes(network: Any) -> int:
    """Memory of the weights of the language model's linear layers, without their scales."""
    layers = network.vlm.language_model.model.layers
    return sum(m.weight.data.untyped_storage().nbytes() for m in layers.modules() if hasattr(m, "in_features"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("quantize", "bits", "tolerance"), [("int8", 8, 0.03), ("int4", 4, 0.25)])
def test_memory_falls_and_outputs_stay_close(
    folder: Path, quantize: Any, bits: int, tolerance: float, dtype: torch.dtype
) -> None:
    pytest.importorskip("bitsandbytes")
    whole = load_saved(folder, dtype=dtype)
    small = open_checkpoint(folder, dtype=dtype, quantize=quantize).network
    assert linear_bytes(small) * 8 * dtype.itemsize == linear_bytes(whole) * bits
    exact, close = outputs(whole)[0].float(), outputs(small)[0].float()
    error = (exact - close).norm() / exact.norm()
    assert 0 < error < tolerance
    assert small.vlm.language_model.lm_head.weight.dtype == dtype
    assert torch.equal(small.vlm.language_model.lm_head.weight, whole.vlm.language_model.lm_head.weight)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_a_greedy_answer_comes_out(folder: Path, quantize: Any) -> None:
    pytest.importorskip("bitsandbytes")
    network = load_saved(folder, quantize=quantize)
    ids = [1, 7, 9]
    with torch.no_grad():
        for _ in range(4):
            ids.append(int(network.vlm.logits(network.vlm.hidden(network.vlm.embed(ids)[None]))[0, -1].argmax()))
    assert len(ids) == 7


def test_the_network_s_own_rotary_positions_are_kept(folder: Path) -> None:
    """The configuration's base is not the usual one; transformers' default would shift every state."""
    pytest.importorskip("bitsandbytes")
    network = load_saved(folder, quantize="int8")
    assert network.vlm.language_model.model.rotary_emb.theta == 700.0


def test_a_quantised_network_is_not_saved(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    network = load_saved(folder, quantize="int8")
    with pytest.raises(InputError, match="quantised"):
        save_network(network, tmp_path / "m")


def test_bad_requests(folder: Path) -> None:
    with pytest.raises(InputError, match="expected 'int8', 'int4' or None"):
        load_saved(folder, quantize="int2")
    with pytest.raises(InputError, match="cpu and cuda"):
        load_saved(folder, quantize="int8", device="mps")


def test_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"hoirecon\[quant\]"):
        load_saved(folder, quantize="int8")
