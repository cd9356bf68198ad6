"""``hoirecon train --config tiny-closedworld --out runs/tiny``: the small contact model, from nothing to its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.training.tiny_run import Model, TinyRun

WEIGHTS, CARD, FIGURES = "weights", "card.md", "figures.json"
"""What a run leaves in its folder beside the checkpoint."""


@dataclass(frozen=True)
class Train:
    """Train a contact model. `tiny-closedworld` makes the small one that the package ships, on one processor core.

    A run that was interrupted goes on from its last checkpoint when the same command is given again.
    """

    config: Literal["tiny-closedworld"] = "tiny-closedworld"
    """What is trained."""
    out: Path = Path("runs/tiny")
    """Folder for checkpoints, weights, figures and card."""
    steps: int = 1200
    """Steps of the run."""
    shards: int = 9
    """Sets of 800 training scenes (about 3,150 samples each)."""
    seed: int = 0
    """Of the weights at the start and of everything that is drawn."""
    samples: Path | None = None
    """Folder of drawn samples, to share between runs; by default inside --out."""

    def run(self) -> int:
        """Carry the command out."""
        if self.steps < 1 or self.shards < 1:
            raise InputError("--steps and --shards are at least 1")
        train_tiny(self.tiny_run(), self.out, self.samples)
        print((self.out / CARD).read_text(encoding="utf-8"))
        return 0

    def tiny_run(self) -> TinyRun:
        """What the run is made of."""
        from hoirecon.contact.training.engine import EngineConfig
        from hoirecon.contact.training.tiny_run import TinyRun

        return TinyRun(shards=self.shards, engine=EngineConfig(steps=self.steps, seed=self.seed))


def train_tiny(run: TinyRun, out: Path, samples: Path | None = None) -> None:
    """Train, write the weights as the package ships them, and say how good those very weights are."""
    import torch

    from hoirecon.contact.training.tiny_run import train

    torch.set_num_threads(1)
    cache = samples or out / "samples"
    model = train(run, out, cache, tell=_tell)
    save_weights(model, out / WEIGHTS)
    write_report(run, out, cache)


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
    (out / CARD).write_text(card(run, found, _facts(run, out, read)), encoding="utf-8")


def _facts(run: TinyRun, out: Path, read: object) -> dict[str, str]:
    import torch

    from hoirecon.contact.checkpoints.layout import MANIFEST, read_manifest, sha256
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.training.engine import CHECKPOINT

    assert isinstance(read, InteractVLM)
    files = read_manifest(out / WEIGHTS).files
    state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
    count = sum(p.numel() for p in read.network.parameters())
    engine = run.engine
    return {
        "command": f"`hoirecon train --config tiny-closedworld --steps {engine.steps} --shards {run.shards} "
        f"--seed {engine.seed}`",
        "parameters": f"{count:,}, {sum(int(f['bytes']) for f in files.values()) / 1e6:.1f} MB in half precision",
        "training": f"{engine.steps} steps of {run.lessons.batch} questions, {state['seconds'] / 60:.1f} min of one "
        "processor core, drawing of the samples apart",
        "sha256 of the weights' manifest": f"`{sha256(out / WEIGHTS / MANIFEST)}`",
        "licence": "the package's own; no data but the package's was used",
    }


def _tell(line: str) -> None:
    print(line, flush=True)
