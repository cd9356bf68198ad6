"""Where do bodies touch things? Estimators of contact per vertex of body and object."""

from hoirecon.contact.geometric import GeometricConfig as GeometricConfig
from hoirecon.contact.geometric import GeometricContact as GeometricContact
from hoirecon.contact.protocols import ContactEstimate as ContactEstimate
from hoirecon.contact.protocols import ContactEstimator as ContactEstimator
from hoirecon.contact.protocols import ContactObject as ContactObject
from hoirecon.contact.protocols import PartPair as PartPair
