"""Linear layers for inference on a processor, by oneDNN with weights laid out for it.

torch gives matrix products in float32 to MKL, which on processors that are not Intel's leaves half of the registers'
width unused; oneDNN, which torch brings too, goes by what the processor can do. It is reached through the operators
that torch's own compiler calls. Where they are missing :func:`can_pack` says so, and callers take the plain way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Activation = Literal["none", "relu", "gelu"]


@dataclass(frozen=True)
class PackedLinear:
    """``values @ weight.T + bias`` with the weight in oneDNN's own blocks: a copy, the size of the weight."""

    weight: Tensor
    """The weight, opaque to all but oneDNN."""
    bias: Tensor | None
    """(out,) or None."""
    activation: Activation = "none"
    """What follows the bias."""

    @classmethod
    def pack(
        cls, weight: Tensor, bias: Tensor | None = None, rows: int = 1, activation: Activation = "none"
    ) -> PackedLinear:
        """Lay a weight out.

        Args:
            weight: (out, in) float32 on the processor.
            bias: (out,).
            rows: about how many rows a call will have; another number works, a little slower.
            activation: "relu" cuts below zero, "gelu" is the exact one, by the error function.
        """
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        return cls(packed, None if bias is None else bias.detach(), activation)

    def __call__(self, values: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return linear_pointwise(values, self.weight, self.bias, self.activation)

    def added_to(self, residual: Tensor, values: Tensor) -> Tensor:
        """``residual`` (..., out) plus the layer of ``values`` (..., in), in one pass."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(values, residual, self.weight, self.bias, "add")
        return out


def linear_pointwise(values: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """``values @ weight.T + bias`` by oneDNN; the weight may be packed or a plain tensor (out, in)."""
    kind = "none" if activation == "gelu" else ""  # of GELU's approximation
    out: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, activation, [], kind)
    return out


def can_pack(tensors: Iterable[Tensor]) -> bool:
    """Whether oneDNN may take part: inference in float32 on the processor, with all that it needs built in.

    Args:
        tensors: all that goes in, parameters too. If one needs its gradient, the answer is no.
    """
    if not (_has_operators() and torch.backends.mkldnn.enabled) or torch.compiler.is_compiling():
        return False
    grad = torch.is_grad_enabled()
    return not torch.is_autocast_enabled("cpu") and all(
        t.dtype == torch.float32 and t.device.type == "cpu" and not (grad and t.requires_grad) for t in tensors
    )


def state_of(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    """What changes when one of the tensors is replaced or written to: a copy made before is then out of date."""
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


def _has_operators() -> bool:
    names = ("_linear_pointwise", "_reorder_linear_weight")
    built_in = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built_in and all(hasattr(torch.ops.mkldnn, name) for name in names)
