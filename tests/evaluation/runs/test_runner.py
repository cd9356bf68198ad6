"""Runs: the same bytes twice, shards and interruptions that change nothing, failures that are counted and listed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hoirecon import progress
from hoirecon.data.datasets.predictions import Prediction, iter_predictions, write_predictions
from hoirecon.errors import InputError
from hoirecon.evaluation.runs.compare import compare_runs
from hoirecon.evaluation.runs.results import PREDICTIONS, load_run
from hoirecon.evaluation.runs.runner import RunConfig, Shard, merge_runs, run_task
from hoirecon.evaluation.tasks import TruthAskedError, get_task
from hoirecon.evaluation.tasks.methods import MethodSpec

TASK = "damon/binary"


def _run(damon: Path, method: Any, out: Path, **settings: Any) -> Path:
    outcome = run_task(TASK, damon, method, out, RunConfig(**settings))
    assert outcome.run is not None
    return outcome.run.save(out)


def test_two_runs_give_the_same_bytes(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    one = _run(damon, make_guess(), tmp_path / "a")
    other = _run(damon, make_guess(), tmp_path / "b")
    assert (one / "scores.json").read_bytes() == (other / "scores.json").read_bytes()
    told = json.loads((one / "scores.json").read_text())
    assert not {"seconds", "folder", "path"} & {key for score in told["scores"] for key in score}
    assert str(tmp_path) not in (one / "run.json").read_text()


def test_shards_merged_equal_the_whole(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    whole = _run(damon, make_guess(), tmp_path / "whole")
    parts = [tmp_path / f"part{k}" for k in (1, 2, 3)]
    for k, part in enumerate(parts, 1):
        assert run_task(TASK, damon, make_guess(), part, RunConfig(shard=Shard(k, 3))).run is None
    merged = merge_runs(parts, tmp_path / "merged", damon)
    assert merged.run is not None
    merged.run.save(tmp_path / "merged")
    assert (tmp_path / "merged/scores.json").read_bytes() == (whole / "scores.json").read_bytes()


def test_shards_may_share_a_folder_and_the_last_one_scores(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run_task(TASK, damon, make_guess(), out, RunConfig(shard=Shard(1, 2)))
    last = run_task(TASK, damon, make_guess(), out, RunConfig(shard=Shard(2, 2)))
    assert first.run is None
    assert 0 < first.done < first.targets
    assert last.run is not None
    assert last.done == last.targets


def test_shards_of_a_task_with_options_are_merged(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    """As `bench run --noise level=L3 --shard 1/2` asks them: merging opens the data with the same options."""
    task = replace(get_task(TASK), options={"fractional": "keep"})
    for number in (1, 2):
        run_task(task, damon, make_guess(), tmp_path / str(number), RunConfig(shard=Shard(number, 2)))
    merged = merge_runs([tmp_path / "1", tmp_path / "2"], tmp_path / "out", damon).run
    whole = run_task(task, damon, make_guess(), tmp_path / "whole").run
    assert merged is not None
    assert whole is not None
    assert merged.scores == whole.scores
    assert merged.about == whole.about


def test_merged_shards_keep_their_seed(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    for number, seed in ((1, 3), (2, 3), (2, 4)):
        config = RunConfig(shard=Shard(number, 2), seed=seed)
        run_task(TASK, damon, make_guess(), tmp_path / f"{number}-{seed}", config)
    merged = merge_runs([tmp_path / "1-3", tmp_path / "2-3"], tmp_path / "out", damon).run
    assert merged is not None
    assert merged.about["seed"] == 3
    with pytest.raises(InputError, match=r"the seeds \[3, 4\]"):
        merge_runs([tmp_path / "1-3", tmp_path / "2-4"], tmp_path / "out2", damon)


def test_merging_refuses_another_run_and_two_answers(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    for name, share in (("a", 0.05), ("b", 0.1)):
        run_task(TASK, damon, make_guess(share), tmp_path / name, RunConfig(shard=Shard(1, 2)))
    with pytest.raises(InputError, match=r"b is of another run .*its params"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", damon)
    run_task(TASK, damon, make_guess(), tmp_path / "c", RunConfig(shard=Shard(1, 2)))
    said = next(iter_predictions(tmp_path / "c" / PREDICTIONS))
    write_predictions([Prediction(said.id, np.zeros(6890), "standin-6890")], tmp_path / "c" / PREDICTIONS)
    with pytest.raises(InputError, match="two shards answer"):
        merge_runs([tmp_path / "a", tmp_path / "c"], tmp_path / "out2", damon)


def test_an_interrupted_run_goes_on_where_it_stopped(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    whole, out = _run(damon, make_guess(), tmp_path / "whole"), tmp_path / "run"

    def interrupt(done: int, of: int, said: Prediction) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(TASK, damon, make_guess(), out, tell=interrupt)
    assert len(list((out / PREDICTIONS).glob("*.npz"))) == 3
    with pytest.raises(InputError, match="go on with --resume"):
        run_task(TASK, damon, make_guess(), out)
    again = make_guess()
    _run(damon, again, out, resume=True)
    told = load_run(out)
    assert len(again.asked) == len(told.rows) - 3
    assert (out / "scores.json").read_bytes() == (whole / "scores.json").read_bytes()


def test_answers_of_other_parameters_are_refused(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    _run(damon, make_guess(), tmp_path / "run")
    with pytest.raises(InputError, match=r"another run \(its params is .*'share': 0.05"):
        run_task(TASK, damon, make_guess(0.2), tmp_path / "run", RunConfig(resume=True))


def test_a_sample_that_fails_counts_as_worst_and_is_listed(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    run = load_run(_run(damon, make_guess(0.05, "0002"), tmp_path / "run"))
    (failed,) = run.failed
    assert failed.reason == "RuntimeError: out of memory in line two"
    assert failed.values["f1"] == failed.values["precision"] == failed.values["recall"] == 0
    assert failed.values["geo_fp_cm"] is not None
    assert failed.values["geo_fp_cm"] > 150
    f1 = run.score("f1")
    assert (f1.n, f1.n_failed, f1.n_ok) == (len(run.rows), 1, len(run.rows) - 1)
    values = [row.values["f1"] or 0.0 for row in run.rows]
    assert f1.value == pytest.approx(np.mean(values), abs=1e-9)
    assert f1.value_ok == pytest.approx(sum(values) / f1.n_ok, abs=1e-9)
    assert failed.id in (tmp_path / "run/report.md").read_text()


class Peeker:
    """Asks for what it must not see."""

    name, params = "peeker", {}  # type: ignore[var-annotated]

    def predict(self, question: Any) -> Prediction:
        return Prediction(question.id, question.contact, "standin-6890")


def test_what_is_no_predictor_is_told_before_any_answer(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    for odd, says in ((type(make_guess()), "not its class"), (SimpleNamespace(name="x", params={}), "has no predict")):
        with pytest.raises(InputError, match=f"is no predictor.*{says}"):
            run_task(TASK, damon, odd, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_predictor_that_asks_for_truth_stops_the_run(damon: Path, tmp_path: Path) -> None:
    with pytest.raises(TruthAskedError, match="'contact', which is ground truth"):
        run_task(TASK, damon, Peeker(), tmp_path / "run")
    assert not list((tmp_path / "run" / PREDICTIONS).glob("*.npz"))


class Short:
    """Answers on another body."""

    name, params = "short", {}  # type: ignore[var-annotated]

    def predict(self, question: Any) -> Prediction:
        return Prediction(question.id, np.zeros(100))


def test_answers_of_another_size_fail_with_a_reason(damon: Path, tmp_path: Path) -> None:
    outcome = run_task(TASK, damon, Short(), tmp_path / "run")
    assert outcome.run is not None
    assert {row.status for row in outcome.run.rows} == {"failed"}
    assert "has 100 values" in outcome.run.rows[0].reason


class Elsewhere:
    """Says of every sample that another one has failed."""

    name, params = "elsewhere", {}  # type: ignore[var-annotated]

    def predict(self, question: Any) -> Prediction:
        return Prediction("another", failed="no idea")


def test_a_failure_of_another_id_is_this_ones(damon: Path, tmp_path: Path) -> None:
    run = run_task(TASK, damon, Elsewhere(), tmp_path / "run", RunConfig(limit=2)).run
    assert run is not None, "every sample has its answer"
    assert [row.status for row in run.rows] == ["failed"] * 2
    assert "of 'another'" in run.rows[0].reason


def test_a_folder_of_other_things_is_not_written_to(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        run_task(TASK, damon, make_guess(), tmp_path)


def test_a_limited_run_says_so(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    run = load_run(_run(damon, make_guess(), tmp_path / "run", limit=4))
    assert len(run.rows) == 4
    assert run.about["limited"]
    assert "LIMITED" in run.summary()


@pytest.mark.parametrize("method", ["all", "nothing", "category-mean", "truth"])
def test_simple_methods_answer_every_sample(method: str, damon: Path, tmp_path: Path) -> None:
    run = load_run(_run(damon, MethodSpec(method), tmp_path / "run"))
    assert not run.failed
    assert run.about["oracle"] == (method == "truth")
    if method == "truth":
        floors = {s.metric: s.value for s in run.scores if s.protocol == "symmetric"}
        assert floors["f1"] == floors["precision"] == floors["recall"] == 1
        assert floors["geo_cm"] == floors["geo_fp_only_cm"] == floors["geo_p95_cm"] == 0
    if method == "all":
        assert run.score("recall").value == 1
    if method == "nothing":
        assert run.score("precision").value == pytest.approx(1)  # DECO's rule for empty predictions
        assert run.score("f1").value == pytest.approx(np.mean([row.values["recall"] != 0 for row in run.rows]))


def test_scoring_that_takes_long_shows_how_far_it_is(
    damon: Path, make_guess: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every sample is read, also those without prediction: 300 scenes of the closed world once took minutes, unseen."""
    task = get_task(TASK)
    said = [make_guess().predict(sample.question) for sample in list(task.open(damon))[:3]]
    task.evaluate(said, damon)
    assert "reading" not in capsys.readouterr().err  # quick enough
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    assert len(task.evaluate(said, damon).missing) == 9
    assert "reading damon test" in (shown := capsys.readouterr().err)
    assert "/12" in shown
    task.evaluate(said, damon, progress=False)
    assert "reading" not in capsys.readouterr().err


def test_predictions_in_memory_score_as_those_of_a_run(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    run = load_run(_run(damon, make_guess(), tmp_path / "run"))
    task = get_task(TASK)
    res = task.evaluate(iter_predictions(tmp_path / "run" / PREDICTIONS), damon, method="guess")
    assert [s.value for s in res.scores] == pytest.approx([s.value for s in run.scores], rel=1e-8)
    assert "guess" in res.summary()
    assert {"id", "f1", "status", "symmetric.f1"} <= res.per_sample[0].keys()
    semantic = get_task("damon/semantic").open(damon)
    assert len(semantic) > len(task.open(damon)) / 2


def test_wrong_handed_in_predictions_are_named(damon: Path, make_guess: Any) -> None:
    task = get_task(TASK)
    ids = [sample.id for sample in task.open(damon)]
    good = [make_guess().predict(sample.question) for sample in task.open(damon)]
    with pytest.raises(InputError, match=r"of type ndarray: give Prediction\(id, body_contact"):
        task.evaluate({said.id: said.body_contact for said in good}, damon)
    with pytest.raises(InputError, match=f"two predictions for '{ids[0]}'"):
        task.evaluate([*good, good[0]], damon)
    with pytest.raises(InputError, match=r"does not have \(nowhere\)"):
        task.evaluate([*good, Prediction("nowhere", np.zeros(6890))], damon)
    with pytest.raises(InputError, match=f"sample '{ids[1]}'.*has 7 values"):
        task.evaluate([good[0], Prediction(ids[1], np.zeros(7)), *good[2:]], damon)
    with pytest.raises(InputError, match="vertices differ in their order"):
        task.evaluate([Prediction(ids[0], np.zeros(6890), "smpl"), *good[1:]], damon)
    partial = task.evaluate(good[:-2], damon)
    assert [row.id for row in partial.missing] == ids[-2:]


def test_a_method_that_predicts_nothing_compares_as_it_scores(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    """Pooled precision of nothing is 0 in scores.json, and so it is beside another run's."""
    settings = RunConfig(protocol="interactvlm")
    runs = [
        run_task("damon/binary", damon, make_guess(share), tmp_path / str(share), settings).run for share in (0.5, 0.0)
    ]
    assert runs[0] is not None
    assert runs[1] is not None
    (found,) = compare_runs([runs[0], runs[1]], ["precision"])
    assert found.b_value == pytest.approx(runs[1].score("precision").value)
    assert found.verdict == "worse"


def test_shards_and_settings_are_checked(damon: Path, make_guess: Any, tmp_path: Path) -> None:
    for text in ("0/3", "4/3", "3", "a/b", "1/-2"):
        with pytest.raises(InputError, match="a shard is like 3/8"):
            Shard.parse(text)
    with pytest.raises(InputError, match="the engine 'local' is one process"):
        run_task(TASK, damon, make_guess(), tmp_path / "x", RunConfig(workers=2))
    with pytest.raises(InputError, match="scores affordance, but damon/binary asks"):
        run_task(TASK, damon, make_guess(), tmp_path / "x", RunConfig(protocol="iagnet"))
