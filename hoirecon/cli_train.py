"""``hoirecon train``: the small contact model, from nothing to its card, or InteractVLM fine-tuned on public data.

The former stands here, the latter in :mod:`hoirecon.cli_finetune`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.training.tiny_run import Model, TinyRun

WEIGHTS, CARD, FIGURES, MEMORY = "weights", "card.md", "figures.json", "memory.json"
"""What a run leaves in its folder beside the checkpoint."""


Words = tyro.conf.UseAppendAction[tuple[str, ...]]
Name = Literal["tiny-closedworld", "damon", "damon-noparts", "scene", "affordance", "joint", "all"]
TINY, TINY_STEPS = "tiny-closedworld", 7000


@dataclass(frozen=True)
class Train:
    """Train a contact model: the small one that the package ships, or InteractVLM on your copies of public data.

    `tiny-closedworld` needs nothing but the package and one processor core. The other configurations are the published
    mixes of data; they start from LISA's or InteractVLM's weights (--init), on 1 to N graphics cards. A run that was
    interrupted goes on from its last checkpoint when the same command is given again.
    """

    config: Literal["tiny-closedworld", "damon", "damon-noparts", "scene", "affordance", "joint", "all"] = (
        "tiny-closedworld"
    )
    """What is trained."""
    out: Path = Path("runs/tiny")
    """Folder for checkpoints, weights, figures and card."""
    steps: int | None = None
    """Steps of the run; by default 7000 of the small model, 15000 of fine-tuning."""
    seed: int = 0
    """Of the weights at the start and of everything that is drawn."""
    shards: int = 30
    """Small model: sets of 800 training scenes (about 3,150 samples each)."""
    samples: Path | None = None
    """Small model: folder of drawn samples, to share between runs; by default inside --out."""
    data: Words = ()
    """Folder of the data set, or NAME=FOLDER; may be repeated. One folder may also hold one for each name."""
    init: Path | None = None
    """Weights to start from: LISA's folder, a released InteractVLM's, or one that hoirecon wrote."""
    body: Path | None = None
    """Your SMPL-H model file: the labels on people are on its vertices; by default what HOIRECON_BODY names."""
    parts: Path | None = None
    """Vertices of each body part (smpl_segmentation_merged.pkl or JSON), for answers; by default the free body's."""
    vision_tower: Path | None = None
    """Folder of CLIP's tower, which released weights lack; by default beside them or in the local cache."""
    batch: int = 8
    """Samples at a time on each device."""
    accumulate: int = 1
    """Batches that make one step."""
    rate: float = 3e-4
    """Highest learning rate."""
    warmup: int = 100
    """Steps in which it rises to that; then it falls to 0 at the end."""
    lora_rank: int = 8
    """Rank of the updates of the language model's queries and values."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of frozen weights and computation; auto takes bfloat16 where the device is fast with it."""
    faults: Literal["mended", "reference"] = "mended"
    """reference has the faults of the published training's losses, for comparison."""
    keep_activations: bool = False
    """Keep what the language model's layers computed for the backward pass: faster, and far more memory."""
    device: Literal["auto", "cpu"] = "auto"
    """cpu keeps off graphics cards."""
    accelerate_config: Path | None = None
    """Config file of accelerate (`accelerate config`): several devices, DeepSpeed's ZeRO-1 and ZeRO-2."""
    validation: float = 0.05
    """Share of the training split's photographs that are kept for validation."""
    validate_every: int = 500
    """Steps between validations by generated answers; the best weights are those of the result."""
    validate_samples: int = 100
    """Questions of each data set that validate; 0 leaves validation out."""
    part_dropout: float | None = None
    """Share of questions on people without body parts; by default the configuration's."""
    split: Words = ()
    """NAME=SPLIT of a data set in place of its training split; may be repeated."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints that are kept."""
    no_merge: bool = False
    """Leave only what was trained, not the whole model with it folded in."""
    dry_run: bool = False
    """Say what would be trained, how much memory it takes and what the first batch holds (--out/batch.png)."""
    quiet: bool = False
    """No progress bar."""

    def run(self) -> int:
        """Carry the command out."""
        if self.config != TINY:
            from hoirecon.cli_finetune import run_finetune

            return run_finetune(self)
        if (self.steps is not None and self.steps < 1) or self.shards < 1:
            raise InputError("--steps and --shards are at least 1")
        train_tiny(self.tiny_run(), self.out, self.samples)
        print((self.out / CARD).read_text(encoding="utf-8"))
        return 0

    def tiny_run(self) -> TinyRun:
        """What the run is made of."""
        from hoirecon.contact.training.engine import EngineConfig
        from hoirecon.contact.training.tiny_run import TinyRun

        return TinyRun(
            shards=self.shards,
            engine=EngineConfig(steps=TINY_STEPS if self.steps is None else self.steps, seed=self.seed),
        )


def train_tiny(run: TinyRun, out: Path, samples: Path | None = None) -> None:
    """Train, write the weights as the package ships them, and say how good those very weights are."""
    import torch

    from hoirecon.contact.training.tiny_run import train
    from hoirecon.files import read_json, write_json

    torch.set_num_threads(1)
    cache = samples or out / "samples"
    model = train(run, out, cache, tell=_tell)
    settle_on_validation(run, model, cache)
    save_weights(model, out / WEIGHTS)
    before = int(read_json(out / MEMORY)["peak_bytes"]) if (out / MEMORY).is_file() else 0  # of a run gone on from
    write_json(out / MEMORY, {"peak_bytes": max(before, peak_bytes())})
    write_report(run, out, cache)


def settle_on_validation(run: TinyRun, model: Model, cache: Path) -> None:
    """Choose on validation samples what a trained model's heads count, and from where contact counts."""
    from hoirecon.contact.training.settle import settle
    from hoirecon.contact.training.tiny_report import Asked
    from hoirecon.contact.training.tiny_run import VAL_SEED, samples_of, train_samples

    val = Asked.of(samples_of("val", VAL_SEED, run.val_scenes, cache, _tell))
    settle(model, train_samples(run, cache, _tell), (val.samples, val.evidence), _tell)


def save_weights(model: Model, folder: Path) -> None:
    """Write a model in half precision as one of our folders; ``from_pretrained`` reads it."""
    from hoirecon.contact.estimator import InteractVLM

    halved = InteractVLM(model.network.half(), model.tokenizer, cache=None, label="tiny")
    halved.save_pretrained(folder)
    model.network.float()


def write_report(run: TinyRun, out: Path, cache: Path) -> None:
    """Read the written weights, ask them, and write figures and card."""
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.training.tiny_report import card, report
    from hoirecon.contact.training.tiny_run import Model
    from hoirecon.files import write_json

    read = InteractVLM.from_pretrained(out / WEIGHTS, dtype="float32", cache=None)
    model = Model(read.network, read.tokenizer, read.gallery, read.gallery.body(read.body_model))
    found = report(run, model, cache, tell=_tell)
    write_json(out / FIGURES, found.plain())
    (out / CARD).write_text(card(run, found, _facts(run, out, read), "object" in read.trained_for), encoding="utf-8")


def _facts(run: TinyRun, out: Path, read: object) -> dict[str, str]:
    import torch

    from hoirecon.contact.checkpoints.layout import MANIFEST, read_manifest, sha256
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.training.engine import CHECKPOINT
    from hoirecon.files import read_json

    assert isinstance(read, InteractVLM)
    files = read_manifest(out / WEIGHTS).files
    known = out / MEMORY
    peak = int(read_json(known)["peak_bytes"]) if known.is_file() else peak_bytes()
    state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
    count = sum(p.numel() for p in read.network.parameters())
    engine = run.engine
    return {
        "command": f"`hoirecon train --config tiny-closedworld --steps {engine.steps} --shards {run.shards} "
        f"--seed {engine.seed}`",
        "parameters": f"{count:,}, {sum(int(f['bytes']) for f in files.values()) / 1e6:.1f} MB in half precision",
        "training": f"{engine.steps} steps of {run.lessons.batch} questions, {state['seconds'] / 60:.1f} min of one "
        "processor core, drawing of the samples apart",
        "peak memory": f"{peak / 1e9:.1f} GB of the training process",
        "sha256 of the weights' manifest": f"`{sha256(out / WEIGHTS / MANIFEST)}`",
        "licence": "the package's own; no data but the package's was used",
    }


def peak_bytes() -> int:
    """Most memory that this process has had at a time, as the system counts it."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else 1024 * most)


def _tell(line: str) -> None:
    print(line, flush=True)
