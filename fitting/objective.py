"""The objective is a list of small named terms; each gives residuals divided by their noise, and their Jacobian.

A term looks at the state of a batch of B problems and returns :class:`Residuals`: N samples of C components each
(C = 1 for a distance, 2 for a pixel offset, 3 for a 3D offset). The energy of a problem is

    E = sum over terms of  weight * sum over samples of  w_n * rho(|r_n|^2),

where ``rho`` is the Geman-McClure function (GMoF) of the term's scale, or the plain square. Because every residual is
in units of its own noise sigma and the sample weights w_n of a term sum to one, a weight means the same at any mesh
density, image size or number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from hoirecon.errors import InputError

State = TypeVar("State", contravariant=True)


@dataclass(frozen=True)
class Residuals:
    """What one term says about a batch of problems."""

    r: Tensor
    """(B, N, C) residuals in units of sigma; C components share one robust weight."""
    J: Tensor
    """(B, N, C, D) derivative of r with respect to the solver's step; zero columns for what it does not see."""
    w: Tensor
    """(B, N) sample weights, non-negative; by custom they sum to at most 1."""
    sigma: float = 1.0
    """Noise of one residual in its unit; ``r * sigma``, times :attr:`noise`, is the residual in that unit."""
    unit: str = ""
    """``px``, ``mm``, ``deg`` or ``ratio``."""
    noise: Tensor | None = None
    """(N,) or (B, N) noise of each sample in units of :attr:`sigma`, where samples differ; None: all have 1."""


class Term(Protocol[State]):
    """A named part of the objective.

    A term may also have ``quadratic(state) -> Quadratic | None``: its normal equations by a shorter way than residuals
    and Jacobian, or None where there is none.
    """

    @property
    def name(self) -> str:
        """Short name, unique in the objective."""
        ...

    @property
    def weight(self) -> float:
        """Effective number of independent measurements that the term is worth."""
        ...

    @property
    def robust(self) -> float | None:
        """Geman-McClure scale in sigmas beyond which a sample is an outlier; None for least squares."""
        ...

    def residuals(self, state: State) -> Residuals:
        """Residuals and Jacobian at a state."""
        ...


@dataclass(frozen=True)
class Quadratic:
    """Cost and its Gauss-Newton model around a state: cost(step) ~ cost + 2 g.step + step.H.step."""

    cost: Tensor
    """(B,)"""
    gradient: Tensor
    """(B, D) half of the cost's gradient."""
    hessian: Tensor
    """(B, D, D) Gauss-Newton approximation of half the Hessian."""
    terms: dict[str, Tensor]
    """(B,) weighted cost of each term."""

    def select(self, index: Tensor) -> Quadratic:
        """Those of the problems (K,)."""
        terms = {name: cost[index] for name, cost in self.terms.items()}
        return Quadratic(self.cost[index], self.gradient[index], self.hessian[index], terms)

    def merge(self, part: Quadratic, index: Tensor) -> Quadratic:
        """These with the problems at ``index`` (K,) replaced."""
        return Quadratic(
            self.cost.index_copy(0, index, part.cost),
            self.gradient.index_copy(0, index, part.gradient),
            self.hessian.index_copy(0, index, part.hessian),
            {name: cost.index_copy(0, index, part.terms[name]) for name, cost in self.terms.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Quadratic]) -> Quadratic:
        """The problems of several batches, one after the other."""
        cost, gradient, hessian = (
            torch.cat([getattr(p, name) for p in parts]) for name in ("cost", "gradient", "hessian")
        )
        return cls(cost, gradient, hessian, {n: torch.cat([p.terms[n] for p in parts]) for n in parts[0].terms})


def gmof(squared: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
    """Geman-McClure cost and its weight for iteratively re-weighted least squares.

    ``rho(r^2) = r^2 k^2 / (r^2 + k^2)`` grows like r^2 up to about k sigmas and never exceeds k^2.

    Args:
        squared: squared residual norms, any shape.
        scale: k in sigmas; None gives the plain square.

    Returns:
        rho and d rho / d r^2, both of the input's shape.

    Example:
        >>> rho, weight = gmof(torch.tensor([0.0, 4.0]), 2.0)
        >>> rho.tolist(), weight.tolist()
        ([0.0, 2.0], [1.0, 0.25])
    """
    if scale is None:
        return squared, torch.ones_like(squared)
    shrink = scale**2 / (squared + scale**2)
    return squared * shrink, shrink**2


def linearise(terms: Sequence[Term[State]], state: State) -> Quadratic:
    """Assemble the normal equations of all terms at a state.

    Raises:
        InputError: there is no term, or two terms share a name.
    """
    check_terms(terms)
    parts = [_linearise_term(term, state) for term in terms]
    return Quadratic(
        cost=torch.stack([p.cost for p in parts]).sum(0),
        gradient=torch.stack([p.gradient for p in parts]).sum(0),
        hessian=torch.stack([p.hessian for p in parts]).sum(0),
        terms={term.name: p.cost for term, p in zip(terms, parts, strict=True)},
    )


def check_terms(terms: Sequence[Term[State]]) -> None:
    """Raise :class:`InputError` unless there are terms and their names are unique."""
    names = [term.name for term in terms]
    if not names or len(set(names)) != len(names):
        raise InputError(f"the objective needs at least one term and unique names, got {names}")


def _linearise_term(term: Term[State], state: State) -> Quadratic:
    compiled = getattr(term, "quadratic", None)
    found: Quadratic | None = None if compiled is None else compiled(state)
    return linearise_residuals(term, state) if found is None else found


def linearise_residuals(term: Term[State], state: State) -> Quadratic:
    """The normal equations of one term from its residuals: the reference of any shorter way."""
    res = term.residuals(state)
    rho, slope = gmof(res.r.square().sum(-1), term.robust)
    weight = term.weight * res.w
    scaled = (weight * slope)[..., None]
    J = res.J.flatten(1, 2)
    wJ = (scaled[..., None] * res.J).flatten(1, 2)
    return Quadratic(
        cost=(weight * rho).sum(-1),
        gradient=torch.einsum("bnd,bn->bd", wJ, res.r.flatten(1, 2)),
        hessian=wJ.transpose(1, 2) @ J,
        terms={},
    )


@dataclass(frozen=True)
class TermReport(Generic[State]):
    """Size of one term's residuals at the solution, in its own unit."""

    name: str
    unit: str
    median: float
    """Weighted median of the residual norms."""
    rms: float
    """Weighted root mean square of the residual norms."""
    cost: float

    @property
    def residual(self) -> float:
        """The median, in :attr:`unit`."""
        return self.median

    @property
    def residual_mm(self) -> float:
        """The median of a term in millimetres.

        Raises:
            InputError: the term's unit is another one.
        """
        return self._in("mm")

    @property
    def residual_px(self) -> float:
        """The median of a term in pixels.

        Raises:
            InputError: the term's unit is another one.
        """
        return self._in("px")

    def _in(self, unit: str) -> float:
        if self.unit != unit:
            raise InputError(f"the residuals of '{self.name}' are in {self.unit}, not in {unit}")
        return self.median


def report_term(term: Term[State], state: State, index: int = 0) -> TermReport[State]:
    """Summarise one term for one problem of the batch, in px, mm or degrees; 0 if none of its samples counts."""
    res = term.residuals(state)
    norms = res.r[index].norm(dim=-1)
    sizes = norms if res.noise is None else norms * res.noise.expand(res.w.shape)[index]
    w = res.w[index]
    total = w.sum().clamp_min(1e-12)
    order = torch.argsort(sizes)
    below = torch.cumsum(w[order], 0) / total
    at = min(int((below < 0.5).sum()), len(sizes) - 1) if len(sizes) else 0
    median = float(sizes[order[at]]) if bool(w.sum() > 0) else 0.0
    rms = float(((w * sizes.square()).sum() / total).sqrt())
    rho, _ = gmof(norms.square(), term.robust)
    return TermReport(term.name, res.unit, median * res.sigma, rms * res.sigma, float((term.weight * w * rho).sum()))
