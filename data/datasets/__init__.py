"""Datasets of the field as lists of samples: what a predictor may see, and apart from it what is true."""

from hoirecon.data.datasets.folder_checks import Finding as Finding
from hoirecon.data.datasets.folder_checks import check_data as check_data
from hoirecon.data.datasets.registry import DatasetEntry as DatasetEntry
from hoirecon.data.datasets.registry import list_datasets as list_datasets
from hoirecon.data.datasets.registry import open_dataset as open_dataset
from hoirecon.data.datasets.samples import AffordanceTruth as AffordanceTruth
from hoirecon.data.datasets.samples import BodyContactTruth as BodyContactTruth
from hoirecon.data.datasets.samples import CorrespondenceTruth as CorrespondenceTruth
from hoirecon.data.datasets.samples import Dataset as Dataset
from hoirecon.data.datasets.samples import ObjectContactTruth as ObjectContactTruth
from hoirecon.data.datasets.samples import Question as Question
from hoirecon.data.datasets.samples import ReconstructionTruth as ReconstructionTruth
from hoirecon.data.datasets.samples import Sample as Sample
from hoirecon.data.datasets.samples import Truth as Truth
