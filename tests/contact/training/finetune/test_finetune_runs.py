"""Whole runs on toy weights: round trip to the estimator, kill and resume, several processes, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hoirecon
from hoirecon import cli
from hoirecon.contact.estimator import InteractVLM
from hoirecon.contact.training.finetune.engine import Finetuner, make_accelerator
from hoirecon.contact.training.finetune.run import Prepared, dry_run, finetune
from hoirecon.contact.training.step import Sample
from hoirecon.data.datasets.fixtures import write_damon
from hoirecon.errors import InputError
from tests.contact.training.finetune.toy_run import states, toy_run, write_toy_start

ROOT = Path(hoirecon.__file__).resolve().parent.parent
WORKER = "tests.contact.training.finetune.worker"


def quiet(line: str) -> None:
    pass


def start_worker(*words: str, **env: str) -> subprocess.Popen[str]:
    told = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.Popen(
        [sys.executable, "-m", WORKER, *words], cwd=ROOT, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finished(worker: subprocess.Popen[str]) -> str:
    out, err = worker.communicate(timeout=900)
    assert worker.returncode == 0, err[-3000:]
    return out


# ------------------------------------------------------------------------------------------------------- whole way
def test_from_lisas_folder_to_contact(tmp_path: Path) -> None:
    """Init in the released layout, DAMON's stand-in, training, ``from_pretrained(OUT)``: contact differs."""
    run = toy_run(tmp_path, steps=12, batch=3, warmup=2, rate=3e-3, validate_every=6, checkpoint_every=6)
    assert finetune(run, tell=quiet) == run.out
    held = json.loads((run.out / "checkpoints" / "step-000012" / "state.json").read_text())
    totals = [row["total"] for row in held["history"]]
    assert np.mean(totals[-4:]) < 0.8 * np.mean(totals[:4])
    assert [row["step"] for row in held["validation"]] == [6, 12]
    assert {"score", "human", "answered", "questions"} <= held["validation"][0].keys()
    photograph = next((tmp_path / "damon" / "images").iterdir())
    token = "Sure, the contact mask is {token}."
    found = [_contact(folder, photograph, token) for folder in (run.init, run.out)]
    assert np.abs(found[0] - found[1]).max() > 0.02
    logs = list((run.out / "logs").iterdir())
    assert logs
    card = (run.out / "card.md").read_text()
    for said in ("MPI licence", "stand-ins", "12 tensors", "hoirecon.json", "LoRA of rank 8", "| 12 |"):
        assert said in card
    peft = json.loads((run.out / "adapter" / "adapter_config.json").read_text())
    assert (peft["r"], sorted(peft["target_modules"])) == (8, ["q_proj", "v_proj"])
    # What is merged is what was trained: the best weights, updates folded in.
    best = load_file(run.out / "checkpoints" / "best" / "trained.safetensors")
    merged = InteractVLM.from_pretrained(run.out, dtype="float32", cache=None, verify=True).network
    base = InteractVLM.from_pretrained(run.init, dtype="float32", cache=None).network
    assert torch.equal(merged.state_dict()["token_projection.2.weight"], best["token_projection.2.weight"])
    layer = "vlm.language_model.model.layers.0.self_attn.v_proj"
    update = 2 * best[f"{layer}.lora_B.default.weight"] @ best[f"{layer}.lora_A.default.weight"]
    change = merged.state_dict()[f"{layer}.weight"] - base.state_dict()[f"{layer}.weight"]
    assert float(update.abs().max()) > 1e-5
    torch.testing.assert_close(change, update, rtol=1e-3, atol=1e-6)
    frozen = "vlm.language_model.model.layers.0.mlp.up_proj.weight"
    assert torch.equal(merged.state_dict()[frozen], base.state_dict()[frozen])


def _contact(folder: Path, photograph: Path, answer: str) -> np.ndarray:
    """Contact by a given answer, so that both weights localise."""
    from hoirecon.contact.inference.queries import Query

    model = InteractVLM.from_pretrained(folder, dtype="float32", cache=None)
    return np.asarray(model.ask([Query("human", photograph, "surfboard", answer=answer)])[0].probability)


def test_a_run_goes_on_from_interactvlms_weights(tmp_path: Path) -> None:
    """The result of a run is a start of the next, and nothing is drawn anew."""
    first = toy_run(tmp_path, steps=2, validate_samples=0)
    finetune(first, tell=quiet)
    second = replace(toy_run(tmp_path, start=first.out, steps=2, validate_samples=0), out=tmp_path / "further")
    finetune(second, tell=quiet)
    told = json.loads((second.out / "run.json").read_text())["start"]
    assert (told["new_tensors"], told["kind"]) == ([], "InteractVLM")


def test_half_precision_and_accumulated_passes(tmp_path: Path) -> None:
    run = toy_run(tmp_path, steps=4, batch=1, accumulate=3, precision="bf16", validate_samples=1, validate_every=4)
    finetune(run, tell=quiet)
    kept = states(run.out)
    assert {value.dtype for value in kept.values()} == {torch.float32}
    model = InteractVLM.from_pretrained(run.out, dtype="auto", cache=None)
    assert json.loads((run.out / "run.json").read_text())["precision"] == "bf16"
    assert load_file(run.out / "contact.safetensors")["token_projection.0.weight"].dtype == torch.bfloat16
    assert model.trained_for == {"human"}


def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Dropout, schedule, order of the data and AdamW's averages all go on; settings must be the same."""
    whole = replace(toy_run(tmp_path, steps=5, checkpoint_every=2), out=tmp_path / "whole")
    finetune(whole, tell=quiet)
    parts = replace(whole, out=tmp_path / "parts")
    assert finetune(parts, until=3, tell=quiet) is None
    finetune(parts, tell=quiet)
    one, two = states(whole.out), states(parts.out)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(float(value.abs().max()) > 0 for name, value in one.items() if "lora_B" in name)
    for changed, said in (({"rate": 1e-4}, "rate"), ({"seed": 1}, "seed"), ({"batch": 3}, "batch")):
        with pytest.raises(InputError, match=f"is of a run with {said}"):
            finetune(replace(parts, config=replace(parts.config, **changed)), tell=quiet)
    other_words = replace(parts, data=replace(parts.data, part_dropout=1.0))
    with pytest.raises(InputError, match=r"is of a run with part_dropout 0\.5 in place of 1\.0"):
        finetune(other_words, tell=quiet)


def test_a_step_without_a_number_is_skipped_and_the_run_goes_on(tmp_path: Path) -> None:
    """Its loss is no number, which no checkpoint can hold: the rest of the log is kept."""
    run = toy_run(tmp_path, steps=4, checkpoint_every=2, validate_samples=0)
    prepared = Prepared(run)
    network = prepared.network("cpu")
    lessons = prepared.lessons(network)
    trainer = Finetuner(network, lessons, run.config, run.out, make_accelerator(run.config, "cpu"))
    usual = lessons.batch

    def spoilt(step: int) -> list[Sample]:
        lost = float("nan") if step == 1 else 1.0
        return [replace(s, features=s.features * lost) for s in usual(step) if s.features is not None]

    lessons.batch = spoilt  # type: ignore[method-assign]
    state = trainer.run()
    assert (state.step, state.skipped) == (4, 1)
    held = json.loads((run.out / "checkpoints" / "step-000004" / "state.json").read_text())["history"]
    assert [("total" in row, row["skipped"]) for row in held] == [(True, 0), (False, 1), (True, 0), (True, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [3, 6])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, kill_at: int) -> None:
    """SIGKILL of a process in the middle of a run."""
    finished(start_worker("run", str(tmp_path), "whole"))
    worker = start_worker("run", str(tmp_path), "killed")
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.strip() == f"step {kill_at}":
            worker.send_signal(signal.SIGKILL)
            break
    assert worker.wait() == -signal.SIGKILL
    steps = sorted((tmp_path / "killed" / "checkpoints").glob("step-*"))
    assert steps[-1].name < "step-000008"
    finished(start_worker("run", str(tmp_path), "killed"))
    one, two = states(tmp_path / "whole"), states(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Two processes with two samples each (gloo), one with four, one with two passes of two: same gradient."""
    toy_run(tmp_path)  # weights and data, written once
    finished(start_worker("step", str(tmp_path), "4", "1"))
    finished(start_worker("step", str(tmp_path), "2", "2"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    workers = [start_worker("step", str(tmp_path), "2", "1", RANK=str(r), LOCAL_RANK=str(r), **both) for r in range(2)]
    for worker in workers:
        finished(worker)
    one = load_file(tmp_path / "gradients-1-4-1.safetensors")
    norm = torch.stack([v.norm() for k, v in one.items() if not k.startswith("loss.")]).norm()
    for other in ("2-2-1", "1-2-2"):
        two = load_file(tmp_path / f"gradients-{other}.safetensors")
        assert one.keys() == two.keys()
        for name, value in one.items():
            scale = 1.0 if name.startswith("loss.") else float(norm)
            assert float((two[name] - value).norm()) / scale < 1e-5, (other, name)


# ------------------------------------------------------------------------------------------------------------ command
def test_the_command_says_what_it_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "home"))
    write_toy_start(tmp_path / "lisa")
    write_damon(tmp_path / "damon", 12, split="trainval", smplx=False)
    words = ["train", "--config", "damon", "--data", str(tmp_path / "damon"), "--init", str(tmp_path / "lisa"),
             "--out", str(tmp_path / "run"), "--batch", "2", "--device", "cpu", "--validation", "0.3"]  # fmt: skip
    assert cli.run([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    for part in ("trained  LoRA", "frozen   CLIP's tower", "AdamW's averages", "first batch", "learned:", "of weights"):
        assert part in said
    assert (tmp_path / "run" / "batch.png").stat().st_size > 5000
    assert not (tmp_path / "run" / "checkpoints").exists()
    for wrong, what in (
        (["--config", "joint"], "needs the folder of damon, lemon, pico"),
        (["--init", str(tmp_path / "nowhere")], "is no folder"),
        (["--accelerate-config", str(tmp_path / "none.yaml")], "accelerate config --config_file"),
        (["--split", "lemon=x"], "--split is DATA=SPLIT"),
        (["--out", str(tmp_path / "damon")], "is not empty and holds no run.json"),
    ):
        assert cli.run([*words, *wrong]) == 2
        assert what in capsys.readouterr().err
    assert cli.run(["train", "--config", "damon", "--data", str(tmp_path / "damon")]) == 2
    assert "--init FOLDER" in capsys.readouterr().err


def test_the_command_is_said_again_as_it_was_typed() -> None:
    from hoirecon.cli_finetune import arguments
    from hoirecon.cli_train import Train

    asked = Train("joint", data=("damon=a", "lemon=b c"), init=Path("lisa"), batch=2, no_merge=True)
    assert arguments(asked) == ["--config", "joint", "--data", "damon=a", "--data", "lemon=b c", "--init", "lisa",
                                "--batch", "2", "--no-merge"]  # fmt: skip


def test_a_look_ahead_writes_a_picture(tmp_path: Path) -> None:
    from hoirecon.images import read_image

    text = dry_run(toy_run(tmp_path))
    assert "12 entries" not in text  # one has nothing in contact, some validate
    picture = read_image(tmp_path / "run" / "batch.png").rgb
    assert picture.shape[0] == 2 * 256
    red = (picture[..., 0] > 200) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    assert red.sum() > 20


def test_a_look_ahead_leaves_a_run_that_stands_there(tmp_path: Path) -> None:
    """Its record says in which numbers it goes on."""
    run = toy_run(tmp_path)
    run.out.mkdir()
    (run.out / "run.json").write_text('{"precision": "bf16"}', encoding="utf-8")
    dry_run(run)
    assert json.loads((run.out / "run.json").read_text()) == {"precision": "bf16"}
