"""Pictures of runs (extra ``plots``): curves over thresholds, categories, noise ladder, body maps, worst cases."""

from hoirecon.evaluation.run_plots.bodies import Shown as Shown
from hoirecon.evaluation.run_plots.bodies import error_map as error_map
from hoirecon.evaluation.run_plots.bodies import worst_sheet as worst_sheet
from hoirecon.evaluation.run_plots.curves import forest_plot as forest_plot
from hoirecon.evaluation.run_plots.curves import noise_ladder as noise_ladder
from hoirecon.evaluation.run_plots.curves import threshold_curves as threshold_curves
from hoirecon.evaluation.run_plots.draw import draw_run as draw_run
from hoirecon.evaluation.run_plots.sweeps import precision_recall_plot as precision_recall_plot
