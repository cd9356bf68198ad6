"""Joint angles with an anatomical meaning: how far a bone swings, and how far it twists about itself.

A joint's rotation is split as ``R = R_swing R_twist``: first a twist about the bone's rest axis e, then the shortest
rotation that carries e to ``R e``. With the unit quaternion q = (w, v), w >= 0, t = v.e and n^2 = w^2 + t^2,

    twist = 2 atan2(t, w),      swing = 2 asin(m) (b', c') / m,      m^2 = b^2 + c^2 = 1 - n^2,

where b, c are the other two components of v and (b', c') = (w b - t c, w c + t b) / n (Dobrowolski, "Swing-twist
decomposition in Clifford algebra", 2015). Unlike the components of the rotation vector these stay what an anatomist
measures (flexion, abduction, axial rotation) when a joint is far bent. Singular only where the bone points backwards
along itself (swing = 180 degrees), which no joint reaches.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_N = 1e-4


def quaternion(R: Tensor) -> Tensor:
    """(..., 4) unit quaternion (w, x, y, z) of rotation matrices (..., 3, 3), with w >= 0."""
    import roma

    xyzw = roma.rotmat_to_unitquat(R)
    q = torch.cat([xyzw[..., 3:], xyzw[..., :3]], dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def joint_angles(R: Tensor, twist_axis: Tensor) -> tuple[Tensor, Tensor]:
    """Swing and twist of joints, and their derivative.

    Args:
        R: (..., J, 3, 3) rotations of the joints relative to their parents, in the rest pose's axes.
        twist_axis: (J,) 0, 1 or 2: the axis along which the joint's bone lies at rest.

    Returns:
        Angles (..., J, 3) in radians in the order x, y, z: the component at ``twist_axis`` is the twist, the other two
        are the swing's rotation vector. And their derivative (..., J, 3, 3) with respect to a small rotation vector
        d that turns the joint in its own axes, ``R -> R exp(d)``, as :mod:`hoirecon.data.body.state` does.
    """
    q = quaternion(R)
    order = torch.stack([twist_axis, (twist_axis + 1) % 3, (twist_axis + 2) % 3], dim=-1)  # (J, 3): e, u, v
    v = torch.gather(q[..., 1:], -1, order.expand(*q.shape[:-1], 3))
    local, d_local = _swing_twist(torch.cat([q[..., :1], v], dim=-1))
    Q = _quaternion_rate(q)
    rows = torch.cat([Q[..., :1, :], torch.gather(Q[..., 1:, :], -2, _rows(order, Q))], dim=-2)
    J_local = d_local @ rows
    back = torch.argsort(order, dim=-1)
    angles = torch.gather(local, -1, back.expand_as(local))
    return angles, torch.gather(J_local, -2, _rows(back, J_local))


def _rows(index: Tensor, like: Tensor) -> Tensor:
    """Turn (J, 3) row numbers into an index for gathering the rows of (..., J, *, 3)."""
    return index[..., None].expand(*like.shape[:-2], 3, like.shape[-1])


def _quaternion_rate(q: Tensor) -> Tensor:
    """(..., 4, 3) derivative of q exp(d) with respect to d at 0: half the product q (0, d)."""
    w, x, y, z = q.unbind(-1)
    rows = [-x, -y, -z, w, -z, y, z, w, -x, -y, x, w]
    return 0.5 * torch.stack(rows, dim=-1).reshape(*q.shape[:-1], 4, 3)


def _swing_twist(q: Tensor) -> tuple[Tensor, Tensor]:
    """(twist, swing_u, swing_v) of quaternions (w, t, b, c) and the (..., 3, 4) derivative by (w, t, b, c)."""
    w, t, b, c = q.unbind(-1)
    n = (w.square() + t.square()).sqrt().clamp_min(_MIN_N)
    s = b.square() + c.square()
    k, dk = _swing_factor(s, n)
    g = k / n
    u, v = w * b - t * c, w * c + t * b
    angles = torch.stack([2 * torch.atan2(t, w), g * u, g * v], dim=-1)
    dg_n = -k / n.pow(3)  # times (w, t)
    dg_s = 2 * dk / n  # times (b, c)
    zero = torch.zeros_like(w)
    d_twist = torch.stack([-2 * t / n.square(), 2 * w / n.square(), zero, zero], dim=-1)
    dg = torch.stack([dg_n * w, dg_n * t, dg_s * b, dg_s * c], dim=-1)
    d_u = dg * u[..., None] + g[..., None] * torch.stack([b, -c, w, -t], dim=-1)
    d_v = dg * v[..., None] + g[..., None] * torch.stack([c, b, t, w], dim=-1)
    return angles, torch.stack([d_twist, d_u, d_v], dim=-2)


def _swing_factor(s: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """k = 2 asin(m) / m as a function of s = m^2, and its derivative by s; series where m is small."""
    m = s.clamp_min(1e-12).sqrt()
    angle = 2 * torch.atan2(m, n)
    exact = angle / m
    slope = (1 / n - angle / (2 * m)) / s.clamp_min(1e-12)
    small = s < 1e-4
    return (
        torch.where(small, 2 + s / 3 + 3 * s.square() / 20, exact),
        torch.where(small, 1 / 3 + 3 * s / 10 + 15 * s.square() / 56, slope),
    )


def rotations_of(angles: Tensor, twist_axis: Tensor) -> Tensor:
    """(..., J, 3, 3) rotations with these swing-twist angles (..., J, 3): the inverse of :func:`joint_angles`."""
    import roma

    is_twist = torch.nn.functional.one_hot(twist_axis, 3).to(angles)
    swing: Tensor = roma.rotvec_to_rotmat(angles * (1 - is_twist))
    twist: Tensor = roma.rotvec_to_rotmat(angles * is_twist)
    return swing @ twist
