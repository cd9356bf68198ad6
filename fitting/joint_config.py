"""Settings of the joint fit of bodies and objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.joint_contact import CONTACT_FORMS, ContactForm
from hoirecon.fitting.term_names import check_factors


@dataclass(frozen=True)
class JointConfig:
    """Settings of :func:`hoirecon.fitting.joint_fit.fit`; contour and penetration follow ``objects``."""

    objects: FitConfig = field(default_factory=FitConfig)
    """Of the first stage, which places objects before bodies that stand still."""
    body_first: bool = True
    """Whether a touching body is first moved to its own landmarks, so that objects meet it there; a body from
    :func:`~hoirecon.fitting.body_fit.fit_body` hardly moves."""
    carried: int = 4
    """Best distinct object hypotheses that go on to the joint stages."""
    chain: StageConfig = field(default_factory=lambda: StageConfig(8, 96, 192, 70, 6.0, 0.06, 0.015, 0.3))
    """Second stage: objects and the joints between the torso and the parts that touch. Its robust scales are narrow: a
    wide one lets a free arm follow a wrong contact patch (median Chamfer 3.1 against 2.6 cm, 28 scenes)."""
    whole: StageConfig = field(default_factory=lambda: StageConfig(12, 128, 256, 160, 6.0, 0.06, 0.015, 4.0))
    """Third stage: objects and all body joints, penetration four times as heavy as in the first."""
    polish: StageConfig | None = field(default_factory=lambda: StageConfig(8, 128, 256, 160, 6.0, 0.06, 0.015, 60.0))
    """Last steps, in which penetration hardly is allowed; None leaves them out. It does not count in the ranking."""
    fingers: bool = False
    """Whether touching fingers bend; without they move with the hand."""
    refreshes: int = 1
    """How often the bodies are drawn anew within the third stage, to see what they hide."""
    contact_sigma: float = 0.02
    """Noise of a contact point on the fitted body, metres."""
    contact_weight: float = 4.0
    """Effective number of measurements of the contact of each pair."""
    surface_weight: float = 0.0
    """Effective number of measurements of how far touching points are from the other's surface, for the body's and for
    the object's points each (:mod:`hoirecon.fitting.surface_contact`); 0 leaves them out. For labels that are
    bands of a known width beside the surface, as datasets state them; not for whole parts named in words."""
    surface_gap: float = 0.01
    """That distance, metres: half the width of the band that contact labels are."""
    surface_sigma: float = 0.01
    """Its noise, metres."""
    contact: ContactForm = "nearest"
    """Who is whose partner in the contact of body and object: ``nearest`` pairs both ways; the ``centroid`` of both
    areas; ``transport``, unbalanced and with normals; ``correspondences`` demands given pairs (given pairs are taken as
    pairs in every form)."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Name of a term -> factor on its weight, 0 leaves it out; see :data:`~hoirecon.fitting.term_names.TERM_NAMES`."""
    guess_ground: bool = True
    """Whether, unless a ground is given, the feet of standing people tell it (not of those that touch an object with
    them); what nobody touches may rest on it, what somebody touches does not sink in."""
    support_weight: float = 10.0
    """Effective number of measurements of the ground's support; 0 leaves it out."""
    held_support: float = 1.0
    """Likewise of the support of what somebody touches, which may as well be carried, see
    :func:`~hoirecon.fitting.ground.held_above`; 0 leaves out all that the ground says of it. Added because sticks that
    stand on the ground leant the wrong way or sank into it."""
    anchor: float = 0.6
    """Factor on the sigmas of :data:`~hoirecon.fitting.joint_terms.ANCHOR_DEGREES`: 0.6 for bodies whose joints are off
    by about 5 degrees, 2 for arms whose depth was guessed from a photograph."""
    anchor_transl: tuple[float, float, float] = (0.02, 0.02, 0.02)
    """How far off the place of the given body may be, one sigma across, down and along the camera's axis, metres."""
    silhouette_weight: float = 5.0
    """Effective number of measurements of the person's silhouette, each way, for a body without landmarks (beside them
    it gained nothing on synthetic scenes); 0 leaves it out. One person only."""
    silhouette_beside_landmarks: bool = False
    """Whether the silhouette counts for a body with landmarks too: detected ones have errors in common that no number
    of them tells."""
    silhouette_clothes: float = 1.0
    """Factor on the contour's noise where the body lies inside the mask, as it does under clothes."""
    silhouette_of_head: bool = True
    """Whether the head's outline counts too; False for photographs, in which hair and caps hide it."""
    penetration_sigma: float = 0.005
    """Noise of a penetration depth, metres."""
    surface_points: int = 1500
    """Most vertices per body, those near the objects, asked for penetration."""
    touching: float = 0.1
    """Least share of an edge's contact that makes a joint a touching one; if none has it, half of the largest does."""
    first_choice: float = 10.0
    """Another hypothesis replaces the first one (the first stage's choice) only if it is better by this energy: a free
    body can bend towards a wrong pose, and its own terms then jump by some units. Chosen among 4 to 100 on tuning
    scenes at L2, where values from 8 on did alike."""
    rank_parts_weight: float = 0.5
    """Share of what named parts cost (:mod:`hoirecon.fitting.part_contact`) that counts when one of the hypotheses is
    chosen: who holds a tablet at which edge is a guess, and must not out-vote what is seen of the tablet. Of
    1, .75, .5, .25 and 0 it was best on 46 rendered tuning photographs, of which it changes four (docs/closedworld.md).
    """
    ambiguous_odds: float = 0.07
    """The result is ``ambiguous`` if the odds (chance / (1 - chance)) that an object is farther off than
    ``objects.ambiguous_distance`` are more than this: see :mod:`hoirecon.fitting.expected_error`. The poses that the
    search found (by ``objects.ambiguous_temperature``) and the joint hypotheses are asked; the larger chance counts.
    The most nervous odds that alarm in at most a quarter of 189 successes of tuning scenes (docs/closedworld.md)."""
    ambiguous_temperature: float = 3.0
    """Energy gap in squared sigmas that makes a joint hypothesis e times less likely; 2 if the noise were as
    modelled."""
    covariance_scale: float = 1.2
    """Factor on the curvature's covariance times the misfit of the contours (reduced chi-square: how noisy the evidence
    is); set on 64 tuning scenes at L1 and 46 at L2. Contact that counts for more (:attr:`contact_weight`) makes the
    curvature surer: the closed world's ``hoirecon`` doubles the one and takes 1.4 here."""
    spread_temperature: float = 4.0
    """Energy gap in squared sigmas by which a hypothesis counts e times less in the spread of the covariance."""

    def __post_init__(self) -> None:
        positive = ("carried", "contact_sigma", "anchor", "penetration_sigma", "surface_points", "surface_sigma",
                    "silhouette_clothes")  # fmt: skip
        bad = [name for name in positive if not getattr(self, name) > 0]
        bad += [] if min(self.anchor_transl) > 0 else ["anchor_transl"]
        if self.contact not in CONTACT_FORMS:
            raise InputError(f"the form of contact is one of {', '.join(CONTACT_FORMS)}, got '{self.contact}'")
        check_factors(self.factors)
        if not min(self.support_weight, self.held_support) >= 0:
            raise InputError(
                f"the weights of the ground's support are 0 or more, got {self.support_weight} and {self.held_support}"
            )
        if not self.surface_weight >= 0:
            raise InputError(f"the weight of surface contact is 0 (left out) or more, got {self.surface_weight}")
        if not 0 <= self.rank_parts_weight <= 1:
            raise InputError(f"rank_parts_weight is a share, 0 to 1, got {self.rank_parts_weight}")
        if bad or self.refreshes < 0:
            raise InputError(f"the joint fit needs positive {', '.join(bad) or 'refreshes'}: check the settings")
