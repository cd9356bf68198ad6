"""All pictures of a run that its data allows."""

from __future__ import annotations

from pathlib import Path

from hoirecon.evaluation.run_plots.bodies import Shown, error_map, worst_sheet, worst_values
from hoirecon.evaluation.run_plots.curves import forest_plot, threshold_curves
from hoirecon.evaluation.run_plots.sweeps import precision_recall_plot
from hoirecon.evaluation.runs.results import Run
from hoirecon.files import check_writable


def draw_run(run: Run, folder: Path, shown: Shown | None = None) -> list[Path]:
    """Draw what can be drawn of a run.

    Args:
        run: what to draw.
        folder: of the PNG files; made if missing.
        shown: for body maps: the surface with predictions and truth; None leaves these two out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_writable(folder)
    drawn = [threshold_curves([run], folder / "thresholds.png")]
    headline = run.headline
    if run.by_category:
        drawn.append(forest_plot(run, folder / "categories.png"))
    if shown is not None and shown.pairs:
        drawn.append(error_map(shown, folder / "body_errors.png", f"{run.method}, {len(shown.pairs)} samples"))
        drawn.append(precision_recall_plot(shown.pairs, folder / "precision_recall.png", run.method))
        values = worst_values(run.rows, headline.metric)
        if values:
            higher = headline.direction == "up"
            drawn.append(worst_sheet(shown, values, folder / "worst.png", higher, name=headline.metric))
    return drawn
