"""Tasks of the benchmarks, and who answers them."""

from hoirecon.evaluation.tasks.predictor import Predictor as Predictor
from hoirecon.evaluation.tasks.predictor import TruthAskedError as TruthAskedError
from hoirecon.evaluation.tasks.task import Task as Task
from hoirecon.evaluation.tasks.task import get_task as get_task
from hoirecon.evaluation.tasks.task import list_tasks as list_tasks
