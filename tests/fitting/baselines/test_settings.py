"""Tuned settings and what they add: several starts, a size prior, the contact's depth; the docs say what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.errors import InputError
from hoirecon.fitting.baselines import (
    BASELINES,
    BaselineProblem,
    InteractvlmConfig,
    PhosaConfig,
    PicoConfig,
    baseline_problem,
    fit_interactvlm_style,
    fit_pico_style,
)
from hoirecon.fitting.baselines import settings as known
from hoirecon.fitting.baselines.geometry import UPRIGHT, contact_depth, matrix_of_6d, six_of_matrix, start_rotations
from hoirecon.fitting.baselines.interactvlm_pieces import all_pairs_contact
from hoirecon.fitting.baselines.interactvlm_style import evaluate, prepare, start
from hoirecon.fitting.baselines.mask_view import mask_view
from hoirecon.fitting.baselines.phosa_style import _Joint, _Search
from hoirecon.fitting.baselines.pico_style import contact_pairs
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.observation import box_of_mask
from tools import baseline_sweep as tool

pytest.importorskip("warp")

Small = Callable[..., Any]
DOCS = Path(__file__).parents[3] / "docs" / "baselines.md"


@pytest.fixture(scope="module")
def problem(small_scene: Small) -> BaselineProblem:
    scene = small_scene(kind="chair", rotvec=tuple(Rotation.from_matrix(UPRIGHT).as_rotvec()), edge=0.15)
    return baseline_problem(
        scene.observation, scene.body, ObjectToFit(scene.mesh, size_prior=(0.0, 0.2)), scene.contact
    )


@pytest.fixture(scope="module")
def turned(problem: BaselineProblem) -> BaselineProblem:
    """The same picture with a mesh that faces the other way."""
    half = np.diag([-1.0, 1.0, -1.0])
    return replace(problem, mesh=problem.mesh.with_verts(problem.mesh.verts @ half))


# -------------------------------------------------------------------------------------------------------------- starts
@pytest.mark.parametrize("count", [1, 4, 8, 24])
def test_starts_are_different_rotations_and_the_first_is_none(count: int) -> None:
    turns = start_rotations(count)
    assert turns.shape == (count, 3, 3)
    np.testing.assert_allclose(turns[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    apart = np.einsum("aij,bij->ab", turns, turns) - 3 * np.eye(count)
    assert count == 1 or apart.max() < 3 - 0.5  # traces of relative turns: 3 is the same rotation
    if count < 24:
        np.testing.assert_allclose(turns[:, 1, 1], 1)  # they stay upright


@pytest.mark.parametrize("count", [0, 25])
def test_other_counts_of_starts_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="1 to 24"):
        start_rotations(count)


def test_interactvlm_style_takes_the_start_of_least_loss(turned: BaselineProblem) -> None:
    """From several starts it ends at no higher loss than from one, and spends the steps that it says."""
    config = InteractvlmConfig(iterations=10, start_iterations=6, resolution=32, registration=False, centred_start=True)
    prepared = prepare(turned, config)

    def loss(c: InteractvlmConfig) -> float:
        pose = fit_interactvlm_style(turned, c).pose
        R = UPRIGHT @ pose.R.T
        t = pose.t + pose.s * prepared.centre @ pose.R.T - prepared.offset
        params = start(turned, prepared, config)
        params.rotation.data = six_of_matrix(torch.as_tensor(R)).float()
        params.translation.data = torch.as_tensor(t).float()
        return float(evaluate(prepared, params, config).total.detach())

    several = replace(config, starts=4)
    assert loss(several) <= loss(config) + 1e-4
    assert fit_interactvlm_style(turned, several).iterations == 4 * 6 + 10


def test_pico_style_pairs_anew_at_every_start(turned: BaselineProblem) -> None:
    """Pairs depend on the rotation at which they are made, and several starts can undo a half turn."""
    here, there = (contact_pairs(turned, 32, turn @ UPRIGHT) for turn in start_rotations(2))
    assert {tuple(p) for p in np.hstack(here)} != {tuple(p) for p in np.hstack(there)}
    config = PicoConfig(contact_iterations=60, image_iterations=40, start_iterations=10, resolution=32)
    result = fit_pico_style(turned, replace(config, starts=2))
    assert result.iterations == 2 * 70 + 40


# ---------------------------------------------------------------------------------------------------------- size, depth
def test_size_prior_holds_the_scale(problem: BaselineProblem) -> None:
    config = InteractvlmConfig(iterations=30, resolution=32, free_scale=True)
    free, held = (fit_interactvlm_style(problem, replace(config, scale_weight=w)).pose.s for w in (0.0, 30.0))
    assert abs(np.log(held)) < 0.5 * abs(np.log(free))


def test_known_size_stays_when_there_is_a_prior_on_it(problem: BaselineProblem) -> None:
    sure = replace(problem, scale_prior=(0.1, 0.0))
    config = InteractvlmConfig(iterations=5, resolution=32, free_scale=True, scale_weight=1.0)
    assert fit_interactvlm_style(sure, config).pose.s == pytest.approx(np.exp(0.1))


def test_phosa_style_slides_to_the_contacts_depth_and_keeps_the_picture(problem: BaselineProblem) -> None:
    config = PhosaConfig(resolution=32, to_contact_depth=True)
    joint = _Joint(problem, config, mask_view(problem, 32))
    six, t = six_of_matrix(torch.as_tensor(UPRIGHT, dtype=torch.float32)), torch.tensor([0.1, 0.0, 2.5])
    grown = joint._growth(six, t)
    assert np.exp(-0.4) <= grown <= np.exp(0.4)
    near, far = (torch.as_tensor(problem.mesh.verts).float() * s @ matrix_of_6d(six) + s * t for s in (1.0, grown))
    torch.testing.assert_close(near[:, :2] / near[:, 2:], far[:, :2] / far[:, 2:])
    assert joint.parts is not None
    touching = float((grown * (joint.parts[1] @ matrix_of_6d(six) + t))[2])
    wanted = contact_depth(problem)
    assert touching == pytest.approx(wanted, rel=1e-5) or grown in (
        pytest.approx(np.exp(-0.4)),
        pytest.approx(np.exp(0.4)),
    )


def test_more_finalists_cannot_end_at_a_higher_loss(problem: BaselineProblem) -> None:
    config = PhosaConfig(rotations=8, batch=8, search_iterations=3, joint_iterations=5, resolution=32, finalists=4)
    search = _Search(problem, config)
    losses, sixes, ts = search.run(Rotation.random(8, rng=np.random.default_rng(0)).as_matrix())
    joint, order = _Joint(problem, config, search.view), torch.argsort(losses)
    ended = [joint.run(sixes[i], ts[i])[0] for i in order[:4].tolist()]
    assert min(ended) <= ended[0]
    assert all(np.isfinite(ended))


# --------------------------------------------------------------------------------------------------- same, but faster
def test_all_pairs_gradient_is_autograds() -> None:
    rng = np.random.default_rng(0)
    a, b, p, q = (torch.as_tensor(rng.random(shape)) for shape in ((6, 3), (9, 3), (6,), (9,)))
    b[0] = a[0]  # points that coincide pull nowhere
    a.requires_grad_()
    slow = p @ torch.cdist(a, b) @ q / (p.sum() * q.sum())
    fast = all_pairs_contact(a, b, p, q)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(2 * fast, [a]), torch.autograd.grad(2 * slow, [a]))
    apart = (b + 3).detach()
    assert torch.autograd.gradcheck(lambda x: all_pairs_contact(x, apart, p, q), [a])


def test_box_of_a_problem_is_its_masks(problem: BaselineProblem) -> None:
    assert problem.box == box_of_mask(problem.object_mask)


# ------------------------------------------------------------------------------------------------------------ settings
def test_docs_say_what_the_names_mean() -> None:
    """The table of settings in the docs is the one the tool prints."""
    assert tool.settings_table() in DOCS.read_text()


def test_tuned_settings_come_from_the_grid() -> None:
    for method, grid in tool.GRIDS.items():
        made = [tool.values_of(setting) for setting in grid().values()]
        assert tool.values_of(tool.TUNED[method]) in made, method


def test_plain_names_are_published_but_for_the_small_picture() -> None:
    assert tool.changes(known.INTERACTVLM) == {"resolution": 64}
    assert tool.changes(known.PICO) == {"resolution": 64}
    assert tool.changes(known.PHOSA) == {"resolution": 64, "refined": 16}
    assert {name.removesuffix("-tuned") for name in BASELINES if name.endswith("-tuned")} == set(tool.FITS)


# ---------------------------------------------------------------------------------------------------------------- tool
def test_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Any) -> None:
    config = tool.SweepConfig(tmp_path / "rows.jsonl", "0:2", ("pico-style",), ("sharp", "short"))
    points = np.zeros((4, 3))
    monkeypatch.setattr(tool, "cases", lambda _: [tool.Case(s, f"scene {s}", problem, points, points) for s in (0, 1)])
    calls: list[str] = []

    def run(case: tool.Case, method: str, setting: tool.Config) -> tool.Row:
        calls.append(case.scene)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"seed": case.seed, "scene": case.scene, "chamfer_object_cm": 2.0, "cpu_seconds": 0.1, "scale": 1.0}

    monkeypatch.setattr(tool, "run", run)
    with pytest.raises(KeyboardInterrupt):
        tool.sweep(config)
    with config.out.open("a") as out:
        out.write('{"digest": "cut o')
    assert len(tool.read_rows(config.out)) == 2
    tool.sweep(config)
    assert calls == ["scene 0", "scene 0", "scene 1", "scene 1", "scene 1"]
    lines = tool.table(config).splitlines()
    assert len(lines) == 4
    assert "| 2 | 2.00 [2.00, 2.00] | 1.00 | 2.00 | 0.10 |" in lines[-1]
    assert len(tool.read_rows(config.out)) == 4


def test_sweep_refuses_what_may_not_be_chosen_by() -> None:
    with pytest.raises(InputError, match="for reporting"):
        tool.seeds_of("990:1001")
    with pytest.raises(InputError, match="first:end"):
        tool.seeds_of("3")
    with pytest.raises(InputError, match="none of the settings shiny"):
        tool.chosen("pico-style", ("shiny",))
    with pytest.raises(InputError, match="no grid"):
        tool.chosen("icp", ())


def test_a_changed_setting_has_another_name_in_the_file() -> None:
    one = tool.digest_of("pico-style", PicoConfig())
    assert one == tool.digest_of("pico-style", PicoConfig())
    assert one != tool.digest_of("pico-style", PicoConfig(pairs=65))


def test_measured_run_of_a_true_pose_is_near(problem: BaselineProblem) -> None:
    config = PicoConfig(contact_iterations=5, image_iterations=2, resolution=32)
    pose = fit_pico_style(problem, config).pose
    case = tool.Case(0, "a", problem, pose.apply(problem.mesh.verts), problem.mesh.verts)
    row = tool.run(case, "pico-style", config)
    assert row["chamfer_object_cm"] == pytest.approx(0, abs=1e-6)
    assert row["cpu_seconds"] >= 0


def test_the_box_of_a_thing_thinner_than_a_pixel_is_found() -> None:
    from hoirecon.fitting.baselines.interactvlm_pieces import box_centre

    thin = torch.zeros(8, 10)
    thin[2, 3:8] = 0.3
    assert box_centre(thin).tolist() == [2.0, 5.0]
    assert box_centre((thin > 0).float()).tolist() == [2.0, 5.0]
