"""Weights in files: released folders, our own folders, and the way from one to the other.

``open`` is one door for both kinds, ``released`` reads folders as published, ``convert`` goes from one to the other,
``native`` and ``layout`` are our own, ``keys`` knows the tensors' names. Nothing heavy is loaded with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.contact.checkpoints.open import Loaded, kind_of, open_checkpoint
from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.contact.checkpoints.convert import convert_released
    from hoirecon.contact.checkpoints.native import save_network, verify

__all__ = ["Loaded", "convert_released", "kind_of", "open_checkpoint", "save_network", "verify"]

_LAZY = {
    "convert_released": "hoirecon.contact.checkpoints.convert",
    "save_network": "hoirecon.contact.checkpoints.native",
    "verify": "hoirecon.contact.checkpoints.native",
}

__getattr__ = lazy_names(__name__, _LAZY)  # what needs torch is imported when it is first asked for
