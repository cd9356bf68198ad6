"""Rotations: an even cover of SO(3), upright ones, and steps on the group."""

from __future__ import annotations

import math

import roma
import torch
from torch import Tensor

from hoirecon.errors import InputError

# The two irrational strides of the super-Fibonacci spiral (Alexa, "Super-Fibonacci Spirals", CVPR 2022, section 4):
# phi = sqrt(2), and psi, the real root of psi^4 = psi + 4.
PHI = math.sqrt(2.0)
PSI = 1.533751168755204288118041


def super_fibonacci(count: int) -> Tensor:
    """(count, 3, 3) rotations that cover SO(3) evenly; deterministic, float64 (Alexa 2022).

    Raises:
        InputError: a negative count.
    """
    if count < 0:
        raise InputError(f"the number of rotations must not be negative, got {count}")
    i = torch.arange(count, dtype=torch.float64) + 0.5
    share = i / max(count, 1)
    inner, outer = share.sqrt(), (1 - share).sqrt()
    a, b = 2 * math.pi * i / PHI, 2 * math.pi * i / PSI
    quaternion = torch.stack([inner * a.sin(), inner * a.cos(), outer * b.sin(), outer * b.cos()], -1)
    rotations: Tensor = roma.unitquat_to_rotmat(quaternion)
    return rotations


def upright_rotations(count: int, up_obj: Tensor, up_cam: Tensor, tilt: float = math.radians(20)) -> Tensor:
    """(count, 3, 3) rotations that turn about the vertical, tilted by at most ``tilt`` in all directions.

    Args:
        count: how many.
        up_obj: (3,) axis of the object that points up.
        up_cam: (3,) up in the camera frame; (0, -1, 0) for a level camera.
        tilt: largest tilt in radians, spread over the disc by a golden-angle spiral.
    """
    i = torch.arange(count, dtype=torch.float64) + 0.5
    yaw = 2 * math.pi * i / ((1 + math.sqrt(5)) / 2)
    lean = tilt * (torch.arange(count, dtype=torch.float64) / max(count, 1)).sqrt()
    up = torch.nn.functional.normalize(up_cam.double(), dim=0)
    side = torch.nn.functional.normalize(torch.linalg.cross(up, _any_other(up)), dim=0)
    ahead = torch.linalg.cross(up, side)
    direction = 2 * math.pi * PHI * i
    axis = direction.cos()[:, None] * side + direction.sin()[:, None] * ahead
    upright = align(torch.nn.functional.normalize(up_obj.double(), dim=0), up)
    return exp_so3(axis * lean[:, None]) @ exp_so3(up * yaw[:, None]) @ upright


def align(a: Tensor, b: Tensor) -> Tensor:
    """(3, 3) smallest rotation that takes unit vector a to unit vector b; any half turn if they are opposite."""
    axis = torch.linalg.cross(a, b)
    sine, cosine = axis.norm(), torch.dot(a, b)
    if float(sine) < 1e-9:
        half_turn = torch.linalg.cross(a, _any_other(a))
        return torch.eye(3, dtype=a.dtype) if cosine > 0 else exp_so3(half_turn / half_turn.norm() * math.pi)
    return exp_so3(axis / sine * torch.atan2(sine, cosine))


def _any_other(a: Tensor) -> Tensor:
    """A unit vector that is not parallel to a."""
    other = torch.zeros_like(a)
    other[int(a.abs().argmin())] = 1.0
    return other


def exp_so3(rotvec: Tensor) -> Tensor:
    """(..., 3) rotation vectors, radians, to (..., 3, 3) rotations."""
    rotations: Tensor = roma.rotvec_to_rotmat(rotvec)
    return rotations
