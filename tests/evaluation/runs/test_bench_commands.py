"""The commands' exit codes and what they print: 0 done, 1 usage, 2 input, 3 incomplete, 4 worse than the baseline."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.cli import run as hoirecon
from hoirecon.data.datasets.predictions import Prediction, write_predictions
from hoirecon.evaluation.tasks import get_task
from hoirecon.evaluation.tasks.predictor import prediction_of_truth


def _bench(*words: Any) -> int:
    return hoirecon(["bench", *map(str, words)])


def _said(damon: Path, folder: Path, keep: slice = slice(None), noise: float = 0.0) -> Path:
    """Truth with flipped vertices, as a folder of predictions."""
    rng = np.random.default_rng(3)
    said = []
    for sample in list(get_task("damon/binary").open(damon))[keep]:
        true = prediction_of_truth(sample).body_contact
        assert true is not None
        flip = rng.random(len(true)) < noise
        said.append(Prediction(sample.id, np.where(flip, 1 - true, true), "standin-6890"))
    write_predictions(said, folder)
    return folder


def _score(preds: Path, damon: Path, *more: Any) -> int:
    return _bench("score", preds, "--gt", damon, "--protocol", "deco", "--no-plots", *more)


def test_whole_predictions_are_0_and_partial_ones_3(damon: Path, tmp_path: Path, capsys: Any) -> None:
    assert _score(_said(damon, tmp_path / "all"), damon, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["coverage"]["missing"] == 0
    assert told["scores"][0] == {**told["scores"][0], "metric": "f1", "protocol": "deco", "n_failed": 0}
    assert _score(_said(damon, tmp_path / "some", slice(2, None)), damon, "--out", tmp_path / "run") == 3
    said = capsys.readouterr()
    assert "INCOMPLETE: 2 of" in said.out
    assert "samples have no usable answer" in said.err
    assert (tmp_path / "run/scores.json").is_file()  # nothing is lost


def test_wrong_usage_is_1(damon: Path, tmp_path: Path, capsys: Any) -> None:
    method = ("--method", "all", "--data", damon, "--out", tmp_path / "x")
    for words in (
        ("run", "--task", "damon/nothing", *method),
        ("run", "--task", "damon/binary", "--method", "magic", "--data", damon, "--out", tmp_path / "x"),
        ("run", "--task", "damon/binary", *method, "--shard", "9/8"),
        ("run", "--task", "damon/binary", *method, "--workers", "2"),
        ("run", "--task", "damon/binary", *method, "--protocol", "iagnet"),
        ("describe", "nothing"),
        ("leaderboard", "--protocol", "nothing"),
        ("check-data", damon, "--dataset", "nothing"),
        ("check-data", damon),
        ("score", tmp_path, "--gt", damon),
        ("compare", tmp_path),
    ):
        assert _bench(*words) == 1, words
        said = capsys.readouterr().err
        assert said.startswith("hoirecon: ")
        assert "''" not in said, said  # what was not given is asked for, not called unknown
    with pytest.raises(SystemExit) as stop:
        _bench("run", "--no-such-option")
    assert stop.value.code == 1


def test_the_closed_worlds_own_commands_call_a_wrong_name_input(capsys: Any) -> None:
    """As docs/benchmarks.md has it; the field's tasks call it usage, see above."""
    assert _bench("closedworld", "--methods", "magic") == 2
    assert "there is no method 'magic'" in capsys.readouterr().err


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_input_that_cannot_be_used_is_2_and_named(damon: Path, tmp_path: Path, capsys: Any) -> None:
    preds = _said(damon, tmp_path / "all")
    shutil.copyfile(next(preds.glob("*.npz")), preds / "again.npz")
    assert _score(preds, damon) == 2
    assert "both answer" in capsys.readouterr().err
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(_Evil()))
    assert _score(tmp_path / "evil.pkl", damon) == 2
    said = capsys.readouterr()
    assert "executed" not in said.out
    assert _bench("validate", tmp_path / "evil.pkl") == 2
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.npz").write_bytes(b"PK nothing")
    assert _bench("validate", broken) == 2
    assert "a.npz" in capsys.readouterr().err
    assert _score(tmp_path / "nowhere", damon) == 2
    assert _bench("report", tmp_path) == 2
    assert _bench("check-data", tmp_path / "nowhere", "--dataset", "damon") == 2


def test_wrong_size_and_nan_in_a_challenge_pickle_are_2(damon: Path, tmp_path: Path, capsys: Any) -> None:
    ids = [sample.id for sample in get_task("damon/binary").open(damon)]
    for name, vector in (("short", np.zeros(12)), ("nan", np.full(6890, np.nan))):
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps({i: {"gen_contact_vids": vector} for i in ids}))
        assert _score(path, damon) == 2
        assert ids[0] in capsys.readouterr().err
    path.write_bytes(pickle.dumps({i: {"gen_contact_vids": np.zeros(6890)} for i in reversed(ids)}))
    assert _score(path, damon) == 0  # another order is no fault: ids decide
    path.write_bytes(pickle.dumps({i: {"gen_contact_vids": np.zeros(6890)} for i in ids[1:]}))
    assert _score(path, damon) == 3


def test_worse_than_the_baseline_is_4(damon: Path, tmp_path: Path, capsys: Any) -> None:
    good, bad = _said(damon, tmp_path / "good", noise=0.001), _said(damon, tmp_path / "bad", noise=0.2)
    assert _score(good, damon, "--out", tmp_path / "a", "--method", "good") == 0
    assert _score(bad, damon, "--out", tmp_path / "b", "--baseline", tmp_path / "a", "--method", "bad") == 4
    assert "worse than the baseline: f1" in capsys.readouterr().err
    assert _score(good, damon, "--baseline", tmp_path / "b") == 0
    assert _bench("compare", tmp_path / "a", tmp_path / "b") == 0
    assert _bench("compare", tmp_path / "a", tmp_path / "b", "--check") == 4
    assert _bench("compare", tmp_path / "b", tmp_path / "a", "--check") == 0


def test_a_baseline_that_does_not_compare_takes_no_score_away(damon: Path, tmp_path: Path, capsys: Any) -> None:
    preds = _said(damon, tmp_path / "all")
    other = "--task", "damon/binary", "--protocol", "symmetric", "--no-plots", "--out", tmp_path / "other"
    assert _bench("score", preds, "--gt", damon, *other) == 0
    capsys.readouterr()
    assert _score(preds, damon, "--out", tmp_path / "run", "--baseline", tmp_path / "other", "--json") == 2
    said = capsys.readouterr()
    assert "not compared with the baseline" in said.err
    assert "protocol" in said.err
    told = json.loads(said.out)
    assert told["worse_than_baseline"] is None
    assert told["scores"][0]["metric"] == "f1"
    assert (tmp_path / "run/scores.json").is_file()


def test_run_resume_merge_and_report(damon: Path, tmp_path: Path, capsys: Any) -> None:
    base = ("run", "--task", "damon/binary", "--method", "category-mean", "--data", damon, "--no-plots")
    assert _bench(*base, "--out", tmp_path / "whole") == 0
    assert _bench(*base, "--out", tmp_path / "whole") == 2
    assert _bench(*base, "--out", tmp_path / "whole", "--resume") == 0
    for k in (1, 2):
        assert _bench(*base, "--out", tmp_path / f"s{k}", "--shard", f"{k}/2") == 0
    merge = ("merge", tmp_path / "s1", tmp_path / "s2", "--data", damon, "--out", tmp_path / "m", "--no-plots")
    assert _bench(*merge) == 0
    assert (tmp_path / "m/scores.json").read_bytes() == (tmp_path / "whole/scores.json").read_bytes()
    assert _bench("merge", tmp_path / "s1", "--data", damon, "--out", tmp_path / "h", "--no-plots") == 3
    for kind, ending in (("md", "md"), ("html", "html"), ("latex", "tex"), ("csv", "csv")):
        assert _bench("report", tmp_path / "m", "--format", kind, "--no-plots") == 0
        assert "category-mean" in (tmp_path / f"m/report.{ending}").read_text()
    capsys.readouterr()
    assert _bench("validate", tmp_path / "m", "--task", "damon/binary", "--gt", damon, "--json") == 0
    assert json.loads(capsys.readouterr().out)["missing"] == 0
    assert _bench("leaderboard", tmp_path / "m", "--task", "damon/binary") == 0
    said = capsys.readouterr().out
    assert "not in a table: category-mean on damon/binary: its data is a free stand-in" in said
    assert "teacher_forced" in said


def test_semantic_challenge_pickle_is_scored_pair_by_pair(damon: Path, tmp_path: Path, capsys: Any) -> None:
    """A named object gets its vertices; one that an image's answer leaves out touches nothing, and is no gap."""
    task = get_task("damon/semantic")
    images: dict[str, dict[str, list[int]]] = {}
    for sample in task.open(damon):
        truth: Any = sample.truth["body_contact"]
        images.setdefault(sample.group, {})[sample.question.label] = np.flatnonzero(truth.contact).tolist()
    several = next(name for name, objects in images.items() if len(objects) > 1)
    dropped = images[several].popitem()[0]
    path = tmp_path / "semantic.pkl"
    path.write_bytes(pickle.dumps({name: {"sem_contact_vids": objects} for name, objects in images.items()}))
    args = ("score", path, "--gt", damon, "--task", "damon/semantic", "--protocol", "deco-semantic", "--no-plots")
    assert _bench(*args, "--out", tmp_path / "run") == 0
    from hoirecon.evaluation import load_run

    run = load_run(tmp_path / "run")
    lost = next(r for r in run.rows if r.group == several and r.id.endswith(dropped.replace(" ", "_")))
    assert lost.status == "ok"
    assert lost.values["precision"] == 1  # DECO's rule: nothing predicted
    assert lost.values["recall"] in (0, 1)


def test_lists_and_descriptions(capsys: Any) -> None:
    for what in ("tasks", "datasets", "metrics", "protocols", "methods", "published"):
        assert _bench("list", what) == 0
        assert _bench("list", what, "--json") == 0
    capsys.readouterr()
    assert _bench("describe", "behave/contho", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["protocols"][0]["name"] == "contho"
    assert "CrossHOI under 'contho'" in told["published"]
