"""A term of one's own in one function.

def over_the_table(view):                                       # view: JointView
    at = view.object_points(0, corners)                         # (B, N, 3) metres, camera frame
    return (at[..., 1:2] - table_y).clamp_min(0)                # (B, N, 1) in the unit of sigma

fit(..., terms=[own_term(over_the_table, sigma=0.01, unit="m")])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Residuals, Term

Answer = Tensor | tuple[Tensor, Tensor]
REPORTED = {"m": ("mm", 1e3), "rad": ("deg", math.degrees(1.0))}
"""Unit of a function's residuals -> unit of reports, and the factor."""


@dataclass(frozen=True)
class OwnTerm:
    """A function of the view as a term; see :func:`own_term`."""

    function: Callable[[JointView], Answer]
    name: str
    sigma: float
    unit: str
    weight: float
    robust: float | None

    def residuals(self, view: JointView) -> Residuals:
        """The function's residuals in sigmas; the samples of a batch entry share the weight 1."""
        answer = self.function(view)
        self._check_residuals(answer[0] if isinstance(answer, tuple) else answer, view)
        r, J = answer if isinstance(answer, tuple) else differentiated(self.function, view)
        self._check(r, J, view)
        unit, factor = REPORTED.get(self.unit, (self.unit, 1.0))
        w = torch.full_like(r[..., 0], 1 / max(r.shape[1], 1))
        return Residuals(r / self.sigma, J / self.sigma, w, self.sigma * factor, unit)

    def _check_residuals(self, r: Any, view: JointView) -> None:
        """Before the Jacobian is looked for, which needs tensors of this shape."""
        if not isinstance(r, Tensor):
            raise InputError(f"the term '{self.name}' must give a tensor of residuals, it gave {type(r).__name__}")
        if r.ndim != 3:
            raise InputError(
                f"the term '{self.name}' must give residuals (B, N, C), here B = {len(view.state)}; it gave "
                f"{tuple(r.shape)}: keep the axes, e.g. by [..., 2:3] in place of [..., 2]"
            )

    def _check(self, r: Tensor, J: Tensor, view: JointView) -> None:
        wanted = (*r.shape, view.state.layout.size)
        if r.ndim != 3 or len(r) != len(view.state) or J.shape != wanted:
            raise InputError(
                f"the term '{self.name}' must give residuals (B, N, C), here B = {len(view.state)}, and, if it gives "
                f"one, a Jacobian (B, N, C, {view.state.layout.size}); it gave {tuple(r.shape)} and {tuple(J.shape)}"
            )


def own_term(
    function: Callable[[JointView], Answer],
    *,
    sigma: float,
    unit: str = "m",
    name: str | None = None,
    weight: float = 1.0,
    robust: float | None = None,
) -> OwnTerm:
    """Make a term for ``fit(..., terms=[...])`` from a function of the view.

    Args:
        function: takes a :class:`JointView` of B hypotheses and gives residuals (B, N, C) in ``unit``, not yet divided
            by their noise; or those and their Jacobian (B, N, C, D), as :meth:`JointView.on_object` and
            :meth:`JointView.on_body` give it. Without a Jacobian it is found by automatic differentiation: write the
            function with torch on :meth:`JointView.object_points` and :meth:`JointView.body_points`. That costs one
            backward pass per residual, in one batch: tens of residuals are fine, thousands want a closed form.
        sigma: noise of one residual, in ``unit``.
        unit: ``m``, ``mm``, ``px``, ``rad``, ``deg`` or any other word for the report.
        name: what to call it; the function's name with spaces.
        weight: how many independent measurements it is worth.
        robust: Geman-McClure scale in sigmas; None: least squares.

    Example:
        >>> def level(view):
        ...     ends = view.object_points(0, torch.tensor([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]))
        ...     return (ends[:, :1] - ends[:, 1:])[..., 1:2]  # both ends equally high
        >>> own_term(level, sigma=0.02).name
        'level'
    """
    title = name or getattr(function, "__name__", "").replace("_", " ").strip()
    if not callable(function) or not title or title == "<lambda>":
        raise InputError("a term of your own needs a function and a name: own_term(function, sigma=..., name='...')")
    if not sigma > 0 or not weight >= 0 or (robust is not None and not robust > 0):
        raise InputError(f"the term '{title}' needs sigma > 0, weight >= 0 and robust > 0 or None")
    return OwnTerm(function, title, float(sigma), unit, float(weight), robust)


def differentiated(function: Callable[[JointView], Answer], view: JointView) -> tuple[Tensor, Tensor]:
    """Residuals (B, N, C) of a function and their Jacobian (B, N, C, D) by a step, by automatic differentiation."""
    state = view.state
    like = state.objects[0].t if state.objects else state.bodies[0].transl
    with torch.enable_grad():
        step = torch.zeros(len(state), state.layout.size, dtype=like.dtype, device=like.device, requires_grad=True)
        r = function(JointView(state.retract(step), view.figures))
        assert isinstance(r, Tensor)
        flat = r.flatten(1)
        if not r.requires_grad or flat.shape[1] == 0:
            return r.detach(), r.detach().new_zeros(*r.shape, state.layout.size)
        # hypotheses are independent: the k-th residual of all of them in one pass
        pick = torch.eye(flat.shape[1], dtype=r.dtype, device=r.device)[:, None].expand(-1, len(state), -1)
        (rows,) = torch.autograd.grad(flat, step, pick, is_grads_batched=True, allow_unused=True)
    if rows is None:
        return r.detach(), r.detach().new_zeros(*r.shape, state.layout.size)
    return r.detach(), rows.movedim(0, 1).reshape(*r.shape, state.layout.size).detach()


def check_own_names(terms: Sequence[Term[JointView]], taken: Sequence[str]) -> None:
    """Raise :class:`InputError` if a term of one's own is called as one of the fit's is."""
    for term in terms:
        if term.name in taken:
            raise InputError(f"the fit has a term '{term.name}' itself: give yours another name")
