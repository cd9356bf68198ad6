"""Which adults are sampled, and the linear shape space of ten components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.build_free_body.makehuman import Floats, Human, Ints, morph, target_coefficients


@dataclass(frozen=True)
class PopulationConfig:
    """The adults whose shapes span the shape space: half men, half women.

    Statures follow ANSUR II (Gordon et al. 2014, 2012 Anthropometric Survey of U.S. Army Personnel, NATICK/TR-15/007).
    The other sliders have no physical unit; their spreads are our choice, stated here.
    """

    count: int = 800
    """Number of adults."""
    stature_men: tuple[float, float] = (1.756, 0.069)
    """Mean and standard deviation of men's stature, metres (ANSUR II, n = 4082)."""
    stature_women: tuple[float, float] = (1.628, 0.064)
    """Mean and standard deviation of women's stature, metres (ANSUR II, n = 1986)."""
    age: tuple[float, float] = (0.67, 0.95)
    """Uniform range of the age slider: 0.67 is 25 years, 1 is 90."""
    weight: tuple[float, float] = (0.70, 0.35)
    """Mean and deviation of the weight slider (0 thin, 1 heavy), extrapolated up to 1.6."""
    muscle: tuple[float, float] = (0.5, 0.2)
    """Mean and deviation of the muscle slider, kept in [0, 1]."""
    proportions: tuple[float, float] = (0.5, 0.2)
    """Mean and deviation of the proportions slider, kept in [0, 1]."""
    breast: tuple[float, float] = (0.5, 0.2)
    """Mean and deviation of the cup-size and firmness sliders (women), kept in [0, 1]."""
    seed: int = 0
    """Seed of the draw."""


def draw_phenotypes(config: PopulationConfig) -> tuple[dict[str, Floats], Floats]:
    """Slider values but for height, and the stature (N,) each adult shall have."""
    rng, n = np.random.default_rng(config.seed), config.count
    gender = (np.arange(n) % 2).astype(float)

    def normal(spread: tuple[float, float], high: float = 1.0) -> Floats:
        return np.clip(rng.normal(*spread, n), 0, high)

    sliders = {
        "gender": gender,
        "age": rng.uniform(*config.age, n),
        "weight": normal(config.weight, 1.6),
        "muscle": normal(config.muscle),
        "proportions": normal(config.proportions),
        "cupsize": normal(config.breast),
        "firmness": normal(config.breast),
    }
    men, women = (rng.normal(*s, n) for s in (config.stature_men, config.stature_women))
    return sliders, np.where(gender == 0, men, women)


def with_stature(human: Human, sliders: dict[str, Floats], stature: Floats, body: Ints) -> dict[str, Floats]:
    """Adds the height slider that gives each stature (stature is linear in it)."""
    at = []
    for value in (0.25, 0.75):
        probe = sliders | {"height": np.full(len(stature), value)}
        at.append(np.ptp(morph(human, target_coefficients(human, probe), body)[..., 1], axis=1))
    return sliders | {"height": 0.25 + 0.5 * (stature - at[0]) / (at[1] - at[0])}


def volumes(verts: Floats, faces: Ints) -> Floats:
    """Volume (N,) in litres of closed meshes (N, V, 3)."""
    a, b, c = (verts[:, faces[:, i]] for i in range(3))
    return np.asarray(np.einsum("nfi,nfi->n", a, np.cross(b, c)) / 6 * 1000)


def shape_space(verts: Floats, faces: Ints, mirror: Ints, count: int = 10) -> tuple[Floats, Floats, Floats]:
    """Principal components of T-posed adults (N, V, 3).

    Returns:
        mean: (V, 3), mirror-symmetric.
        dirs: (V, 3, count) displacement per standard deviation, symmetric; + is taller, or fuller where the stature
            changes by under 1 cm.
        explained: (count,) share of the variance of each.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    mean = verts.mean(0)
    _, s, vt = np.linalg.svd((verts - mean).reshape(len(verts), -1), full_matrices=False)
    dirs = (vt[:count] * (s[:count, None] / np.sqrt(len(verts) - 1))).reshape(count, -1, 3)
    mean = 0.5 * (mean + mean[mirror] * flip)
    dirs = 0.5 * (dirs + dirs[:, mirror] * flip)
    for k in range(count):
        plus, minus = mean + dirs[k], mean - dirs[k]
        taller = np.ptp(plus[:, 1]) - np.ptp(minus[:, 1])
        fuller = np.subtract(*volumes(np.stack([plus, minus]), faces))
        if (taller if abs(taller) > 0.01 else fuller) < 0:
            dirs[k] *= -1
    return mean, dirs.transpose(1, 2, 0), s[:count] ** 2 / (s**2).sum()
