"""Datasets of the field as lists of samples: what a predictor may see, and apart from it what is true."""

from hoirecon.data.datasets.samples import AffordanceTruth as AffordanceTruth
from hoirecon.data.datasets.samples import BodyContactTruth as BodyContactTruth
from hoirecon.data.datasets.samples import CorrespondenceTruth as CorrespondenceTruth
from hoirecon.data.datasets.samples import Dataset as Dataset
from hoirecon.data.datasets.samples import ObjectContactTruth as ObjectContactTruth
from hoirecon.data.datasets.samples import Question as Question
from hoirecon.data.datasets.samples import ReconstructionTruth as ReconstructionTruth
from hoirecon.data.datasets.samples import Sample as Sample
from hoirecon.data.datasets.samples import Truth as Truth
