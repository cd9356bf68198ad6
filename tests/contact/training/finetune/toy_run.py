"""Toy weights in the released layout, a stand-in of DAMON, and runs on both that take seconds."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.toy import toy_config, toy_network, write_toy_tokenizer
from hoirecon.contact.training.finetune.data import DataConfig
from hoirecon.contact.training.finetune.run import FinetuneRun
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.data.datasets.fixtures import write_damon
from hoirecon.files import write_json
from tests.contact.checkpoints.tiny_checkpoint import released_json, released_state, write_tower, write_weights

CONTACT_ONLY = ("cam_pose_encoder.", "attention_splitter.")
"""What LISA's folder lacks of InteractVLM's tensors, by released names."""
CONTACT_KEYS = ("token_type", "hseg_token_idx", "oseg_token_idx", "cam_encoder_type", "multiview_cam_cond",
                "multiview_channels", "hC_sam_view_type", "oC_sam_view_type", "hC_loss_weight", "oC_loss_weight",
                "hC_question_type", "oC_question_type", "use_fusion", "use_uncertainty")  # fmt: skip
"""And of config.json."""


def write_toy_start(folder: Path, token_type: str = "Gen", lisa: bool = True, seed: int = 0) -> Path:
    """A toy network in the released layout with its vocabulary: LISA's share of it, or all of it."""
    size = write_toy_tokenizer(folder, token_type)
    network = toy_network(toy_config("tiny", token_type, size), seed)
    told, state = released_json(network.config), released_state(network)
    if lisa:
        told = {key: value for key, value in told.items() if key not in CONTACT_KEYS}
        state = {key: value for key, value in state.items() if not key.startswith(CONTACT_ONLY)}
    write_json(folder / "config.json", told)
    write_weights(folder, state, 1, "bin")
    write_tower(folder / "vision_tower", network)
    return folder


def toy_run(folder: Path, *, start: Path | None = None, samples: int = 12, **changes: Any) -> FinetuneRun:
    """A run on toy weights and stand-in data in a folder; ``changes`` are settings."""
    lisa = folder / "lisa" if start is None else start
    if not lisa.is_dir():
        write_toy_start(lisa)
    damon = folder / "damon"
    if not damon.is_dir():
        write_damon(damon, samples, split="trainval", smplx=False)
    config = FinetuneConfig(
        steps=6, batch=2, warmup=2, rate=3e-3, precision="fp32", checkpoint_every=2, validate_every=6,
        validate_samples=2, max_new_tokens=6, log_every=1,
    )  # fmt: skip
    data = DataConfig("damon", {"damon": damon}, validation=0.3)
    return FinetuneRun(data, lisa, folder / "run", replace(config, **changes), views=folder / "views", device="cpu")


@cache
def shared_folder() -> Path:
    """One folder for a session's toy weights and data, removed at its end; nothing in it is changed."""
    folder = Path(tempfile.mkdtemp(prefix="hoirecon-toy-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def states(folder: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint of a run has trained."""
    from safetensors.torch import load_file

    last = sorted((folder / "checkpoints").glob("step-*"))[-1]
    return load_file(last / "trained.safetensors")


def tokenizer_of(folder: Path) -> ContactTokenizer:
    """A folder's vocabulary."""
    return ContactTokenizer.from_folder(folder)
