"""Where do bodies touch things? Estimators of contact per vertex of body and object.

:class:`GeometricContact` needs no weights; :class:`InteractVLM` is the learned one (Dwivedi et al., CVPR 2025), for
checkpoints of yours. What either gives is a :class:`~hoirecon.contact_map.ContactMap` per surface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.contact.protocols import ContactEstimate as ContactEstimate
from hoirecon.contact.protocols import ContactEstimator as ContactEstimator
from hoirecon.contact.protocols import ContactObject as ContactObject
from hoirecon.contact.protocols import PartPair as PartPair
from hoirecon.contact.results import ImageContact as ImageContact
from hoirecon.contact.results import JointContact as JointContact
from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.contact.estimator import EstimatorConfig as EstimatorConfig
    from hoirecon.contact.estimator import InteractVLM as InteractVLM
    from hoirecon.contact.geometric import GeometricConfig as GeometricConfig
    from hoirecon.contact.geometric import GeometricContact as GeometricContact
    from hoirecon.contact.inference.queries import Query as Query
    from hoirecon.contact.transfer import TransferMatrix as TransferMatrix
    from hoirecon.contact.transfer import transfer_by_surface as transfer_by_surface

__all__ = [
    "ContactEstimate",
    "ContactEstimator",
    "ContactObject",
    "EstimatorConfig",
    "GeometricConfig",
    "GeometricContact",
    "ImageContact",
    "InteractVLM",
    "JointContact",
    "PartPair",
    "Query",
    "TransferMatrix",
    "transfer_by_surface",
]

# Loaded when asked for: they need torch and more, and those who only handle results do not.
_LAZY = {
    "GeometricConfig": "hoirecon.contact.geometric",
    "GeometricContact": "hoirecon.contact.geometric",
    "EstimatorConfig": "hoirecon.contact.estimator",
    "InteractVLM": "hoirecon.contact.estimator",
    "Query": "hoirecon.contact.inference.queries",
    "TransferMatrix": "hoirecon.contact.transfer",
    "transfer_by_surface": "hoirecon.contact.transfer",
}


__getattr__ = lazy_names(__name__, _LAZY)
