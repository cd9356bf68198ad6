"""Where are body and object? Least-squares fits of body parameters and object poses to what is seen."""

from hoirecon.fitting.body_fit import fit_body as fit_body
from hoirecon.fitting.body_fit import refine_body as refine_body
from hoirecon.fitting.body_links import contact_lines as contact_lines
from hoirecon.fitting.body_links import contact_links as contact_links
from hoirecon.fitting.body_types import BodyFit as BodyFit
from hoirecon.fitting.body_types import BodyFitConfig as BodyFitConfig
from hoirecon.fitting.body_types import BodyLine as BodyLine
from hoirecon.fitting.body_types import BodyLink as BodyLink
from hoirecon.fitting.body_types import PointTarget as PointTarget
from hoirecon.fitting.fit_config import FitConfig as FitConfig
from hoirecon.fitting.fit_config import StageConfig as StageConfig
from hoirecon.fitting.object_fit import ObjectAlternative as ObjectAlternative
from hoirecon.fitting.object_fit import ObjectFit as ObjectFit
from hoirecon.fitting.object_fit import ObjectToFit as ObjectToFit
from hoirecon.fitting.object_fit import fit_objects as fit_objects
from hoirecon.fitting.objective import Quadratic as Quadratic
from hoirecon.fitting.objective import Residuals as Residuals
from hoirecon.fitting.objective import Term as Term
from hoirecon.fitting.objective import TermReport as TermReport
from hoirecon.fitting.objective import gmof as gmof
from hoirecon.fitting.objective import linearise as linearise
from hoirecon.fitting.objective import report_term as report_term
from hoirecon.fitting.soft_silhouette import soft_silhouette as soft_silhouette
from hoirecon.fitting.solver import LMConfig as LMConfig
from hoirecon.fitting.solver import LMResult as LMResult
from hoirecon.fitting.solver import levenberg_marquardt as levenberg_marquardt
