"""A body from landmarks, brought onto the person's mask: what a detector gets wrong in common, the outline tells.

Landmarks of one detector err together: of somebody cut off by the picture's edge they all lie too near the middle, and
then the body is too small and too far away. The contour of the person's mask has no such habits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hoirecon.errors import InputError
from hoirecon.fitting.body_fit import body_result, problem_of
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.joint_outline import outline_points, person_region
from hoirecon.observation import Observation, runs_off


@dataclass(frozen=True)
class OutlineConfig:
    """Settings of :func:`body_on_mask`."""

    weight: float = 25.0
    """Effective number of measurements of the outline, each way; a well seen landmark is one."""
    cut_off: float = 2.4
    """Factor on the weight where the person runs off the picture's top: of those a detector sees less than it says
    (:mod:`hoirecon.perception.cut_off`)."""
    sigma: float = 0.008
    """Noise of the mask's contour against the body without clothes, as a fraction of the person's height in pixels."""
    clothes: float = 3.0
    """Factor on that noise where the body lies inside the mask, as it does under clothes; 1: nobody wears any."""
    rounds: int = 5
    """How often the outline is sampled anew; 0 leaves the body as it is."""
    iterations: int = 6
    """Steps of the solver between."""

    def __post_init__(self) -> None:
        if not min(self.weight, self.cut_off, self.sigma, self.clothes, self.iterations) > 0 or self.rounds < 0:
            raise InputError(
                f"the outline needs a positive weight, cut_off, sigma, clothes and iterations, and 0 or more rounds: "
                f"{self}"
            )


def body_on_mask(fit: BodyFit, observation: Observation, config: OutlineConfig | None = None) -> BodyFit:
    """Move a fitted body, its shape and place included, until its outline lies on the person's mask too.

    All evidence of the first fit still counts. Objects and occluders may hide the body; clothes and hair are noise.

    Args:
        fit: of :func:`~hoirecon.fitting.body_fit.fit_body`.
        observation: whose ``person_mask`` shows this person alone.
        config: weight and noise; None takes the defaults.

    Returns:
        The body on the mask; ``fit`` itself without a person mask.
    """
    config = config or OutlineConfig()
    model = fit.evidence.model
    region = person_region(observation, fit.body.mesh, model.v_template)
    if region is None or config.rounds == 0:
        return fit
    problem, state = problem_of(fit)
    sigma = config.sigma * fit.person_height_px / region.px_per_cell
    known, terms = problem.points, problem.terms
    assert observation.person_mask is not None  # or there were no region
    weight = config.weight * (config.cut_off if runs_off(observation.person_mask).top else 1.0)
    for _ in range(config.rounds):
        outline = outline_points(model, state.body.forward(model).verts[0].detach(), region)
        seen = outline.terms(len(known), region, sigma, weight, config.clothes, head=False)
        problem = replace(problem, points=known + outline.points, terms=(*terms, *seen))
        state = problem.solve(state, config.iterations).state
    return body_result(problem, state, fit.evidence, fit.start)
