"""Settings of the object fit; the numbers are the recipe that won on closed-world scenes, not free parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

from hoirecon.errors import InputError


@dataclass(frozen=True)
class StageConfig:
    """One round of Levenberg-Marquardt over the hypotheses that are still alive."""

    iterations: int
    """Most steps tried per hypothesis."""
    raster: int
    """Side of the coverage raster that tells outer from inner silhouette edges, cells; finer is more precise."""
    model_samples: int
    """Samples along the silhouette edges of the mesh, inner edges included (about half of them fall away)."""
    mask_samples: int
    """Samples along the contour of the mask."""
    contour_scale: float
    """Robust scale of the contour terms in sigmas: wide finds the way from afar, narrow forgets wrong mask pixels."""
    contact_scale: float
    """Robust scale of the contact term, metres."""
    dead_zone: float
    """Distance between contact points that costs nothing, metres: labels are a band, not a point."""
    penetration: float
    """Factor on the penetration weight; 0 leaves the term out."""


@dataclass(frozen=True)
class KickConfig:
    """Further starts round the best poses: the search ends in a shallow minimum of the contour otherwise."""

    rounds: int = 2
    """Times that the best poses are kicked; 0: never."""
    best: int = 6
    """Distinct poses kicked."""
    each: int = 4
    """Random kicks of each."""
    flips: bool = True
    """Whether the first round also turns each by half a turn about the three axes of the object."""
    turn: float = 0.4
    """Angle of a kick, radians: half to one and a half times this."""
    growth: float = 0.08
    """Standard deviation of the logarithm of the distance to the camera; half of it goes into the size."""
    iterations: int = 5
    """Steps of the second stage after a kick."""
    keep: int = 10
    """Kicked poses that are finished, by energy."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of :func:`hoirecon.fitting.object_fit.fit_objects`."""

    hypotheses: int = 256
    """Start poses, one for each rotation of an even cover of SO(3); 64 loses about a tenth of the scenes."""
    prune_after: int = 2
    """Coarse steps after which the worse half of the hypotheses is dropped; 0 keeps all to the end of the stage."""
    keep: int = 32
    """Hypotheses kept after the coarse stage, by energy, duplicates removed."""
    finish: int = 12
    """Hypotheses that go through the third stage, by energy after the second."""
    kicks: KickConfig = field(default_factory=KickConfig)
    """Further starts round the best poses."""
    duplicate: float = 0.04
    """Two hypotheses are one if their points lie closer than this fraction of the object's diagonal on average."""
    coarse: StageConfig = field(default_factory=lambda: StageConfig(5, 64, 128, 70, 15.0, 0.15, 0.03, 0.0))
    """First stage: all rotations, low resolution, no penetration."""
    anneal: StageConfig = field(default_factory=lambda: StageConfig(8, 96, 192, 70, 15.0, 0.15, 0.015, 0.3))
    """Second stage: the kept ones, still with wide robust scales."""
    final: StageConfig = field(default_factory=lambda: StageConfig(15, 128, 256, 160, 6.0, 0.06, 0.015, 1.0))
    """Third stage: narrow robust scales, full penetration weight."""
    contour_weight: float = 7.0
    """Effective number of measurements of each of the two contour directions."""
    contour_sigma: float = 0.008
    """Noise of the mask's contour as a fraction of the region's side."""
    contour_sigma_px: float = 1.5
    """Least noise of the mask's contour, pixels of the image."""
    depth_softness: float = 0.05
    """Softness of the depth order between object and person at the mask, metres."""
    order_weight: float = 1.5
    """Effective number of measurements of the depth order: where the object is seen, the body is behind it."""
    order_sigma: float = 0.05
    """Noise of the depth difference between object and body, metres."""
    order_tolerance: float = 0.03
    """Depth difference that costs nothing, metres."""
    order_scale: float = 3.0
    """Robust scale of the depth order in sigmas."""
    contact_weight: float = 4.0
    """Effective number of measurements of the contact term."""
    contact_sigma: float = 0.02
    """Noise of a contact point, metres."""
    contact_points: int = 48
    """Contact points on each of body and object, spread out by farthest-point sampling."""
    penetration_weight: float = 0.05
    """Cost of one sample that penetrates by one sigma."""
    penetration_sigma: float = 0.007
    """Noise of a penetration depth, metres."""
    penetration_tolerance: float = 0.004
    """Depth that costs nothing because flesh gives way, metres."""
    depth_sigma: float = 0.1
    """Without contact: how far the object may be from the person's depth, as a fraction of that depth."""
    rank_penetration_cap: float = 5.0
    """Most that penetration may count when hypotheses are ranked: a displaced hand must not decide."""
    rank_mask_weight: float = 0.5
    """Share of the term ``mask on outline`` that counts when one of the poses found is chosen. Where a hand lies on the
    object the mask's contour is the hand's, but an object just behind the hand counts as half before it, so that the
    true pose pays for it: at 1 a box in both hands may end 20 cm off. Chosen among 1, 0.5 and 0.25 on tuning scenes at
    L2 and L0. During the search all of it counts."""
    rank_contact_weight: float = 12.0
    """Effective number of measurements of the contact when one is chosen of poses that are apart, if
    :attr:`contact_weight` is less. Near a pose contact is vague, and more of it would pull the object off its contour;
    between poses centimetres apart it tells more than the search gives it. Chosen among 6, 8, 10, 12 and 16, and
    :attr:`rank_apart` among 3, 5 and 8 cm, on the poses found in 60 tuning scenes at L2."""
    rank_apart: float = 0.03
    """Among poses that lie nearer than this to the chosen one (mean distance of their points, metres) the one with the
    lowest energy is taken, contact counting as in the search."""
    rank_iou_weight: float = 20.0
    """Cost of a visible IoU of zero when hypotheses are ranked."""
    rank_width_weight: float = 0.5
    """Weight of the logarithm of the curvature's determinant when hypotheses are ranked (Laplace's evidence has 1)."""
    ambiguous_odds: float = 0.15
    """The result is ``ambiguous`` if the odds (chance / (1 - chance)) that it is farther off than
    :attr:`ambiguous_distance` are more than this: see :mod:`hoirecon.fitting.expected_error`. On tuning scenes that
    nobody had seen (``bench closedworld --level L2 --methods hoirecon-object --seeds 200:250``) that catches 6 of 7
    failures and alarms in .16 of the others."""
    ambiguous_temperature: float = 5.0
    """Energy gap in squared sigmas that makes a pose that the search found e times less likely; 2 if the noise were as
    modelled."""
    ambiguous_distance: float = 0.05
    """Runners-up are poses whose points lie farther than this from those of any better one, metres. A pose that is
    farther than this from the true one is what the flag ``ambiguous`` warns of."""
    alternatives: int = 4
    """Most runners-up returned."""
    mesh_faces: int = 5000
    """Meshes with more faces are simplified to this many for the silhouette; distances use the whole mesh."""
    region_cells: int = 512
    """Largest side of the region around the mask in which distances are computed; larger masks are averaged down."""
    chunk: int = 64
    """Hypotheses evaluated at once; 64 stays in the cache of one core, more is better on a GPU."""
    seed: int = 0
    """Seed of the samples on the surfaces."""

    def __post_init__(self) -> None:
        if self.hypotheses < 0 or self.keep < 1 or self.chunk < 1:
            raise InputError(
                f"the fit needs hypotheses >= 0, keep >= 1 and chunk >= 1, "
                f"got {self.hypotheses}, {self.keep} and {self.chunk}"
            )
