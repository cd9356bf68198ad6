"""Errors that give advice: what came, what was expected, what to do."""

from __future__ import annotations

import importlib
from types import ModuleType


class HoireconError(Exception):
    """Base of every error this library raises on purpose; the command line prints it and exits with 2."""


class InputError(HoireconError, ValueError):
    """Something given by the user cannot be used; the message is one sentence with what to do about it."""


class TopologyError(InputError):
    """Per-vertex data met a mesh or body of another topology."""


class MissingExtraError(HoireconError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class MissingModelError(HoireconError, FileNotFoundError):
    """A model file is not on this machine; the message names the command that fetches it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one sentence which extra brings it.

    Args:
        module: dotted import name, e.g. ``"open3d"``.
        extra: name of the extra of hoirecon that installs it, e.g. ``"render"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the package cannot be imported.

    Example:
        >>> require("json", extra="render").loads("[1]")
        [1]
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise MissingExtraError(
            f"this needs the package '{module}' ({err}): install it with  pip install 'hoirecon[{extra}]'"
        ) from err
