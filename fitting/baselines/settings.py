"""The settings in which the restated methods are compared: published, the same in small pictures, and tuned by us.

Plain names are the published settings with silhouettes in a crop of 64 px, so that tables over many scenes can be
made; ``-published`` also draws what was published (PHOSA then takes about half an hour of CPU a scene); ``-tuned`` is
the best of a small sweep on tuning scenes (``tools/baseline_sweep.py``, docs/baselines.md), as kind as we are to our
own method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from hoirecon.fitting.baselines.interactvlm_style import InteractvlmConfig, fit_interactvlm_style
from hoirecon.fitting.baselines.phosa_style import PhosaConfig, fit_phosa_style
from hoirecon.fitting.baselines.pico_style import PicoConfig, fit_pico_style
from hoirecon.fitting.baselines.types import Baseline, BaselineProblem, BaselineResult

INTERACTVLM = InteractvlmConfig(resolution=64)
"""Published but for the crop."""
INTERACTVLM_TUNED = replace(
    INTERACTVLM,
    contact_threshold=0.5,
    registration=False,
    centred_start=True,
    sigma=1e-5,
    free_scale=True,
    scale_weight=1.0,
    starts=8,
)
"""From eight upright starts on the mask's box, no registration, low contact probabilities as 0, sharp silhouettes, a
free scale under its prior."""
PHOSA = PhosaConfig(resolution=64, refined=16)
"""Published but for the crop, and of every 500 rotations only the 16 best at the start are moved."""
PHOSA_TUNED = replace(
    PHOSA,
    rotations=256,
    batch=256,
    refined=32,
    search_lr=1e-2,
    to_contact_depth=True,
    finalists=8,
    joint_iterations=100,
    joint_lr=1e-2,
    interaction_weight=0.0,
    part_weight=500.0,
    scale_weight=10.0,
)
"""Fewer rotations, of which more are moved, by longer steps; the eight best go beside the person at the contact's
depth, where contact weighs ten times as much, the person's middle nothing and the size a tenth."""
PICO = PicoConfig(resolution=64)
"""Published but for the crop."""
PICO_TUNED = replace(PICO, image_iterations=400, sigma=1e-5, iou_weight=3.0, centroid_weight=3.0, starts=8)
"""From eight upright starts with pairs of their own; sharp silhouettes that weigh ten times as much; fewer steps."""


def _interactvlm(problem: BaselineProblem) -> BaselineResult:
    return fit_interactvlm_style(problem, INTERACTVLM)


def _interactvlm_tuned(problem: BaselineProblem) -> BaselineResult:
    return fit_interactvlm_style(problem, INTERACTVLM_TUNED)


def _phosa(problem: BaselineProblem) -> BaselineResult:
    return fit_phosa_style(problem, PHOSA)


def _phosa_tuned(problem: BaselineProblem) -> BaselineResult:
    return fit_phosa_style(problem, PHOSA_TUNED)


def _pico(problem: BaselineProblem) -> BaselineResult:
    return fit_pico_style(problem, PICO)


def _pico_tuned(problem: BaselineProblem) -> BaselineResult:
    return fit_pico_style(problem, PICO_TUNED)


RESTATED: Mapping[str, Baseline] = MappingProxyType(
    {
        "interactvlm-style": _interactvlm,
        "interactvlm-style-tuned": _interactvlm_tuned,
        "interactvlm-style-published": fit_interactvlm_style,
        "phosa-style": _phosa,
        "phosa-style-tuned": _phosa_tuned,
        "phosa-style-published": fit_phosa_style,
        "pico-style": _pico,
        "pico-style-tuned": _pico_tuned,
        "pico-style-published": fit_pico_style,
    }
)
"""The restated methods by name."""
