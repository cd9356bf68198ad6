"""Published figures: as they are printed, each with its protocol; ours only beside equal ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import get_metric, list_presets
from hoirecon.evaluation.published.entries import list_published, read_published
from hoirecon.evaluation.published.leaderboard import board_tables, factor, leaderboards, why_not
from hoirecon.evaluation.runs.results import Run, Score
from hoirecon.evaluation.tasks import list_tasks

ELSEWHERE = {"unknown", "video-category-agnostic"}
"""Protocols that no preset of ours follows."""


def _run(**changes: Any) -> Run:
    data = {"name": "damon", "version": "1", "split": "test", "topology": "smpl", "stand_in": False, "fingerprint": "x"}
    about = {
        "task": "damon/binary", "task_version": 1, "protocol": "deco", "protocols": ["deco", "symmetric"],
        "method": "mine", "oracle": False, "limited": False, "stand_in": False,
        "coverage": {"targets": 785, "ok": 785, "failed": 0, "missing": 0}, "data": data,
    }  # fmt: skip
    for name, value in changes.items():
        target = data if name in data and name != "stand_in" else about
        target[name] = value
    score = Score("f1", 0.7032, (0.69, 0.72), 785, 0, "", "up", "per_sample_mean", "deco")
    geo = replace(score, metric="geo_fp_cm", value=10.5, ci95=(10.0, 11.0), unit="cm", direction="down")
    return Run(about, (), (score, geo))


def test_every_entry_has_a_source_a_unit_and_a_protocol_of_ours() -> None:
    entries = list_published()
    assert len(entries) > 60
    for entry in entries:
        assert entry.source
        assert entry.protocol in {*list_presets(), *ELSEWHERE}, entry
        assert entry.values or entry.by_category or entry.note
        for metric in entry.values:
            if entry.protocol not in ELSEWHERE and metric not in ("rotation",):
                assert get_metric(metric)
    assert len({(e.task, e.protocol, e.method) for e in entries}) == len(entries)


def test_tasks_and_entries_agree_on_split_and_protocol() -> None:
    tasks = {task.name: task for task in list_tasks()}
    for entry in list_published():
        if entry.task in tasks and entry.protocol not in ELSEWHERE:
            assert entry.split == tasks[entry.task].split, entry
            assert entry.protocol in tasks[entry.task].protocols, entry


def test_the_withdrawn_figure_says_so() -> None:
    by_method = {e.method: e for e in list_published("damon/binary", "interactvlm")}
    assert by_method["InteractVLM"].flags == ("teacher_forced",)
    assert by_method["InteractVLM"].superseded_by == "InteractVLM damon-fix"
    assert by_method["InteractVLM damon-fix"].values["f1"] == 70.32
    assert not by_method["InteractVLM damon-fix"].flags


def test_ours_stands_only_beside_an_equal_protocol_split_and_topology() -> None:
    boards, refused = leaderboards(task="damon/binary", runs=[_run()])
    assert not refused
    assert [b.protocol for b in boards if b.ours] == ["deco"]
    table = board_tables(next(b for b in boards if b.ours))[0]
    assert table.rows[-1][:2] == ("mine (ours)", "70.32 [69.00, 72.00]")
    assert table.rows[-1][4] == "10.50 [10.00, 11.00]"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stand_in": True}, "free stand-in"),
        ({"oracle": True}, "shown the truth"),
        ({"limited": True}, "limited"),
        ({"params": {"noise": {"axis": "image", "amount": "8", "seed": 0}}}, r"spoilt by noise (image=8)"),
        ({"coverage": {"targets": 785, "missing": 3}}, "3 of its samples"),
        ({"version": "sequences+depth"}, "handed measured depth"),
        ({"topology": "smplx"}, "labels are on 'smplx', theirs on 'smpl'"),
        ({"split": "trainval"}, "split is 'trainval'"),
        ({"protocols": ["symmetric"]}, "nothing here is published"),
        ({"protocols": ["deco[threshold=0.3]"]}, "nothing here is published"),
        ({"protocols": ["unknown-to-us"], "task": "behave/contho"}, "nothing here is published"),
        ({"topology": "standin-6890"}, "labels are on 'standin-6890'"),
    ],
)
def test_what_may_not_stand_beside_them_is_refused_with_the_reason(changes: dict[str, Any], why: str) -> None:
    boards, refused = leaderboards(task="damon/binary", runs=[_run(**changes)])
    assert why in refused[0].why
    assert not any(board.ours for board in boards)


def test_a_run_under_two_protocols_stands_in_both_tables_each_with_its_own_figures() -> None:
    """And never under a protocol that its paper does not state, whatever its own are."""
    run = _run(protocols=["deco", "interactvlm", "unknown"])
    pooled_f1 = replace(run.scores[0], value=0.66, ci95=None, protocol="interactvlm")
    boards, refused = leaderboards(task="damon/binary", runs=[replace(run, scores=(*run.scores, pooled_f1))])
    assert not refused
    last = {b.protocol: board_tables(b)[0].rows[-1] for b in boards if b.ours}
    assert set(last) == {"deco", "interactvlm"}
    assert last["deco"][1] == "70.32 [69.00, 72.00]"
    assert last["interactvlm"][1] == "66.00"
    assert last["interactvlm"][4] == "-"  # another geodesic error than theirs: not printed in its column


def test_units_of_tables() -> None:
    assert factor("recall", "fraction") == 1
    assert factor("cd_object_mm", "cm") is None
    assert factor("unheard-of", "%") is None
    assert why_not(_run(), {}) != ""


def test_hostile_lists_are_named() -> None:
    good = '[[benchmark]]\ntask="a"\nsplit="b"\ntopology="c"\nmetrics={f1="%"}\n[[benchmark.entry]]\nmethod="m"\n'
    rest = 'protocol="deco"\nsource="s"\ntrust="table"\n'
    assert read_published(good + rest, "x.toml")[0].method == "m"
    for more in ("values={f2=1}\n", 'flags=["odd"]\n'):
        with pytest.raises(InputError, match=r"x\.toml, a, m"):
            read_published(good + rest + more, "x.toml")
    for text in ("a = ", "[[benchmark]]\n", good + rest + "colour=1\n", good + rest.replace("table", "rumour")):
        with pytest.raises(InputError, match=r"x\.toml"):
            read_published(text, "x.toml")
    with pytest.raises(InputError, match="nothing published for 'nothing'; known"):
        leaderboards(protocol="nothing")
