"""Language model in 8 or 4 bits, quantised by transformers while it reads the weights.

The back end is ``bitsandbytes`` (MIT): LLM.int8 (Dettmers et al., 2022) and NF4 (QLoRA, Dettmers et al., 2023), packed
in memory on CPU and CUDA alike. Embeddings, head, norms and everything outside the language model keep their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from hoirecon.contact.checkpoints.keys import LANGUAGE
from hoirecon.contact.checkpoints.shards import TensorInfo
from hoirecon.errors import InputError, require

Quantize = Literal["int8", "int4"]
"""Precision of the language model's linear layers."""

_BYTES = {"int8": 1.0, "int4": 0.5}
_OVERHEAD = {"int8": 4 / 1024, "int4": 4 / 64}
"""Bytes of scales per weight: one float32 per row, and per block of 64."""
_DEVICES = ("cpu", "cuda")


def check_quantize(quantize: str, device: Any) -> None:
    """Refuse what the back end cannot do.

    Raises:
        InputError: an unknown precision, or a device that it has no kernels for.
        MissingExtraError: bitsandbytes is not installed.
    """
    if quantize not in _BYTES:
        raise InputError(f"quantize is '{quantize}', expected 'int8', 'int4' or None")
    if torch.device(device).type not in _DEVICES:
        raise InputError(f"quantised weights run on {' and '.join(_DEVICES)}, not on '{device}': use dtype=... there")
    require("bitsandbytes", extra="quant")


def quantized_bytes(infos: Mapping[str, TensorInfo], dtype: torch.dtype, quantize: str | None) -> int:
    """Memory of a network's weights in a type, its language model's linear layers quantised or not."""
    total = 0.0
    for key, info in infos.items():
        numbers = info.nbytes // info.dtype.itemsize
        small = quantize is not None and is_quantized(key)
        total += numbers * (_BYTES[quantize or ""] + _OVERHEAD[quantize or ""] if small else dtype.itemsize)
    return int(total)


def is_quantized(key: str) -> bool:
    """Whether a tensor of ours is the weight of a layer that gets quantised."""
    return key.startswith(f"{LANGUAGE}model.layers.") and key.endswith("_proj.weight")


def load_quantized(folder: Path, network: Any, quantize: Quantize, device: Any, dtype: torch.dtype) -> Any:
    """The language model of one of our folders, quantised while it is read, ready to take its place in the network.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    transformers = require("transformers", extra="vlm")
    empty = network.vlm.language_model
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder,
        quantization_config=_settings(transformers, quantize, dtype),
        dtype=dtype,
        device_map={"": device},
        attn_implementation=empty.config._attn_implementation,
        use_safetensors=True,
        local_files_only=True,
    )
    model.model.rotary_emb = empty.model.rotary_emb  # the network's own, which no cast can round
    return model.eval()


def _settings(transformers: Any, quantize: Quantize, dtype: torch.dtype) -> Any:
    if quantize == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
