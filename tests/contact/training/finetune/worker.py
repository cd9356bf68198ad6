"""What tests start as a process of its own: a run that will be killed, or one of several that share a step."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from hoirecon.contact.modeling.lora import LoraSettings
from hoirecon.contact.training.finetune.engine import Finetuner, make_accelerator
from hoirecon.contact.training.finetune.run import Prepared, finetune
from hoirecon.contact.training.finetune.trainable import trained
from hoirecon.contact.training.step import Sample
from tests.contact.training.finetune.toy_run import toy_run

STEPS = 8


def run_to_the_end(folder: Path, name: str) -> None:
    """A short run with dropout; it tells every step, so that its killer knows where it is."""
    from dataclasses import replace

    run = replace(toy_run(folder, steps=STEPS, validate_samples=0, checkpoint_every=2, keep=3), out=folder / name)
    first = Finetuner.one_step

    def told(self: Finetuner, samples: Sequence[Sample]) -> dict[str, float]:
        done = first(self, samples)
        print(f"step {self.state.step}", flush=True)
        return done

    Finetuner.one_step = told  # type: ignore[method-assign]
    finetune(run, tell=lambda line: print(line, flush=True))


def share_a_step(folder: Path, batch: int, accumulate: int) -> None:
    """Gradients of one step, by as many processes as the environment says; the first one writes them."""
    torch.set_num_threads(1)
    run = toy_run(folder, batch=batch, accumulate=accumulate, lora=LoraSettings(dropout=0.0), validate_samples=0)
    prepared = Prepared(run)
    accelerator = make_accelerator(run.config, "cpu")
    network = prepared.network(accelerator.device)
    lessons = prepared.lessons(network, accelerator.process_index, accelerator.num_processes)
    world = accelerator.num_processes
    trainer = Finetuner(network, lessons, run.config, folder / f"out-{world}", accelerator)
    told = trainer.gradients(lessons.batch(0))
    if accelerator.is_main_process:
        gradients = {name: p.grad for name, p in trained(network).items() if p.grad is not None}
        losses = {f"loss.{name}": torch.tensor(value) for name, value in told.items()}
        save_file(
            {name: value.contiguous() for name, value in {**gradients, **losses}.items()},
            folder / f"gradients-{world}-{batch}-{accumulate}.safetensors",
        )
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    where = Path(sys.argv[2])
    if sys.argv[1] == "run":
        run_to_the_end(where, sys.argv[3])
    else:
        share_a_step(where, int(sys.argv[3]), int(sys.argv[4]))
