"""How long the object fit takes: CPU seconds of one thread, on closed-world scenes, all in one process.

Ratios compare what was timed in the same process. Adam comes twice: as the library runs it, through autograd
(:func:`~hoirecon.fitting.gradient_descent.minimise_by_gradient`), and, to tell the method from its implementation, fed
with the gradients of the compiled loops that Levenberg-Marquardt uses, which autograd users do not have. Both times its
learning rate is the best of a sweep over all scenes, and where it never gets within one per cent of
Levenberg-Marquardt's loss, the loss that it does reach is the goal of both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.data.closedworld import load_scene, observe_scene, split_of_seed
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.speed_curves import CURVES, SpeedScene, cpu_seconds
from hoirecon.fitting import FitConfig, LMConfig, ObjectToFit, fit_objects, levenberg_marquardt, linearise
from hoirecon.fitting.baselines import baseline_problem
from hoirecon.fitting.baselines import interactvlm_style as interactvlm
from hoirecon.fitting.baselines.settings import INTERACTVLM
from hoirecon.fitting.gradient_descent import DescentConfig, minimise_by_gradient
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_shape import forget_shapes
from hoirecon.fitting.object_state import ObjectState, limit_step
from hoirecon.fitting.objective import Quadratic, Term

TARGETS: dict[str, tuple[float | None, bool]] = {
    "from_scratch_cpu_s": (1.0, False),
    "from_scratch_mesh_cached_cpu_s": (1.0, False),
    "preparation_cpu_s": (None, False),
    "preparation_mesh_cached_cpu_s": (None, False),
    "refinement_cpu_s": (0.03, False),
    "adam_over_lm": (7.0, True),
    "adam_with_our_gradients_over_lm": (None, True),
    "interactvlm_250_steps_cpu_s": (None, False),
    "interactvlm_250_steps_over_refinement": (50.0, True),
    "kernels_first_load_cpu_s": (5.0, False),
    "kernels_later_load_cpu_s": (5.0, False),
}
"""Figure -> its target (None: none) and whether more is better."""
STARTS = 8
"""Start poses near the truth, solved as one batch by Adam and by Levenberg-Marquardt."""
RATES = (0.003, 0.01, 0.03)
"""Adam's learning rates (radians, metres, log scale per step), of which the best counts."""
ADAM_STEPS = 250
ADAMS = ("adam_over_lm", "adam_with_our_gradients_over_lm")
"""Ratios of Adam's time to Levenberg-Marquardt's: through autograd, and with compiled gradients."""
LM_STEPS = 30
Evaluation = Callable[[ObjectState], Quadratic]


def run_fit_speed(
    seeds: Sequence[int] = tuple(range(8)),
    level: str = "L2",
    curves: bool = True,
    repeats: int = 3,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Time the object fit.

    Args:
        seeds: closed-world scenes; below 1000 for tuning.
        level: of the noise.
        curves: whether to measure cost against hypotheses, faces, image size and number of objects, too.
        repeats: short figures are the median of so many runs.
        progress: is told what has been measured.

    Returns:
        ``{"figures": {name: {"median", "q25", "q75", "target", "at_least", "values"}},
        "curves": {name: [{"x", "cpu_s"}]}, "seeds", "level", "adam_rates"}``; seconds are CPU seconds of one thread.

    Raises:
        InputError: no scenes, or no repeats.
    """
    if not seeds or repeats < 1:
        raise InputError(f"timing needs scenes and repeats, got {len(seeds)} and {repeats}")
    tell = progress or (lambda text: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(seeds, level, curves, repeats, tell)
    finally:
        torch.set_num_threads(before)


def _measure(
    seeds: Sequence[int], level: str, curves: bool, repeats: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    scenes = [speed_scene(seed, level) for seed in seeds]
    fit_objects(scenes[0].observation, scenes[0].body, [scenes[0].thing], [scenes[0].contact])  # imports and kernels
    values: dict[str, list[float]] = {name: [] for name in TARGETS}
    against: dict[str, list[dict[float, Tensor]]] = {name: [] for name in ADAMS}
    for seed, scene in zip(seeds, scenes, strict=True):
        found, ratios = scene_figures(scene, seed, repeats)
        for name, seconds in found.items():
            values[name].append(seconds)
        for name in ADAMS:
            against[name].append(ratios[name])
        tell(f"scene {seed}: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    rates = {name: best_rate(found) for name, found in against.items()}
    for name, rate in rates.items():
        values[name] = [float(ratios[rate].median()) for ratios in against[name]]
    values["kernels_first_load_cpu_s"], values["kernels_later_load_cpu_s"] = ([v] for v in kernel_loading())
    told: dict[str, list[dict[str, float]]] = {}
    for name, curve in CURVES.items() if curves else ():
        told[name] = curve(scenes[:3])
        tell(f"{name}: " + ", ".join(f"{p['x']:g} {p['cpu_s']:.2f} s" for p in told[name]))
    return {
        "figures": {name: _figure(name, found) for name, found in values.items()},
        "curves": told,
        "seeds": list(seeds),
        "level": level,
        "adam_rates": rates,
    }


def _figure(name: str, values: Sequence[float]) -> dict[str, Any]:
    low, middle, high = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
    target, at_least = TARGETS[name]
    return {
        "median": middle, "q25": low, "q75": high, "target": target, "at_least": at_least, "values": list(values),
    }  # fmt: skip


def speed_scene(seed: int, level: str) -> SpeedScene:
    """A scene as the fit is given it, and the true pose."""
    scene = load_scene(seed, split_of_seed(seed))
    given = observe_scene(scene, level)
    thing = ObjectToFit(given.mesh, given.category, given.size_prior)
    truth = replace(scene.pose, s=given.true_scale)
    return SpeedScene(given.observation, given.body, thing, given.contacts, truth)


def scene_figures(
    scene: SpeedScene, seed: int, repeats: int
) -> tuple[dict[str, float], dict[str, dict[float, Tensor]]]:
    """Every figure of one scene but those that need all scenes, and both Adams' ratios by learning rate."""
    config, body = FitConfig(), scene.body.mesh

    def scratch() -> None:
        fit_objects(scene.observation, scene.body, [scene.thing], [scene.contact], config)

    def ready() -> ObjectProblem:
        return prepare(scene.observation, 0, body, scene.thing, scene.contact, (), config)

    found = {
        "from_scratch_cpu_s": cpu_seconds(scratch, repeats, forget_shapes),
        "from_scratch_mesh_cached_cpu_s": cpu_seconds(scratch, repeats),
        "preparation_cpu_s": cpu_seconds(ready, repeats, forget_shapes),
        "preparation_mesh_cached_cpu_s": cpu_seconds(ready, repeats),
    }
    problem = ready()
    start = near_truth(problem, scene, config, 1, seed)
    refinement = cpu_seconds(partial(refine, problem, start, config), max(repeats, 5))
    peer = _interactvlm_seconds(scene)
    found |= {
        "refinement_cpu_s": refinement,
        "interactvlm_250_steps_cpu_s": peer,
        "interactvlm_250_steps_over_refinement": peer / refinement,
    }
    return found, adam_against_lm(problem, near_truth(problem, scene, config, STARTS, seed), config, RATES, ADAM_STEPS)


# ----------------------------------------------------------------------------------------------------------- refinement
def near_truth(problem: ObjectProblem, scene: SpeedScene, config: FitConfig, count: int, seed: int) -> ObjectState:
    """Poses about 9 degrees, 5 cm and 5 % from the truth."""
    like, truth = problem.verts, scene.truth
    centred = truth.t + truth.s * truth.R @ problem.centre  # as the problem's vertices are
    R, t, log_s = (torch.as_tensor(np.asarray(v)[None]).to(like) for v in (truth.R, centred, np.log(truth.s)))
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor([0.09] * 3 + [0.03] * 3 + [0.05]).to(like)
    at_truth = ObjectState(R, t, log_s, problem.view(config.final)).select(torch.zeros(count, dtype=torch.long))
    return at_truth.retract(torch.randn(count, 7, generator=generator).to(like) * spread)


def refine(problem: ObjectProblem, start: ObjectState, config: FitConfig) -> ObjectState:
    """The last stage of the fit, to its end."""
    moves = (ObjectState.retract, ObjectState.select, ObjectState.merge)
    evaluate = partial(linearise, problem.terms(config.final, config))
    return levenberg_marquardt(start, evaluate, *moves, LMConfig(config.final.iterations), limit_step).state


def _interactvlm_seconds(scene: SpeedScene) -> float:
    """CPU seconds of 250 Adam steps of the InteractVLM-style objective at 64 px (its preparation not counted)."""
    config = replace(INTERACTVLM, iterations=250)
    given = baseline_problem(scene.observation, scene.body.mesh, scene.thing, scene.on_mesh)
    prepared = interactvlm.prepare(given, config)
    interactvlm.evaluate(prepared, interactvlm.start(given, prepared, config), config)  # loads the kernels
    params = interactvlm.start(given, prepared, config)
    begin = time.process_time()
    _, used = interactvlm.descend(prepared, params, config)
    return (time.process_time() - begin) * config.iterations / max(used, 1)


# ----------------------------------------------------------------------------------------- Adam and Levenberg-Marquardt
@dataclass
class Trace:
    """Costs of a batch after each evaluation, the lowest so far, and CPU seconds of an evaluation."""

    costs: Tensor
    """(N, B)."""
    seconds: float

    def time_to(self, goal: Tensor) -> Tensor:
        """(B,) CPU seconds until each problem is at its goal (B,)."""
        return ((self.costs > goal).sum(0) + 1) * self.seconds


def adam_against_lm(
    problem: ObjectProblem, start: ObjectState, config: FitConfig, rates: Sequence[float], steps: int
) -> dict[str, dict[float, Tensor]]:
    """For both Adams and each rate, how many times longer it takes to the same loss than Levenberg-Marquardt, (B,)."""
    terms = problem.terms(config.final, config)
    evaluate = partial(linearise, terms)
    ours = lm_trace(start, evaluate)
    adams = zip(ADAMS, (partial(autograd_trace, start, terms), partial(adam_trace, start, evaluate)), strict=True)
    return {name: {rate: _ratio(trace(rate, steps), ours) for rate in rates} for name, trace in adams}


def _ratio(adam: Trace, ours: Trace) -> Tensor:
    goal = 1.01 * torch.maximum(ours.costs[-1], adam.costs[-1])
    return adam.time_to(goal) / ours.time_to(goal)


def best_rate(ratios: Sequence[dict[float, Tensor]]) -> float:
    """The learning rate with which Adam looks best over all scenes."""
    return min(RATES, key=lambda rate: float(np.median([float(r[rate].median()) for r in ratios])))


def lm_trace(start: ObjectState, evaluate: Evaluation) -> Trace:
    """Levenberg-Marquardt that nothing stops, so that every evaluation is of the whole batch."""
    costs: list[Tensor] = []

    def watched(state: ObjectState) -> Quadratic:
        found = evaluate(state)
        costs.append(found.cost)
        return found

    moves = (ObjectState.retract, ObjectState.select, ObjectState.merge)
    config = LMConfig(LM_STEPS, tolerance=-1.0, max_rejections=LM_STEPS + 1)
    begin = time.process_time()
    levenberg_marquardt(start, watched, *moves, config, limit_step)
    return Trace(_lowest(costs), (time.process_time() - begin) / len(costs))


def autograd_trace(start: ObjectState, terms: Sequence[Term[Any]], rate: float, steps: int) -> Trace:
    """Adam through autograd, as the library runs it."""
    begin = time.process_time()
    found = minimise_by_gradient(terms, start, "adam", config=DescentConfig(steps, rate))
    return Trace(_lowest(list(found.trace.t())), (time.process_time() - begin) / found.evaluations)


def adam_trace(start: ObjectState, evaluate: Evaluation, rate: float, steps: int) -> Trace:
    """Adam on steps of the pose, from the gradients that Levenberg-Marquardt uses."""
    mean, square = torch.zeros(len(start), 7).to(start.t), torch.zeros(len(start), 7).to(start.t)
    costs: list[Tensor] = []
    state, begin = start, time.process_time()
    for count in range(1, steps + 1):
        found = evaluate(state)
        costs.append(found.cost)
        gradient = 2 * found.gradient
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
        unbiased = (square / (1 - 0.999**count)).sqrt() + 1e-8
        state = state.retract(-rate * mean / (1 - 0.9**count) / unbiased)
    return Trace(_lowest(costs), (time.process_time() - begin) / steps)


def _lowest(costs: list[Tensor]) -> Tensor:
    stacked = torch.stack(costs).nan_to_num(nan=torch.inf)
    return stacked.cummin(0).values


# ----------------------------------------------------------------------------------------------------------- cold start
def kernel_loading() -> tuple[float, float]:
    """CPU seconds of loading the fit's kernels in a fresh process: compiled at first, then from Warp's cache."""
    code = (
        "import time; from hoirecon.fitting import fused; a = time.process_time(); fused.warp(); "
        "print(time.process_time() - a)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "WARP_CACHE_PATH": folder}
        first, later = (
            subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
            for _ in range(2)
        )
    return float(first.stdout.split()[-1]), float(later.stdout.split()[-1])


def speed_text(found: dict[str, Any]) -> str:
    """A table of the figures, and a line per curve."""
    scenes = f"{len(found['seeds'])} scenes at {found['level']}"
    lines = [
        f"{scenes}, CPU seconds of one thread; Adam's rates {', '.join(str(r) for r in found['adam_rates'].values())}",
        f"{'':40s} {'median':>8s} {'quartiles':>18s} {'target':>8s}",
    ]
    for name, f in found["figures"].items():
        sign = ">=" if f["at_least"] else "<="
        target = "" if f["target"] is None else f"{sign} {f['target']:g}"
        spread = f"{f['q25']:.3g} to {f['q75']:.3g}"
        lines.append(f"{name.replace('_', ' '):40s} {f['median']:8.3g} {spread:>18s} {target:>8s}")
    for name, points in found["curves"].items():
        lines.append(f"{name:12s} " + "  ".join(f"{p['x']:g}: {p['cpu_s']:.2f} s" for p in points))
    return "\n".join(lines)
