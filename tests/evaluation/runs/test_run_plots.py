"""Pictures of runs: what they count, and that they are drawn, the same bytes twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.run_plots import Shown, draw_run, forest_plot, noise_ladder, threshold_curves
from hoirecon.evaluation.run_plots.bodies import (
    SKIN,
    error_rates,
    outcome_colors,
    worst_sheet,
)
from hoirecon.evaluation.run_plots.curves import band, reached
from hoirecon.evaluation.run_plots.sweeps import THRESHOLDS, sweep_table
from hoirecon.evaluation.runs.results import Run, SampleRow, Score
from hoirecon.mesh import Mesh

pytest.importorskip("matplotlib")
TRIANGLES = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), np.array([[0, 1, 2], [1, 3, 2]]), "plate")


def _run(values: list[float | None], method: str = "mine") -> Run:
    rows = tuple(
        SampleRow(f"s{i}", "cup" if i % 2 else "bat", f"s{i}", "failed" if v is None else "ok", values={"f1": v or 0.0})
        for i, v in enumerate(values)
    )
    score = Score("f1", 0.5, (0.4, 0.6), len(rows), 0, "", "up", "per_sample_mean", "symmetric")
    about = {"protocol": "symmetric", "protocols": ["symmetric"], "method": method}
    return Run(about, rows, (score,), {"cup": (score,), "bat": (score,)})


def _shown() -> Shown:
    pairs: Any = {
        "s0": (np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0])),
        "s1": (None, np.array([1.0, 0, 0, 0])),
    }
    return Shown(TRIANGLES, pairs)


def test_curves_count_failures_among_all() -> None:
    ok = np.array([True, True, False, True])
    x, share = reached(np.array([0.2, 0.6, 0.0, 0.6]), ok, higher=True)
    assert share[0] == 0.75
    assert share[np.searchsorted(x, 0.5) - 1] == 0.5
    assert share[-1] == 0
    x, share = reached(np.array([1.0, 3.0, 99.0, 2.0]), ok, higher=False)
    assert share[-1] == 0.75
    assert share[np.searchsorted(x, 2.5) - 1] == 0.5


def test_rates_by_hand() -> None:
    true, false_positive, false_negative = error_rates(_shown())
    assert true.tolist() == [1.0, 0.0, 0.5, 0.0]
    assert false_positive.tolist() == [0.0, 0.5, 0.0, 0.0]
    assert false_negative.tolist() == [0.5, 0.0, 0.5, 0.0]


def test_colours_of_hits_and_errors() -> None:
    tint = outcome_colors(*_shown().pairs["s0"])
    assert len({tuple(row) for row in tint.round(3).tolist()}) == 4
    assert tint[3].tolist() == list(SKIN)
    blank = outcome_colors(None, np.array([1.0, 0.0]))
    assert blank[0].tolist() == outcome_colors(np.zeros(2), np.array([1.0, 0.0]))[0].tolist()


def test_all_pictures_are_drawn_and_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        drawn = draw_run(_run([0.1, 0.9, None]), tmp_path / name, _shown())
        names = ["body_errors.png", "categories.png", "precision_recall.png", "thresholds.png", "worst.png"]
        assert sorted(p.name for p in drawn) == names
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    ladder = {f"level {k}": [_run([0.9 - 0.3 * k]), _run([0.5], "other")] for k in range(3)}
    assert noise_ladder(ladder, tmp_path / "ladder.png").stat().st_size > 5000
    assert threshold_curves([_run([0.1]), _run([0.7], "other")], tmp_path / "two.png").is_file()


def test_bands_hold_the_share_and_draw_groups_together() -> None:
    rng = np.random.default_rng(0)
    values, ok, grid = rng.random(40), np.arange(40) > 4, np.linspace(0, 1, 11)
    share = ((values[:, None] >= grid) & ok[:, None]).mean(0)
    low, high = band(values, ok, [f"g{k}" for k in range(40)], grid, higher=True)
    assert ((low <= share) & (share <= high)).all()
    assert high[0] < 1  # the failed ones reach nothing
    wide = band(values, ok, [f"g{k // 10}" for k in range(40)], grid, higher=True)
    assert (wide[1] - wide[0]).mean() != pytest.approx((high - low).mean(), rel=0.01)
    alone = band(values, ok, ["g"] * 40, grid, higher=True)
    assert alone[0] == pytest.approx(share)
    assert np.array_equal(alone[0], alone[1])
    below = band(np.array([1.0, 3.0]), np.array([True, True]), ["a", "a"], np.array([0.0, 2.0, 4.0]), higher=False)
    assert below[0].tolist() == [0.0, 0.5, 1.0]


def test_sweep_by_hand_with_a_failed_sample() -> None:
    """s0 at 0.5: hit {0}, predicted {0, 1}, true {0, 2}: 1/2, 1/2, 1/2; s1 failed: 0. Means 1/4."""
    table = sweep_table(_shown().pairs)
    assert table[THRESHOLDS.index(0.5)] == pytest.approx([0.25, 0.25, 0.25])
    with pytest.raises(InputError, match="no samples"):
        sweep_table({})


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        threshold_curves([_run([0.1])], tmp_path / "x.png", ["geo_cm"])
    with pytest.raises(InputError, match="two levels"):
        noise_ladder({"0": [_run([0.1])]}, tmp_path / "x.png")
    with pytest.raises(InputError, match="no categories"):
        forest_plot(_run([0.1]), tmp_path / "x.png", "recall")
    with pytest.raises(InputError, match="3 labels, the mesh 4"):
        Shown(TRIANGLES, {"s": (None, np.zeros(3))})
    with pytest.raises(InputError, match="no sample of the run"):
        worst_sheet(_shown(), {"elsewhere": 1.0}, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
