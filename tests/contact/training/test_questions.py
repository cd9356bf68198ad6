"""Arms of the paper's questions: each changes what it says, all are asked alike, and the page holds what came out."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.training import questions as asking
from hoirecon.contact.training.closedworld_data import Samples, category_names, draw_samples
from hoirecon.contact.training.direct_regressor import DirectRegressor, RegressorConfig, regress, regressor_step
from hoirecon.contact.training.front_end import spoilt
from hoirecon.contact.training.lessons import LessonConfig, Lessons, vertex_area
from hoirecon.contact.training.questions_arms import (
    ARMS,
    BASE,
    REGRESSOR_LAYERS,
    Arm,
    ArmBudget,
    Guide,
    make,
    with_anything,
)
from hoirecon.contact.training.quick_step import QuickWeights
from hoirecon.contact.training.tiny import TinySize
from hoirecon.contact.training.tiny_run import TinyRun, new_model
from hoirecon.data.closedworld.posing import body_model
from hoirecon.errors import InputError

SMALL = TinySize(hidden=16, layers=1, tower_layers=1, heads=2, prompt=8, sam_layers=1, view_side=96, objects=False)
BUDGET = ArmBudget(steps=2, batch=3, size=SMALL)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return draw_samples("val", 11, 5)


def arm(name: str) -> Arm:
    return next(a for a in ARMS if a.name == name)


def quiet(_: str) -> None:
    return None


def evidence_of(samples: Samples) -> torch.Tensor:
    return spoilt(samples, np.arange(len(samples)), np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------ the regressor
def test_the_regressor_is_of_the_networks_size() -> None:
    network = new_model(TinyRun(size=TinySize(objects=False, vertex_head=False))).network
    vision = network.config.vision
    assert isinstance(vision, EvidenceConfig)
    deeper = replace(vision, num_layers=vision.num_layers + REGRESSOR_LAYERS)
    sizes = RegressorConfig(deeper, body_model().num_verts, len(category_names()), len(body_model().parts.names))
    own, other = (sum(p.numel() for p in m.parameters()) for m in (DirectRegressor(sizes), network))
    assert own == pytest.approx(other, rel=0.02)


def test_the_regressor_hears_the_name_and_answers_alike_one_by_one(samples: Samples) -> None:
    torch.manual_seed(0)
    sizes = RegressorConfig(EvidenceConfig(16, 32, 1, 2), body_model().num_verts, 4, 5)
    model, evidence = DirectRegressor(sizes), evidence_of(samples)[:3]
    together = regress(model, evidence, [0, 1, 2])
    alone = torch.cat([regress(model, evidence[i : i + 1], [i]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(together, regress(model, evidence, [1, 1, 2]))
    assert model.unnamed == 4
    assert together.shape == (3, body_model().num_verts)


def test_the_regressor_learns_one_sample_by_heart(samples: Samples) -> None:
    torch.manual_seed(0)
    model = new_model(TinyRun(size=SMALL))
    vision = model.network.config.vision
    assert isinstance(vision, EvidenceConfig)
    sizes = RegressorConfig(vision, body_model().num_verts, len(category_names()), len(body_model().parts.names))
    regressor = DirectRegressor(sizes)
    batch = Lessons(samples, model.tokenizer, vision, LessonConfig(batch=1, things=0), 0).batch(0)
    optimizer, names = torch.optim.Adam(regressor.parameters(), 1e-2), torch.tensor([0])
    losses = []
    for _ in range(40):
        parts = regressor_step(regressor, batch, names, vertex_area(), QuickWeights())
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        optimizer.step()
        losses.append(float(parts["dice"].detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_a_regressor_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="needs vertices"):
        RegressorConfig(EvidenceConfig(), 0, 1, 1)


# -------------------------------------------------------------------------------------------------------------- arms
def test_arms_differ_in_what_they_say() -> None:
    base = BUDGET.run_of(arm(BASE))
    assert [f.name for f in fields(base) if getattr(base, f.name) != getattr(BUDGET.run_of(arm("no-featlift")), f.name)]
    assert new_model(BUDGET.run_of(arm("no-featlift"))).network.feat_lift is None
    assert new_model(base).network.feat_lift is not None
    assert BUDGET.run_of(arm("unnamed")).lessons.unnamed == 1
    assert BUDGET.run_of(arm("data-10")).lessons.share == 0.1
    assert BUDGET.run_of(arm("regressor-cpu")).engine.steps == 4 * BUDGET.steps
    assert len({a.name for a in ARMS}) == len(ARMS)
    assert {a.question for a in ARMS} - {""} == set(asking.QUESTIONS)


def test_contact_with_anything_is_that_with_each_thing_of_the_picture(samples: Samples) -> None:
    twice = Samples.joined([samples, samples.take(slice(0, 1))])
    other = twice.touched.copy()
    other[-1] = np.packbits(np.arange(other.shape[1] * 8) < 9)
    two = np.zeros(len(twice), bool)
    two[[0, -1]] = True
    joined = with_anything(replace(twice, touched=other, several=two))
    expected = samples.contact(slice(0, 1))[0].copy()
    expected[:9] = True
    assert np.array_equal(joined.contact(slice(0, 1))[0], expected)
    assert np.array_equal(joined.contact(slice(-1, None))[0], expected)
    assert np.array_equal(joined.contact(slice(1, -1)), samples.contact(slice(1, None)))


def test_a_constant_guide_is_deaf_and_a_towers_is_not() -> None:
    torch.manual_seed(0)
    seen = torch.randn(2, 5, 16)
    assert torch.equal(*Guide("constant", 16, 8)(seen))
    assert not torch.allclose(*Guide("tower", 16, 8)(seen))


@pytest.mark.parametrize("name", [BASE, "no-featlift", "constant-token", "tower-token", "regressor", "category-mean"])
def test_every_kind_of_arm_trains_and_answers(name: str, samples: Samples, tmp_path: Path) -> None:
    made = make(arm(name), BUDGET, samples, tmp_path, quiet)
    found = made.ask(samples.take(slice(0, 2)), evidence_of(samples)[:2])
    assert found.shape == (2, body_model().num_verts)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (made.parameters > 0) == (name != "category-mean")
    if name == "constant-token":
        assert np.allclose(found[0], found[1], atol=1e-5)


def test_an_arm_goes_on_from_its_checkpoint(samples: Samples, tmp_path: Path) -> None:
    evidence = evidence_of(samples)[:2]
    first = make(arm("regressor"), BUDGET, samples, tmp_path, quiet)
    again = make(arm("regressor"), BUDGET, samples, tmp_path, lambda line: pytest.fail(f"trained again: {line}"))
    asked = samples.take(slice(0, 2))
    assert np.array_equal(first.ask(asked, evidence), again.ask(asked, evidence))


# ----------------------------------------------------------------------------------------------------------- the run
@pytest.fixture
def quick(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> asking.Questions:
    """Questions whose arms answer at once: the truth with some noise."""
    rng = np.random.default_rng(0)

    def made(arm: Arm, *_: Any) -> Any:
        from hoirecon.contact.training.questions_arms import Made

        noise = 0.1 if arm.name == BASE else 0.8
        return Made(lambda s, _: s.contact(slice(None)) * 0.6 + noise * rng.random((len(s), body_model().num_verts)))

    monkeypatch.setattr(asking, "make", made)
    monkeypatch.setattr(asking, "samples_of", lambda *_, **__: samples)
    monkeypatch.setattr(asking, "train_samples", lambda *_, **__: samples)
    return asking.Questions(BUDGET, shards=1, val=3, test=5, arms=(BASE, "no-featlift", "unnamed"))


def test_the_page_says_what_came_out_and_what_was_not_run(quick: asking.Questions, tmp_path: Path) -> None:
    rows = asking.run_questions(quick, tmp_path, tell=quiet)
    assert np.mean(rows[BASE]["each"]) > np.mean(rows["no-featlift"]["each"])
    text = asking.page(rows, quick, "the command")
    line = next(line for line in text.splitlines() if line.startswith("| `no-featlift`"))
    shown = float(line.split("|")[9].split("[")[0])
    difference = np.mean(np.array(rows["no-featlift"]["each"]) - np.array(rows[BASE]["each"]))
    assert shown == pytest.approx(difference, abs=6e-4)
    assert "`data-10`" in text.split("Not run:")[1].splitlines()[0]
    assert next(line for line in text.splitlines() if line.startswith("| `data-10`")).count("**not run**") == 1


def test_results_are_kept_and_others_settings_refused(
    quick: asking.Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asking.run_questions(quick, tmp_path, tell=quiet)
    monkeypatch.setattr(asking, "make", lambda *_: pytest.fail("asked again"))
    assert asking.run_questions(quick, tmp_path, tell=quiet) == json.loads(json.dumps(first))
    assert asking.kept_rows(quick, tmp_path).keys() == first.keys()
    with pytest.raises(InputError, match="other settings"):
        asking.run_questions(replace(quick, test=4), tmp_path, tell=quiet)
    (tmp_path / f"{BASE}-seed0.json").write_text("[1]")
    with pytest.raises(InputError, match="delete it"):
        asking.run_questions(quick, tmp_path, tell=quiet)


def test_an_unknown_arm_is_named() -> None:
    with pytest.raises(InputError, match="no arm 'magic'"):
        asking.Questions(arms=("magic",))
