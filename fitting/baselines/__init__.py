"""Simple and published ways to place the object, behind one protocol, so that anybody can compare with them.

Each is a function of a :class:`BaselineProblem` that gives a :class:`BaselineResult`; those that restate a published
method say in their module what differs from it, and their configs hold its published settings.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hoirecon.fitting.baselines.centroid import fit_centroid as fit_centroid
from hoirecon.fitting.baselines.icp import IcpConfig as IcpConfig
from hoirecon.fitting.baselines.icp import fit_icp as fit_icp
from hoirecon.fitting.baselines.interactvlm_style import InteractvlmConfig as InteractvlmConfig
from hoirecon.fitting.baselines.interactvlm_style import fit_interactvlm_style as fit_interactvlm_style
from hoirecon.fitting.baselines.mask_depth import fit_mask_depth as fit_mask_depth
from hoirecon.fitting.baselines.phosa_style import PhosaConfig as PhosaConfig
from hoirecon.fitting.baselines.phosa_style import fit_phosa_style as fit_phosa_style
from hoirecon.fitting.baselines.pico_style import PicoConfig as PicoConfig
from hoirecon.fitting.baselines.pico_style import fit_pico_style as fit_pico_style
from hoirecon.fitting.baselines.procrustes import fit_procrustes as fit_procrustes
from hoirecon.fitting.baselines.settings import RESTATED as RESTATED
from hoirecon.fitting.baselines.types import Baseline as Baseline
from hoirecon.fitting.baselines.types import BaselineProblem as BaselineProblem
from hoirecon.fitting.baselines.types import BaselineResult as BaselineResult
from hoirecon.fitting.baselines.types import baseline_problem as baseline_problem

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "centroid": fit_centroid,
        "mask-depth": fit_mask_depth,
        "icp": fit_icp,
        "procrustes": fit_procrustes,
        **RESTATED,
    }
)
"""Every baseline by name; what the names of restated methods mean stands in ``settings``."""
