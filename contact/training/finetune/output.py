"""What a run leaves: what was trained, apart and folded into a whole model.

::

    OUT/adapter/              LoRA updates in peft's files
    OUT/trained.safetensors   everything else that was trained, float32, our names
    OUT/hoirecon.json, ...    the whole model with all of it folded in: InteractVLM.from_pretrained(OUT)
    OUT/card.md, run.json     what was done
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import torch

from hoirecon.contact.checkpoints.layout import MANIFEST, sha256
from hoirecon.contact.checkpoints.native import save_network
from hoirecon.contact.modeling.lora import merge_lora, save_adapter
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.training.finetune.checkpoints import TRAINED_FILE, write_tensors
from hoirecon.contact.training.finetune.trainable import UPDATE, trained
from hoirecon.files import atomic_file

ADAPTER = "adapter"
"""Folder of the low-rank updates in a run's folder."""


def save_trained(network: InteractVLMNetwork, out: Path) -> dict[str, str]:
    """Write what was trained: updates in ``adapter``, the rest in one file.

    Returns:
        Hash of each file, by its name in the folder.
    """
    save_adapter(network, out / ADAPTER)
    rest = {name: value for name, value in trained(network).items() if UPDATE not in name}
    with atomic_file(out / TRAINED_FILE) as path:
        write_tensors(path, rest)
    files = [out / TRAINED_FILE, *sorted((out / ADAPTER).iterdir())]
    return {path.relative_to(out).as_posix(): sha256(path) for path in files}


def save_merged(
    network: InteractVLMNetwork,
    tokenizer: ContactTokenizer,
    out: Path,
    dtype: torch.dtype,
    name: str,
    vision_tower: Path | None = None,
) -> str:
    """Fold the updates in, once and for all, and write the whole model into a run's folder.

    The files are written in a folder beside and moved one by one, the manifest last: a folder with a manifest is whole.

    Args:
        network: its updates are merged here; what was trained takes the type of the rest.
        tokenizer: its vocabulary.
        out: the run's folder; a model that lies there is replaced.
        dtype: type of all weights.
        name: of the model.
        vision_tower: folder with the image processor's file.

    Returns:
        sha256 of the manifest, which holds the hash of every file.
    """
    merge_lora(network)
    embedding = network.vlm.language_model.get_input_embeddings()
    embedding._forward_hooks.clear()  # which told the language model its type
    network.to(dtype)
    (out / MANIFEST).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".model-", dir=out) as folder:
        tokenizer.save(Path(folder) / "words")
        whole = Path(folder) / "whole"
        save_network(network, whole, name=name, tokenizer_folder=Path(folder) / "words", vision_tower=vision_tower)
        for path in sorted(whole.iterdir(), key=lambda path: path.name == MANIFEST):
            if (out / path.name).is_dir():
                shutil.rmtree(out / path.name)
            os.replace(path, out / path.name)
    return sha256(out / MANIFEST)
