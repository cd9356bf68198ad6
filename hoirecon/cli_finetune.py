"""``hoirecon train --config damon --data DAMON_DIR --init LISA_DIR --out runs/damon``: fine-tuning on public data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoirecon.cli_values import body_of_environment
from hoirecon.errors import InputError, require

if TYPE_CHECKING:
    from hoirecon.cli_train import Train
    from hoirecon.contact.training.finetune import FinetuneRun

LAUNCHED = "HOIRECON_LAUNCHED"
"""Set in processes that accelerate's launcher has started for us."""
STEPS = 15000
"""Steps unless said otherwise: 30 epochs of 500, as published."""


def run_finetune(asked: Train) -> int:
    """Fine-tune, or say what it would do."""
    if asked.accelerate_config is not None and LAUNCHED not in os.environ:
        return launch(asked, asked.accelerate_config)
    from hoirecon.contact.training.finetune import dry_run, finetune

    run = finetune_run(asked)
    if asked.dry_run:
        print(dry_run(run))
        print(inference_memory(run))
        return 0
    finetune(run, tell=_tell)
    return 0


def finetune_run(asked: Train) -> FinetuneRun:
    """What the options ask for.

    Raises:
        InputError: options that are missing or do not go together.
    """
    from hoirecon.contact.modeling.lora import LoraSettings
    from hoirecon.contact.training.finetune import DataConfig, FinetuneConfig, FinetuneRun
    from hoirecon.contact.training.finetune.data import roots_of

    if asked.init is None:
        raise InputError("fine-tuning starts from weights: give --init FOLDER, LISA's or InteractVLM's")
    roots = roots_of(asked.config, asked.data)
    data = DataConfig(
        asked.config, roots, asked.body or body_of_environment(), asked.parts,
        asked.validation, asked.part_dropout, _splits(asked.split, roots),
    )  # fmt: skip
    config = FinetuneConfig(
        steps=STEPS if asked.steps is None else asked.steps,
        batch=asked.batch,
        accumulate=asked.accumulate,
        rate=asked.rate,
        warmup=asked.warmup,
        lora=LoraSettings(asked.lora_rank, 2 * asked.lora_rank),
        precision=asked.precision,
        faults=asked.faults,
        checkpointing=not asked.keep_activations,
        seed=asked.seed,
        checkpoint_every=asked.checkpoint_every,
        keep=asked.keep,
        validate_every=asked.validate_every,
        validate_samples=asked.validate_samples,
    )
    return FinetuneRun(
        data,
        asked.init,
        asked.out,
        config,
        asked.vision_tower,
        asked.device,
        not asked.no_merge,
        command_of(asked),
        progress=not asked.quiet,
    )


def _splits(given: tuple[str, ...], roots: Mapping[str, Path]) -> dict[str, str]:
    splits = {}
    for text in given:
        name, mark, split = text.partition("=")
        if not mark or name not in roots:
            raise InputError(f"--split is DATA=SPLIT with one of {', '.join(roots)}, got '{text}'")
        splits[name] = split
    return splits


def arguments(asked: Train) -> list[str]:
    """The options as they are typed, those with their default left out."""
    words = []
    for f in fields(asked):
        value, name = getattr(asked, f.name), "--" + f.name.replace("_", "-")
        if value == f.default:
            continue
        if value is True:
            words.append(name)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [name, str(one)]
    return words


def command_of(asked: Train) -> str:
    """The whole command, for the card."""
    import shlex

    return shlex.join(["hoirecon", "train", *arguments(asked)])


def launch(asked: Train, config: Path) -> int:
    """Start the same command once per device, as accelerate's config file says.

    Raises:
        InputError: no such file.
        MissingExtraError: accelerate is not installed.
    """
    require("accelerate", extra="train")
    if not config.is_file():
        raise InputError(f"{config} does not exist: make one with  accelerate config --config_file {config}")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), "-m", "hoirecon.cli"]
    done = subprocess.run([*command, "train", *arguments(asked)], env={**os.environ, LAUNCHED: "1"}, check=False)
    return done.returncode


def inference_memory(run: FinetuneRun) -> str:
    """What the result will take to be asked, by its precision."""
    from hoirecon.contact.cost import CostCase, memory_table
    from hoirecon.contact.training.finetune.run import Prepared

    table: Mapping[str, Any] = memory_table(CostCase(Prepared(run).plan.config))
    rows = [f"    {name:<12}{row['weights']:>9.2f} GB of weights" for name, row in table.items()]
    return "\n".join(["", "the result, to be asked:", *rows])


def _tell(line: str) -> None:
    print(line, flush=True)
