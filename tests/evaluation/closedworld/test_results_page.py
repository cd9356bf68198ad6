"""The results page from cheap methods on two scenes; targets from made-up figures; what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld import results_page
from hoirecon.evaluation.closedworld.page_text import caption, flags_of, markdown_table, seconds
from hoirecon.evaluation.closedworld.plots import styles
from hoirecon.evaluation.closedworld.results_page import PageConfig, check_speed, choose, dense, make_page
from hoirecon.evaluation.closedworld.summary import WORST, summary
from hoirecon.evaluation.closedworld.targets import Verdict, judge

pytest.importorskip("open3d")
pytest.importorskip("matplotlib")

SPEED = {
    "figures": {
        "from_scratch_cpu_s": {"median": 0.9, "q25": 0.8, "q75": 1.0, "target": 1.0, "at_least": False},
        "adam_over_lm": {"median": 6.0, "target": 7.0, "at_least": True},
        "preparation_cpu_s": {"median": 3.0, "target": None, "at_least": False},
    },
    "curves": {"hypotheses": [{"x": 16, "cpu_s": 0.2}, {"x": 256, "cpu_s": 0.9}], "objects": [{"x": 1, "cpu_s": 1}]},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two scenes, one of them damaged beyond its methods' wits."""
    root = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOIRECON_HOME", str(root / "home"))
        (root / "speed.json").write_text(json.dumps(SPEED))
        config = PageConfig((0, 3), ("icp", "nothing", "procrustes"), ("L0", "L2"), worst=1, typical=1)
        return make_page(config, root / "results", root / "rows", root / "speed.json")


def test_the_page_has_every_part_and_all_its_files(page: Path) -> None:
    text = page.read_text()
    for heading in ("Targets", "L0", "L2", "Noise ladder", "Distribution of errors", "Time against accuracy", "Speed",
                    "What `icp` says of itself", "By category and interaction", "Pictures", "Made with"):  # fmt: skip
        assert f"## {heading}\n" in text
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 6
    assert {p.name for p in page.parent.iterdir()} == {"README.md", "results.json", *pictures}
    assert "hoirecon bench closedworld-page --seeds 0,3 --methods icp,nothing,procrustes" in text
    assert "speed: from scratch | <= 1 s | 0.9 s | met" in text
    assert "speed: adam over lm | >= 7 times | 6 times | **not met**" in text
    assert "| preparation | 3 s |  | – |" in text
    assert str(page.parent.parent) not in text
    assert "Failed at L2" in text  # procrustes is given no correspondences on this track


def test_its_tables_and_json_agree(page: Path) -> None:
    told = json.loads((page.parent / "results.json").read_text())
    icp = told["levels"]["L2"]["methods"]["icp"]["with_contact"]["chamfer_object_cm"]
    cell = f"{icp['median']:.2f} [{icp['ci95'][0]:.2f}, {icp['ci95'][1]:.2f}]"
    assert f"| `icp` | 2 | {cell} |" in page.read_text()
    assert f"| `icp` | {icp['median']:.2f}; " in page.read_text()  # groups: too few scenes for an interval
    errors = [row["chamfer_object_cm"] for row in told["results"]["L2"]["icp"].values()]
    assert np.median(errors) == pytest.approx(icp["median"], abs=1e-3)
    assert told["scenes"].keys() == {"0", "3"}


def test_a_second_page_is_made_from_the_kept_results_and_is_the_same(page: Path, tmp_path: Path) -> None:
    root = page.parent.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOIRECON_HOME", str(root / "home"))
        patch.setattr("hoirecon.evaluation.closedworld.bench.run_sample", None)  # nothing may run again
        config = PageConfig((0, 3), ("icp", "nothing", "procrustes"), ("L0", "L2"), worst=1, typical=1)
        again = make_page(config, tmp_path / "results", root / "rows", root / "speed.json")
    for file in page.parent.iterdir():
        assert (again.parent / file.name).read_bytes() == file.read_bytes(), file.name


# ------------------------------------------------------------------------------------------------------------- targets
def _rows(errors: list[float], best: float = 1.0, **changes: Any) -> list[dict[str, Any]]:
    return [
        {**WORST, "scene": f"{k}", "seed": k, "method": "m", "failed": None, "category": "box", "interaction": "sit",
         "occluded": 0.4, "cpu_seconds": 0.5, "chamfer_object_cm": cm, "chamfer_best_cm": cm * best, "flags": [],
         "penetration_mm": 5.0, **changes}
        for k, cm in enumerate(errors)
    ]  # fmt: skip


def _levels(**rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Results at L2 (and L0, L1 alike) of methods with the given rows; names with underscores for dashes."""
    methods = {name.replace("_", "-"): summary(found) for name, found in rows.items()}
    return {level: {"methods": methods} for level in ("L0", "L1", "L2")}


def _find(verdicts: list[Verdict], *words: str) -> Verdict:
    (found,) = [v for v in verdicts if all(word in v.what for word in words)]
    return found


def test_targets_are_met_and_missed_at_their_limits() -> None:
    verdicts = judge(_levels(hoirecon=_rows([0.8] * 50)), "hoirecon")
    assert _find(verdicts, "L0", "median").met is True
    assert _find(judge(_levels(hoirecon=_rows([0.81] * 50)), "hoirecon"), "L0", "median").met is False
    some = judge(_levels(hoirecon=_rows([1.0] * 87 + [9.0] * 13)), "hoirecon")
    assert _find(some, "L2, scenes with contact", "share").measured == pytest.approx(0.87)
    assert _find(some, "L2, scenes with contact", "share").met is False
    assert _find(some, "L2, with contact, more", "share").met is True


def test_scenes_without_contact_count_only_beside() -> None:
    rows = _rows([1.0] * 10) + _rows([30.0] * 30, interaction="no_contact")
    found = _find(judge(_levels(hoirecon=rows), "hoirecon"), "L2, scenes with contact", "median Chamfer")
    assert (found.measured, found.met, found.beside) == (1.0, True, "all scenes: 30.00")


def test_the_joint_stage_is_judged_by_the_body_before_and_after() -> None:
    body = {"touching_given_cm": 4.0, "touching_cm": 3.0, "landmark_given_px": 2.0, "landmark_px": 2.1}
    verdicts = judge(_levels(hoirecon=_rows([1.0] * 5, **body)), "hoirecon")
    assert _find(verdicts, "fall").measured == pytest.approx(0.25)
    assert [_find(verdicts, word).met for word in ("fall", "rise", "deepest")] == [False, False, True]


def test_the_best_setting_of_a_peer_counts() -> None:
    levels = _levels(hoirecon=_rows([2.0] * 5), pico_style=_rows([9.0] * 5), pico_style_tuned=_rows([5.0] * 5))
    found = _find(judge(levels, "hoirecon"), "pico-style", "ratio")
    assert (found.measured, found.met) == (2.5, False)
    assert "`pico-style` 9.00 cm" in found.beside
    assert _find(judge(levels, "hoirecon"), "phosa-style", "ratio").met is None


def test_choice_and_calibration_are_judged() -> None:
    rows = _rows([1.0] * 6, best=0.9) + _rows([9.0] * 4, flags=["ambiguous"]) + _rows([8.0] * 2, best=0.5)
    verdicts = judge(_levels(hoirecon=rows), "hoirecon")
    assert _find(verdicts, "catches").measured == pytest.approx(4 / 6, abs=1e-3)
    assert _find(verdicts, "successes").met is True
    assert _find(verdicts, "gap in the share").measured == pytest.approx(2 / 12, abs=1e-3)
    assert _find(verdicts, "covariance").met is None
    told = judge(_levels(hoirecon=_rows([1.0] * 5, nse_per_dof=1.6)), "hoirecon")
    assert (_find(told, "covariance").measured, _find(told, "covariance").met) == (1.6, False)


def test_what_was_not_run_is_neither_met_nor_missed() -> None:
    assert all(v.met is None for v in judge({}, "hoirecon"))


# -------------------------------------------------------------------------------------------------------------- pieces
def test_worst_and_typical_scenes_are_chosen_by_figures() -> None:
    rows = _rows([float(k) for k in range(9)], pose={}) + _rows([50.0, 60.0], pose={}, interaction="no_contact")
    rows += _rows([100.0])  # failed: nothing to draw
    chosen = {kind: [r["chamfer_object_cm"] for r in found] for kind, found in choose(rows, 2, 3).items()}
    assert chosen == {"worst": [8.0, 7.0], "worst without contact": [60.0], "typical": [5.0, 4.0, 3.0]}


def test_styles_tell_all_methods_apart() -> None:
    names = ["hoirecon", "hoirecon-object", "oracle-start", "icp", "nothing", "mine", "yours"]
    names += [f"{peer}{how}" for peer in ("pico-style", "phosa-style") for how in ("", "-tuned", "-published")]
    assert len({(s.color, str(s.dash), s.marker) for s in styles(names).values()}) == len(names)


def test_text_pieces() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | --: |\n| x\\|y | 1 |"
    assert [seconds(v) for v in (None, 0.0001, 0.012, 0.5, 12.34)] == ["–", "< 0.001", "0.012", "0.50", "12.3"]
    row = _rows([12.0], best=0.5, abs_log_scale=np.log(1.5), flags=["ambiguous"])[0]
    assert "Chamfer 12.0 cm; best returned pose 6.0 cm" in caption(row)
    assert "size off by 50 %" in caption(row)
    assert flags_of(row) == "flags: ambiguous"
    value = {"a": [1, {"b": None}], "c": {}, "d": {"e": {"f": 1.5}}}
    assert all(json.loads(dense(value, depth)) == value for depth in range(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": ("L7",)}, "levels of L0"),
        ({"methods": ()}, "needs seeds"),
        ({"methods": ("magic",)}, "there are: .*hoirecon"),
        ({"main": "hoirecon"}, "not among those"),
        ({"seeds": ()}, "needs seeds"),
    ],
)
def test_mistakes_are_named_before_any_work(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = PageConfig(**({"seeds": (0,), "methods": ("nothing",), "levels": ("L0",)} | changes))
    with pytest.raises(InputError, match=message):
        make_page(config, tmp_path / "results")


def test_folders_that_hold_something_else_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "note.txt").write_text("mine")
    monkeypatch.setattr(results_page, "run_bench", None)
    with pytest.raises(InputError, match="not empty"):
        make_page(PageConfig((0,), ("nothing",), ("L0",)), tmp_path)


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {"figures": {"a": {"q25": 1.0}}},
        {"figures": {"a": {"median": float("nan")}}},
        {"figures": [1]},
        {"curves": {"faces": []}},
        {"curves": {"faces": [{"x": 1}]}},
        {"curves": {"faces": [{"x": 1, "cpu_s": "2"}]}},
    ],
)
def test_files_of_other_speeds_are_refused(told: Any) -> None:
    with pytest.raises(InputError, match="fit-speed"):
        check_speed(told, Path("speed.json"))
    assert check_speed(SPEED, Path("speed.json")) == SPEED
