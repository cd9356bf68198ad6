"""A small engine for training: AdamW, a schedule, clipped gradients, and checkpoints from which a run goes on.

What happens in a step is a function of the step's number alone (the caller draws data and noise from seeds made of
it), so a run that was killed and goes on from its last checkpoint ends in the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hoirecon.errors import InputError
from hoirecon.files import atomic_file

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a run's folder."""
LossesOf = Callable[[int], Mapping[str, Tensor]]


@dataclass(frozen=True)
class EngineConfig:
    """How parameters are moved."""

    steps: int = 7000
    """Steps of the whole run; the schedule depends on it."""
    rate: float = 1.5e-3
    """Highest learning rate."""
    warmup: int = 80
    """Steps in which it rises to that."""
    again: int = 0
    """Step from which it rises anew, as parts of the network begin to learn there; 0 is nowhere."""
    flat_share: float = 0.4
    """Share of the run after which it falls, as a cosine."""
    last_share: float = 0.02
    """Share of the highest rate in which it ends."""
    weight_decay: float = 0.02
    """Of matrices; vectors have none."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's averages."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Of the weights that a run starts from and of all that is drawn."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.checkpoint_every < 1 or self.rate <= 0 or self.clip <= 0:
            raise InputError("steps and checkpoint_every are at least 1, rate and clip above 0")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, expected a whole number of at least 0")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        since = step - self.again if step >= self.again else step
        rising = min(1.0, (since + 1) / max(self.warmup, 1))
        done = step / self.steps
        if done < self.flat_share:
            return self.rate * rising
        falling = 0.5 * (1 + math.cos(math.pi * (done - self.flat_share) / (1 - self.flat_share)))
        return self.rate * rising * (self.last_share + (1 - self.last_share) * falling)


class Engine:
    """Trains some modules.

    Args:
        modules: what is trained, by name.
        losses: gives the weighted losses of a step by its number; they are added up.
        config: how.
        folder: where checkpoints go; one that lies there is gone on from.

    Raises:
        InputError: the checkpoint there is of another run.
    """

    def __init__(self, modules: nn.ModuleDict, losses: LossesOf, config: EngineConfig, folder: Path) -> None:
        self.modules, self.losses, self.config, self.folder = modules, losses, config, folder
        named = [p for p in modules.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in named if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config.rate, betas=config.betas, fused=True)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        if (folder / CHECKPOINT).is_file():
            self._restore()

    def run(self, until: int | None = None, tell: Callable[[str], None] = print, every: int = 25) -> None:
        """Train to the end, or to a step before it."""
        last = self.config.steps if until is None else min(until, self.config.steps)
        self.modules.train()
        recent: list[dict[str, float]] = []
        started, clock = self.step, time.process_time()
        while self.step < last:
            recent.append(self._one())
            if self.step % every == 0 or self.step == last:
                mean = {name: sum(r.get(name, 0.0) for r in recent) / len(recent) for name in recent[-1]}
                self.history.append({"step": float(self.step), **mean})
                spent = time.process_time() - clock
                left = spent / max(self.step - started, 1) * (last - self.step)
                shown = ", ".join(f"{name} {value:.4f}" for name, value in mean.items())
                tell(f"step {self.step}/{last}: {shown}; {left / 60:.1f} min left (processor time)")
                recent = []
            if self.step % self.config.checkpoint_every == 0 or self.step == last:
                self.seconds += time.process_time() - clock
                started, clock = self.step, time.process_time()
                self.save()

    def _one(self) -> dict[str, float]:
        """One step; gradients that are no numbers leave the weights as they were."""
        rate = self.config.rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.losses(self.step)
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        norm = nn.utils.clip_grad_norm_(self.modules.parameters(), self.config.clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()}

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        with atomic_file(self.folder / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as err:  # torch raises many kinds on damaged bytes
            raise InputError(f"{path} is damaged ({type(err).__name__}: {err}): remove it to begin anew") from err
        try:
            config = EngineConfig(**{**state["config"], "betas": tuple(state["config"]["betas"])})
            if config != self.config:
                raise InputError(f"{path} is of a run with other settings ({config}): give another folder")
            self.modules.load_state_dict(state["modules"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, TypeError, ValueError, RuntimeError) as err:
            raise InputError(f"{path} is no checkpoint of such a run ({err}): give another folder") from err
        self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
