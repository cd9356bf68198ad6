"""Runs of benchmarks: predicting, scoring, intervals, comparison, reports."""

from hoirecon.evaluation.runs.bootstrap import bootstrap as bootstrap
from hoirecon.evaluation.runs.bootstrap import holm as holm
from hoirecon.evaluation.runs.bootstrap import paired as paired
from hoirecon.evaluation.runs.results import Run as Run
from hoirecon.evaluation.runs.results import SampleRow as SampleRow
from hoirecon.evaluation.runs.results import Score as Score
from hoirecon.evaluation.runs.results import load_run as load_run
