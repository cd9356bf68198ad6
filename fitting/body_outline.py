"""A body from landmarks, brought onto the person's mask: what a detector gets wrong in common, the outline tells.

Landmarks of one detector err together: of somebody cut off by the picture's edge they all lie too near the middle, and
then the body is too small and too far away. The contour of the person's mask has no such habits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hoirecon.data.body.jacobian import points_of_landmarks
from hoirecon.data.body.landmarks import body_landmarks
from hoirecon.errors import InputError
from hoirecon.fitting.body_evidence import gather_evidence
from hoirecon.fitting.body_fit import BodyProblem, body_prior, body_result, body_terms
from hoirecon.fitting.body_state import FitState
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.joint_outline import BodyOnMask, MaskOnBody, outline_points, person_region, under_hair
from hoirecon.observation import Observation


@dataclass(frozen=True)
class OutlineConfig:
    """Settings of :func:`body_on_mask`."""

    weight: float = 40.0
    """Effective number of measurements of the outline, each way; a well seen landmark is one."""
    sigma: float = 0.008
    """Noise of the mask's contour against the body without clothes, as a fraction of the person's height in pixels."""
    clothes: float = 3.0
    """Factor on that noise where the body lies inside the mask, as it does under clothes; 1: nobody wears any."""
    rounds: int = 5
    """How often the outline is sampled anew; 0 leaves the body as it is."""
    iterations: int = 6
    """Steps of the solver between."""

    def __post_init__(self) -> None:
        if not (self.weight > 0 and self.sigma > 0) or self.rounds < 0 or self.iterations < 1:
            raise InputError(f"the outline needs a positive weight, sigma and iterations, and 0 or more rounds: {self}")


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
    basis = fit.evidence
    model = basis.model
    region = person_region(observation, fit.body.mesh, model.v_template)
    if region is None or config.rounds == 0:
        return fit
    evidence = gather_evidence(basis.keypoints, basis.camera, model, basis.config)
    prior = body_prior(evidence, basis.config).to(model.v_template)
    known = points_of_landmarks(model, body_landmarks(model, basis.keypoints.layout))
    terms = body_terms(evidence, basis.camera, model, prior, basis.config, fit.person_height_px)
    state = FitState.from_params(model, fit.params)
    state = replace(state, log_scale=state.log_scale + fit.detector_log_scale)
    sigma = config.sigma * fit.person_height_px / region.px_per_cell
    problem = BodyProblem(evidence, known, prior, terms)
    hair = under_hair(model)
    for _ in range(config.rounds):
        outline = outline_points(model, state.body.forward(model).verts[0].detach(), region)
        both = slice(len(known), len(known) + len(outline.points)), region, sigma, config.weight
        trust = outline.trust(hair)
        own = BodyOnMask(*both, trust, config.clothes), MaskOnBody(*both, outline.along, trust, config.clothes)
        seen = (*terms, *own)
        problem = BodyProblem(evidence, known + outline.points, prior, seen)
        state = problem.solve(state, config.iterations).state
    return body_result(problem, state, basis, fit.start)
