"""Fine-tuning of InteractVLM on public data: LoRA and the parts that turn words into masks, on 1 to N devices.

run = FinetuneRun(DataConfig("damon", {"damon": DAMON_DIR}, body=SMPLH_FILE), init=LISA_DIR, out="runs/damon")
finetune(run)

``run`` is the way from folders to a card; ``settings``, ``start``, ``data``, ``trainable``, ``engine``, ``validation``,
``checkpoints``, ``output``, ``card``, ``memory`` and ``preview`` are its steps. ``hoirecon train`` is the same by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.contact.training.finetune.data import DataConfig
    from hoirecon.contact.training.finetune.run import FinetuneRun, dry_run, finetune
    from hoirecon.contact.training.finetune.settings import FinetuneConfig

__all__ = ["DataConfig", "FinetuneConfig", "FinetuneRun", "dry_run", "finetune"]

_LAZY = {
    "DataConfig": "hoirecon.contact.training.finetune.data",
    "FinetuneConfig": "hoirecon.contact.training.finetune.settings",
    "FinetuneRun": "hoirecon.contact.training.finetune.run",
    "dry_run": "hoirecon.contact.training.finetune.run",
    "finetune": "hoirecon.contact.training.finetune.run",
}

__getattr__ = lazy_names(__name__, _LAZY)  # what needs torch is imported when it is first asked for
