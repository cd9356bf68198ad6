"""How good is it? Metrics of poses against truth, and benchmarks that anyone can run."""

from hoirecon.evaluation.closedworld.bench import METHODS as METHODS
from hoirecon.evaluation.closedworld.bench import run_bench as run_bench
from hoirecon.evaluation.closedworld.methods import Prediction as Prediction
from hoirecon.evaluation.closedworld.methods import Problem as Problem
from hoirecon.evaluation.closedworld.results_page import PageConfig as PageConfig
from hoirecon.evaluation.closedworld.results_page import make_page as make_page
