"""The loop: passes, gradients over all processes, a step, a log, a validation, a checkpoint; by ``accelerate``.

What happens in a step is a function of the seed, the step's number and the process's, so a run that was killed and goes
on from its last checkpoint ends in the same bits as one that was not. How processes share the work (DDP,
DeepSpeed) is accelerate's matter: its environment or config file says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.training.finetune.checkpoints import (
    OPTIMIZER_FILE,
    PIECES,
    TRAINED_FILE,
    Checkpoints,
    RunState,
    read_optimizer,
    read_trained,
)
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.contact.training.finetune.trainable import checkpoint_layers, trained
from hoirecon.contact.training.finetune.weighing import PARTS, StepModule, computing, counts_of
from hoirecon.contact.training.losses import REFERENCE, LossConfig
from hoirecon.contact.training.public.batches import TrainingSet, ahead, to_device
from hoirecon.contact.training.step import Sample
from hoirecon.errors import HoireconError, InputError, MissingExtraError, require

LOGS = "logs"
"""Folder of TensorBoard's files in a run's folder."""
LONGEST_WAIT = timedelta(hours=2)
"""That processes wait for one another."""
GIVE_UP_AFTER = 50
"""Steps in a row without a finite gradient."""
SCORE = "score"
"""Figure of a validation by which the best weights are chosen; higher is better."""

Validate = Callable[[], Mapping[str, float]]


class DivergedError(HoireconError, ArithmeticError):
    """Gradients are no numbers, step after step."""


def make_accelerator(config: FinetuneConfig, device: str = "auto") -> Any:
    """Accelerate's object for this process; in which type is computed is settled here, not there.

    Args:
        config: settings.
        device: ``cpu`` keeps off graphics cards; ``auto`` takes this process's own card if there is one.

    Raises:
        MissingExtraError: accelerate is not installed.
        InputError: an engine that cuts the weights up.
    """
    accelerate = require("accelerate", extra="train")
    accelerator = accelerate.Accelerator(
        gradient_accumulation_steps=config.accumulate,
        cpu=device == "cpu",
        kwargs_handlers=[
            # Which parts of a network a batch reaches depends on what it asks about.
            accelerate.DistributedDataParallelKwargs(find_unused_parameters=True),
            # One process writes the whole model at the end while the others wait.
            accelerate.InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if _kind(accelerator) == "FSDP" or (plugin is not None and plugin.zero_stage > 2):
        raise InputError(
            "FSDP and ZeRO-3 cut the weights into pieces, with which no question can be answered for validation: take "
            "plain data parallelism, or DeepSpeed's ZeRO-1 or ZeRO-2 (`accelerate config`)"
        )
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = config.batch
    return accelerator


def _kind(accelerator: Any) -> str:
    """Accelerate's name of how processes share the work."""
    return str(accelerator.distributed_type).rpartition(".")[2]


class Finetuner:
    """Trains a network whose parts were chosen (see ``trainable``).

    Args:
        network: in its place, with its types.
        lessons: what it is taught; a batch of it is one step of this process.
        config: how.
        out: the run's folder; a checkpoint that lies there is gone on from.
        accelerator: of this process.
        identity: plain values that a checkpoint must share, besides those of the settings.
        validate: gives figures of the weights as they are, ``score`` among them; None validates nothing.

    Raises:
        InputError: the checkpoint there is of another run, or damaged.
    """

    def __init__(
        self,
        network: InteractVLMNetwork,
        lessons: TrainingSet,
        config: FinetuneConfig,
        out: Path,
        accelerator: Any,
        identity: Mapping[str, Any] | None = None,
        validate: Validate | None = None,
    ) -> None:
        self.network, self.lessons, self.config, self.out = network, lessons, config, out
        self.accelerator, self.validate = accelerator, validate
        self.state = RunState()
        parameters = trained(network)
        optimizer = torch.optim.AdamW(
            parameters.values(), lr=config.rate, betas=config.betas, weight_decay=config.weight_decay
        )
        if config.checkpointing:
            checkpoint_layers(network)
        told = {
            "settings": config.identity,
            "data": lessons.mixture.fingerprint,
            "processes": lessons.world,
            **(identity or {}),
        }
        self.checkpoints = Checkpoints(out, told, config.keep)
        self._parameters = parameters
        if accelerator.is_main_process:
            self.checkpoints.clear_leftovers()
        accelerator.wait_for_everyone()
        found = self.checkpoints.latest()
        if found is not None:  # before engines cut the parameters up
            self.state, folder = found
            read_trained(folder / TRAINED_FILE, parameters)
            if not self.in_pieces:
                optimizer.load_state_dict(read_optimizer(folder / OPTIMIZER_FILE))
        faults = REFERENCE if config.faults == "reference" else None
        self.compute = network.vlm.projector.weight.dtype  # that of all frozen weights
        module = StepModule(network, LossConfig.of(network.config, faults), self.compute)
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        if found is not None and self.in_pieces:
            accelerator.load_state(str(found[1] / PIECES))

    @property
    def in_pieces(self) -> bool:
        """Whether DeepSpeed keeps the optimiser's state, each process its own part."""
        return _kind(self.accelerator) == "DEEPSPEED"

    def run(self, until: int | None = None, progress: bool = False) -> RunState:
        """Train to the end, or to a step before it.

        Args:
            until: stop after this step, to go on later.
            progress: show a bar with the time that is left.

        Raises:
            DivergedError: no finite gradient in many steps.
        """
        last = self.config.steps if until is None else min(until, self.config.steps)
        main = bool(self.accelerator.is_main_process)
        bad = 0
        with _Board(self.out / LOGS, self.state.step, main) as board, _bar(last, self.state, progress and main) as bar:
            recent: list[dict[str, float]] = []
            for samples in ahead(self.lessons, self.state.step, last):
                started = time.perf_counter()
                recent.append(self.one_step(samples))
                bad = bad + 1 if recent[-1]["skipped"] else 0
                if bad >= GIVE_UP_AFTER:
                    raise DivergedError(
                        f"no finite gradient in {bad} steps up to {self.state.step}: take a smaller --rate, and look "
                        "at the losses in the log"
                    )
                self.state.seconds += time.perf_counter() - started
                if self.state.step % self.config.log_every == 0 or self.state.step == last:
                    self._log(recent, board, bar)
                    recent = []
                bar.update()
                self._keep_up(last, board)
        return self.state

    def one_step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """One optimiser step on a batch of this process; a gradient that is no number leaves the weights as they were.

        Returns:
            Parts of the loss over all processes, ``total``, ``norm`` of the gradient before clipping, ``rate``, and
            whether it was ``skipped``.
        """
        rate = self.config.rate_at(self.state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        told = self.gradients(samples)
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), self.config.clip) or 0.0)
        finite = norm == norm and abs(norm) != float("inf")
        if finite or self.in_pieces:  # DeepSpeed's backward has stepped already
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.state.skipped += not finite
        return {**told, "norm": norm if finite else 0.0, "rate": rate, "skipped": float(not finite)}

    def gradients(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Leave the gradient of a step in the parameters, as of one pass over all samples of all processes.

        Returns:
            Parts of the loss, and ``total``.
        """
        self.module.train()
        # Dropout's numbers are the step's and the process's own, whatever was drawn before.
        torch.manual_seed(hash((self.config.seed, self.state.step, self.lessons.rank)) & 0x7FFFFFFFFFFFFFFF)
        device = self.accelerator.device
        passes = _passes(samples, self.config.batch)
        whole = self._over_all(counts_of(samples).to(device)).clamp(min=1)
        # Engines divide by the number of passes and of processes; what is wanted is the sum.
        factor = float(len(passes) * self.accelerator.num_processes)
        told = torch.zeros(len(PARTS), device=device)
        for part in passes:
            share = counts_of(part).to(device) / whole
            with self.accelerator.accumulate(self.module):
                values: Tensor = self.module(to_device(part, device), share)
                self.accelerator.backward(values.sum() * factor)
            told += values.detach()
        told = self._over_all(told)
        return {"total": float(told.sum()), **dict(zip(PARTS, told.tolist(), strict=True))}

    def weights(self) -> dict[str, Tensor]:
        """What is trained, by name, in the processor's memory."""
        return {name: parameter.detach().cpu() for name, parameter in self._parameters.items()}

    def _over_all(self, values: Tensor) -> Tensor:
        """Their sum over all processes."""
        if self.accelerator.num_processes == 1:
            return values
        summed: Tensor = self.accelerator.reduce(values, "sum")
        return summed

    def _keep_up(self, last: int, board: _Board) -> None:
        """Validate and write checkpoints where they are due."""
        step, config = self.state.step, self.config
        if self.validate is not None and (step % config.validate_every == 0 or step == config.steps):
            self._validate(board)
        if step % config.checkpoint_every == 0 or step == last:
            self._save()

    def _validate(self, board: _Board) -> None:
        assert self.validate is not None  # the caller has looked
        self.network.eval()
        with torch.no_grad(), computing(self.compute, self.accelerator.device):
            figures = {"step": float(self.state.step), **self.validate()}
        self.network.train()
        self.state.validation.append(figures)
        board.write({f"validation/{name}": value for name, value in figures.items()}, self.state.step)
        if self.state.best is None or figures[SCORE] > self.state.best[SCORE]:
            self.state.best = figures
            weights = self.weights()
            if self.accelerator.is_main_process:
                self.checkpoints.save_best(self.state, weights)
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        weights = self.weights()
        pieces = self.checkpoints.folder / f".pieces-{self.state.step}" if self.in_pieces else None
        if pieces is not None:
            self.accelerator.save_state(str(pieces))  # every process writes its own
        if self.accelerator.is_main_process:
            optimizer = {} if self.in_pieces else self.optimizer.state_dict()
            self.checkpoints.save(self.state, weights, optimizer, pieces)
        self.accelerator.wait_for_everyone()

    def _log(self, recent: Sequence[Mapping[str, float]], board: _Board, bar: Any) -> None:
        mean = _means(recent)
        self.state.history.append({"step": float(self.state.step), **mean})
        losses = {f"loss/{name}": value for name, value in mean.items() if name in (*PARTS, "total")}
        others = {name: mean[name] for name in ("norm", "rate", "skipped")}
        board.write({**losses, **others}, self.state.step)
        shown = {"loss": "total", "words": "tokens", "masks": "focal"}
        bar.set_postfix_str(", ".join(f"{word} {mean.get(name, math.nan):.3f}" for word, name in shown.items()))


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each value over the rows in which it is a number; without those that are in none: a skipped step has no
    loss to speak of, and JSON has no word for it."""
    found = {name: [row[name] for row in rows if math.isfinite(row[name])] for name in rows[0]}
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _passes(samples: Sequence[Sample], batch: int) -> list[Sequence[Sample]]:
    return [samples[start : start + batch] for start in range(0, len(samples), batch)]


def _bar(last: int, state: RunState, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=last, initial=state.step, disable=not shown, unit="step", desc="training", smoothing=0.05)


class _Board:
    """TensorBoard's files, written by one process; a run that goes on writes over what came after its checkpoint."""

    def __init__(self, folder: Path, step: int, on: bool) -> None:
        self._writer: Any = None
        if on:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as err:
                raise MissingExtraError(
                    f"the log needs the package 'tensorboard' ({err}): install it with  pip install 'hoirecon[train]'"
                ) from err
            self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def __enter__(self) -> _Board:
        return self

    def __exit__(self, *told: Any) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step."""
        for name, value in values.items() if self._writer is not None else ():
            self._writer.add_scalar(name, value, step)
