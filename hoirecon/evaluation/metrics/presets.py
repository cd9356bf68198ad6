"""Evaluators by name.

Example:
    >>> preset = get_preset("deco")
    >>> scores = preset.evaluate([([0.9, 0.1, 0.0], [1, 1, 0]), ([0.0, 0.0, 0.0], [1, 0, 0])])
    >>> {name: round(value, 2) for name, value in scores.aggregate.items()}
    {'precision': 1.0, 'recall': 0.25, 'f1': 0.33}
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.affordance_presets import AFFORDANCE_PRESETS
from hoirecon.evaluation.metrics.contact_presets import CONTACT_PRESETS
from hoirecon.evaluation.metrics.preset_types import Preset
from hoirecon.evaluation.metrics.reconstruction_presets import RECONSTRUCTION_PRESETS
from hoirecon.evaluation.metrics.region_presets import REGION_PRESETS
from hoirecon.evaluation.metrics.score_presets import SCORE_PRESETS

PRESETS: tuple[Preset, ...] = (
    *CONTACT_PRESETS,
    *REGION_PRESETS,
    *SCORE_PRESETS,
    *AFFORDANCE_PRESETS,
    *RECONSTRUCTION_PRESETS,
)
"""Every preset, the honest default first."""


def list_presets() -> tuple[str, ...]:
    """Names of all presets."""
    return tuple(preset.name for preset in PRESETS)


def get_preset(name: str = "symmetric", **changes: Any) -> Preset:
    """A preset by name.

    Args:
        name: e.g. ``deco``; the default is the honest one.
        changes: fields to change, e.g. ``threshold=0.55`` of ``haco``. The name then says so.

    Raises:
        InputError: no such preset, or it has no such field.

    Example:
        >>> get_preset("haco", threshold=0.95).name
        'haco[threshold=0.95]'
    """
    for preset in PRESETS:
        if preset.name == name:
            return _changed(preset, changes) if changes else preset
    raise InputError(f"no preset {name!r}; there are {', '.join(list_presets())}")


def _changed(preset: Preset, changes: dict[str, Any]) -> Preset:
    known = {f.name for f in dataclasses.fields(preset)} - {"name", "kind", "notes"}  # type: ignore[arg-type]
    if not set(changes) <= known:
        wrong = ", ".join(sorted(set(changes) - known))
        raise InputError(f"preset {preset.name} has no field {wrong}; it has {', '.join(sorted(known))}")
    said = ",".join(f"{key}={value}" for key, value in sorted(changes.items()))
    made: Preset = dataclasses.replace(preset, name=f"{preset.name}[{said}]", **changes)  # type: ignore[type-var]
    return made
