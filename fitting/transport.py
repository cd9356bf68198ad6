"""Unbalanced optimal transport: who belongs to whom when some of either side belong to nobody."""

from __future__ import annotations

import torch
from torch import Tensor

BLUR = (0.02, 0.002)
"""Entropy at the start and at the end, square metres: wide first, so that the plan does not hang on the first guess."""
ROUNDS = 14
"""Sinkhorn rounds; the entropy falls by a constant factor over them."""


@torch.no_grad()
def unbalanced_plan(
    cost: Tensor, a: Tensor, b: Tensor, reach: float, blur: tuple[float, float] = BLUR, rounds: int = ROUNDS
) -> Tensor:
    """Plan of entropic transport whose marginals may be missed at the price of their Kullback-Leibler divergence.

    It minimises ``<P, cost> + eps KL(P | a b) + reach^2 (KL(P 1 | a) + KL(P^T 1 | b))``, so that mass whose partner
    costs much more than ``reach^2`` rather stays at home. In the log domain; nothing is differentiated.

    Args:
        cost: (B, N, M) square metres.
        a: (N,) mass of the rows, sum 1.
        b: (M,) mass of the columns, sum 1.
        reach: distance from which mass prefers to stay unmatched, metres.
        blur: entropy eps at the start and at the end, square metres.
        rounds: Sinkhorn rounds.

    Returns:
        (B, N, M) mass that goes from each row to each column.
    """
    log_a, log_b = a.clamp_min(1e-30).log(), b.clamp_min(1e-30).log()
    f, g = torch.zeros_like(cost[..., 0]), torch.zeros_like(cost[..., 0, :])
    eps = blur[0]
    for n in range(rounds):
        eps = blur[0] * (blur[1] / blur[0]) ** (n / max(rounds - 1, 1))
        damp = reach**2 / (reach**2 + eps)
        f = -damp * eps * torch.logsumexp((g[:, None] - cost) / eps + log_b, 2)
        g = -damp * eps * torch.logsumexp((f[..., None] - cost) / eps + log_a[:, None], 1)
    plan: Tensor = ((f[..., None] + g[:, None] - cost) / eps + log_a[:, None] + log_b).exp()
    return plan
