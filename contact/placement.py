"""Could one rigid object of about the usual size touch all these parts of the body at once, and look as it does?

A small search for the object's place: many rotations and a few sizes are moved by Gauss-Newton steps so that claimed
pairs of parts meet (iterative closest points), the visible pixels of the object's mask are covered, and nothing sticks
out where the object would be seen. Every claim has a share for being wrong, so claims that do not fit the rest are
let go rather than averaged in. What comes out is not the object's pose but how well each claim agrees with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class PlacementConfig:
    """Settings of the search."""

    rotations: int = 96
    """Rotations from which the search starts, for each of three sizes; 0 switches the whole check off."""
    stages: tuple[tuple[float, int, int], ...] = ((4.0, 4, 48), (2.0, 5, 24), (1.0, 8, 12))
    """(blur, steps, kept) of each stage: noises are taken so many times too large, so that far starts come near; then
    so many placements go on."""
    outlier: float = 0.08
    """Likelihood of a gap where a claim is false, relative to no gap where it is true."""
    mask_sigma_m: float = 0.025
    """Noise of the mask and of the mesh's form, metres at the object's depth; for a large object at least four tenths
    of the gap between the points by which it is drawn."""
    mask_weight: float = 30.0
    """Weight of covering the mask, and of not sticking out, each, in claims."""
    surface_points: int = 110
    """Points by which the object is drawn."""
    mask_points: int = 40
    """Pixels of the mask that are to be covered."""
    facing_sigma: float = 0.8
    """Noise of the difference between the skin's inward and the object's outward direction: 0.8 is about 47 degrees."""
    part_points: int = 24
    """Points by which a part of body or object is represented."""


@dataclass(frozen=True)
class Claim:
    """That a part of the body touches a part of the object."""

    body_cam: FloatArray
    """(K, 3) points on the part of the body, metres, camera frame."""
    object_obj: FloatArray
    """(M, 3) points on the part of the object, object frame."""
    noise_m: float
    """Noise of the gap between the two, metres."""
    depth_noise_m: float
    """Noise along the line of sight of the whole group that the body part belongs to, metres, common to its claims."""
    body_normals: FloatArray
    """(K, 3) outward directions of the skin at the points, camera frame: two surfaces that touch face each other."""
    object_normals: FloatArray
    """(M, 3) outward directions of the object's surface, object frame."""
    group: str = ""
    """Claims of one group, such as palm and fingers of a hand, share one error of depth."""
    weight: float = 1.0
    """How much it counts for finding the place."""


@dataclass(frozen=True)
class Agreement:
    """How well claims agree with one another in space."""

    fits: FloatArray
    """(N,) ``exp(-d^2 / 2)`` of each claim's gap d in units of its noise: 1 no gap, 0 hopeless."""
    misses: float
    """How badly the object, placed so, looks like its mask: negative log-likelihood per pixel, 0 or more."""


@dataclass(frozen=True)
class SeenObject:
    """The object in a small picture."""

    camera: Camera
    mask: BoolArray
    """(h, w) visible pixels of the object."""
    may_hide: BoolArray
    """(h, w) pixels where the object could be without being seen: behind the person or an occluder."""


@dataclass(frozen=True)
class _Batch:
    """B placements: x_cam = s R x_obj + t, and how much deeper than fitted each group of the body would be."""

    R: FloatArray
    t: FloatArray
    log_s: FloatArray
    deeper: FloatArray
    """(B, G) metres."""

    def points(self, points_obj: FloatArray) -> FloatArray:
        """(B, P, 3)."""
        return np.asarray(np.exp(self.log_s)[:, None, None] * (points_obj @ self.R.swapaxes(1, 2)) + self.t[:, None])

    def at(self, index: IntArray) -> _Batch:
        return _Batch(self.R[index], self.t[index], self.log_s[index], self.deeper[index])


def agreement(
    claims: Sequence[Claim],
    mesh: Mesh,
    size_prior: tuple[float, float],
    seen: SeenObject,
    config: PlacementConfig | None = None,
) -> Agreement:
    """How well each claim agrees with the others, the mask and the size, averaged over the likeliest placements.

    Args:
        claims: pairs of parts.
        mesh: the object.
        size_prior: logarithm of (usual size / the mesh's own), and its standard deviation.
        seen: mask and what may hide the object.
        config: settings of the search.
    """
    config = config or PlacementConfig()
    search = _Search(list(claims), surface_points(mesh, config.surface_points), size_prior, seen, config)
    state = search.starts()
    for blur, steps, kept in config.stages:
        for _ in range(steps):
            state = search.step(state, blur)
        state = state.at(np.argsort(search.cost(state, blur), kind="stable")[:kept])
    cost = search.cost(state)
    posterior = np.exp(cost.min() - cost)
    posterior = posterior / posterior.sum()
    fits = np.exp(-0.5 * search.gaps(state))
    return Agreement(posterior @ fits, float(posterior @ search.misses(state)))


class _Search:
    """Everything that stays fixed while placements move."""

    def __init__(
        self,
        claims: list[Claim],
        surface: FloatArray,
        size_prior: tuple[float, float],
        seen: SeenObject,
        config: PlacementConfig,
    ) -> None:
        from scipy.ndimage import distance_transform_edt

        self.claims, self.surface, self.size_prior, self.config = claims, surface, size_prior, config
        self.camera = seen.camera
        names = list(dict.fromkeys(c.group for c in claims))
        self.group = np.array([names.index(c.group) for c in claims])
        self.member = np.eye(len(names))[self.group]  # (N, G)
        self.weights = np.array([c.weight for c in claims])
        self.noise = np.array([c.noise_m for c in claims])
        self.depth_noise = np.array([max(c.depth_noise_m for c in claims if c.group == g) for g in names])
        rays = np.array([c.body_cam.mean(axis=0) for c in claims])
        self.rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        self.body = [np.concatenate([c.body_cam / c.noise_m, -c.body_normals / config.facing_sigma], 1) for c in claims]
        apart = np.linalg.norm(surface[:, None] - surface[None], axis=-1) + np.diag(np.full(len(surface), np.inf))
        gap = float(np.median(apart.min(axis=1)) * np.exp(size_prior[0]))
        self.mask_sigma = max(config.mask_sigma_m, 0.4 * gap)
        rows, cols = np.nonzero(seen.mask)
        pixels = np.stack([cols + 0.5, rows + 0.5], axis=1)
        self.pixels = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), config.mask_points)).astype(int)]
        self.outside, self.nearest = distance_transform_edt(~(seen.mask | seen.may_hide), return_indices=True)

    def starts(self) -> _Batch:
        """An even spread of rotations (seeded) and three sizes, at the claims' mean depth on the mask's middle ray."""
        from scipy.spatial.transform import Rotation

        places = np.array([c.body_cam.mean(axis=0) for c in self.claims])
        depth = float(self.weights @ places[:, 2] / self.weights.sum())
        middle = self.camera.unproject(self.pixels.mean(axis=0), depth)
        turns = Rotation.random(self.config.rotations, rng=np.random.default_rng(0)).as_matrix()
        mean, sigma = self.size_prior
        count = len(turns)
        log_s = np.repeat(mean + sigma * np.array([-1.0, 0.0, 1.0]), count)
        R = np.tile(turns, (3, 1, 1))
        centre = np.exp(log_s)[:, None] * (R @ self.surface.mean(axis=0))
        return _Batch(R, middle - centre, log_s, np.zeros((len(R), self.member.shape[1])))

    def gaps(self, state: _Batch) -> FloatArray:
        """(B, N) squared gap of each claim in units of its noise, with that of its group's depth."""
        own = np.stack([np.square(self._gap(state, n)[0]).sum(-1) for n in range(len(self.claims))], axis=1)
        return np.asarray(own + np.square(state.deeper / self.depth_noise)[:, self.group])

    def cost(self, state: _Batch, blur: float = 1.0) -> FloatArray:
        """(B,) negative log-likelihood."""
        total = self._forgiving(self.gaps(state) / blur**2) @ self.weights
        total = total + self.config.mask_weight * self.misses(state, blur)
        mean, sigma = self.size_prior
        return np.asarray(total + 0.5 * np.square((state.log_s - mean) / sigma))

    def misses(self, state: _Batch, blur: float = 1.0) -> FloatArray:
        """(B,) mean negative log-likelihood of covering the mask, and of not sticking out."""
        looks = self._looks(state)
        return np.asarray(sum((share * self._forgiving(np.square(r / blur).sum(-1))).sum(1) for r, _, share in looks))

    def step(self, state: _Batch, blur: float = 1.0) -> _Batch:
        """One damped, robustly reweighted Gauss-Newton step of every placement."""
        H = np.zeros((len(state.t), 7, 7)) + np.diag([1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3])
        g = np.zeros((len(state.t), 7))
        pulls, holds = (np.zeros((len(state.t), len(self.claims))) for _ in range(2))
        for n in range(len(self.claims)):
            r, x, facing = self._gap(state, n)
            turning = _motion(facing[:, None], np.zeros_like(facing)) * [0, 0, 0, 1, 1, 1, 0]
            J = np.concatenate([_motion(x[:, None], state.t) / self.noise[n], turning], axis=2)
            weights = self.weights[n] / blur**2 * self._trust(np.square(r / blur).sum(-1))
            _add(H, g, r[:, None], J, weights[:, None])
            holds[:, n] = weights / self.noise[n] ** 2
            along = r[:, :3] @ self.rays[n] * self.noise[n] + state.deeper[:, self.group[n]]
            pulls[:, n] = holds[:, n] * along
        for r, J, share in self._looks(state):
            weights = self.config.mask_weight / blur**2 * share * self._trust(np.square(r / blur).sum(-1))
            _add(H, g, r, J, weights)
        mean, sigma = self.size_prior
        H[:, 6, 6] += 1 / sigma**2
        g[:, 6] += (state.log_s - mean) / sigma**2
        prior = (self.weights @ self.member) / (blur * self.depth_noise) ** 2
        deeper: FloatArray = pulls @ self.member / (holds @ self.member + prior)
        step = np.asarray(-np.linalg.solve(H, g[..., None])[..., 0], dtype=np.float64)
        return replace(_moved(state, step), deeper=deeper)

    def _gap(self, state: _Batch, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gap (B, 6) between the best-fitting points of the two parts, in units of noise: place, then direction.

        Also the object's point (B, 3) there and its direction (B, 3) over the noise of directions.
        """
        claim, y = self.claims[n], self.body[n]
        x = state.points(claim.object_obj)
        facing = claim.object_normals @ state.R.swapaxes(1, 2) / self.config.facing_sigma
        shift = state.deeper[:, self.group[n], None] * self.rays[n]
        z = np.concatenate([(x - shift[:, None]) / self.noise[n], facing], axis=2)
        squared = np.square(z).sum(-1)[:, :, None] - 2 * z @ y.T + np.square(y).sum(-1)
        best = squared.reshape(len(x), -1).argmin(axis=1)
        i, k = best // len(y), best % len(y)
        rows = np.arange(len(x))
        return z[rows, i] - y[k], x[rows, i], facing[rows, i]

    def _looks(self, state: _Batch) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Residuals in the image (B, Q, 2), Jacobians (B, Q, 2, 7) and shares (B, Q): mask covered, nothing beside."""
        x = state.points(self.surface)
        uv = np.nan_to_num(self.camera.project(np.maximum(x, [-np.inf, -np.inf, 0.2])))
        squared = np.square(uv).sum(-1)[:, :, None] - 2 * uv @ self.pixels.T + np.square(self.pixels).sum(-1)
        covering = np.take_along_axis(x, squared.argmin(axis=1)[..., None], axis=1)
        covered = self._at_pixels(covering, np.broadcast_to(self.pixels, (*covering.shape[:2], 2)), state)
        height, width = self.outside.shape
        col, row = (np.clip(uv[..., i], 0, n - 1).astype(np.int64) for i, n in ((0, width), (1, height)))
        inside = (uv >= 0).all(-1) & (uv[..., 0] < width) & (uv[..., 1] < height)
        goal = np.stack([self.nearest[1][row, col], self.nearest[0][row, col]], axis=-1) + 0.5
        beside = self._at_pixels(x, goal, state)
        sticks_out = inside & (self.outside[row, col] > 0.5)
        shares = (np.ones(covering.shape[:2]) / len(self.pixels), sticks_out / x.shape[1])
        return [(*covered, shares[0]), (*beside, shares[1])]

    def _at_pixels(self, x: FloatArray, pixels: FloatArray, state: _Batch) -> tuple[FloatArray, FloatArray]:
        """Offset of points from the rays of pixels, in units of the mask's noise, and its derivative."""
        rays = (pixels - self.camera.K[:2, 2]) / np.diag(self.camera.K)[:2]
        r = (x[..., :2] - rays * x[..., 2:]) / self.mask_sigma
        motion = _motion(x, state.t)
        J = (motion[..., :2, :] - rays[..., None] * motion[..., 2:, :]) / self.mask_sigma
        return r, J

    def _forgiving(self, squared: FloatArray) -> FloatArray:
        """Negative log of a mixture of a true claim's Gaussian and a false one's flat share, 0 at no gap."""
        e = self.config.outlier
        return np.asarray(-np.log((np.exp(-0.5 * squared) + e) / (1 + e)))

    def _trust(self, squared: FloatArray) -> FloatArray:
        """Derivative of :meth:`_forgiving` by half the squared gap; a little is left so that far starts come near."""
        fit = np.exp(-0.5 * squared)
        return np.asarray(np.maximum(fit / (fit + self.config.outlier), 0.3 / (1 + squared)))


def surface_points(mesh: Mesh, count: int) -> FloatArray:
    """(count, 3) points spread evenly over a mesh's surface, object frame; the same every time."""
    rng = np.random.default_rng(0)
    corners = mesh.verts[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    # Half of the points by area, half by faces, so that thin bars beside large plates get theirs.
    odds = 0.5 * area / max(float(area.sum()), 1e-12) + 0.5 / len(area)
    face = rng.choice(len(area), 12 * count, p=odds / odds.sum())
    u = np.sort(rng.random((len(face), 2)), axis=1)
    w = np.stack([u[:, 0], u[:, 1] - u[:, 0], 1 - u[:, 1]], axis=1)
    points: FloatArray = np.einsum("nk,nkc->nc", w, corners[face])
    return points[spread(points, count)]


def spread(points: FloatArray, count: int) -> IntArray:
    """(at most count,) which of the points (N, 3) to take, so that each is as far as can be from those before it."""
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [int(np.square(points - points.mean(axis=0)).sum(-1).argmax())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.square(points - points[chosen[-1]]).sum(-1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _motion(x: FloatArray, t: FloatArray) -> FloatArray:
    """(B, P, 3, 7) derivative of points (B, P, 3) by a shift, a turn about t (B, 3) and the size's logarithm."""
    arm = x - t[:, None]
    J = np.zeros((*x.shape, 7))
    J[..., 0, 0] = J[..., 1, 1] = J[..., 2, 2] = 1
    J[..., 0, 4], J[..., 0, 5] = arm[..., 2], -arm[..., 1]
    J[..., 1, 3], J[..., 1, 5] = -arm[..., 2], arm[..., 0]
    J[..., 2, 3], J[..., 2, 4] = arm[..., 1], -arm[..., 0]
    J[..., 6] = arm
    return J


def _add(H: FloatArray, g: FloatArray, r: FloatArray, J: FloatArray, weights: FloatArray) -> None:
    """Add weighted residuals (B, Q, C) with Jacobians (B, Q, C, 7) and weights (B, Q) to normal equations, in place."""
    flat = (J * weights[..., None, None]).reshape(len(J), -1, 7).swapaxes(1, 2)
    H += flat @ J.reshape(len(J), -1, 7)
    g += (flat @ r.reshape(len(r), -1, 1))[..., 0]


def _moved(state: _Batch, step: FloatArray) -> _Batch:
    """The placements after steps (B, 7), turns limited to half a radian and sizes to a factor of 1.2."""
    from scipy.spatial.transform import Rotation

    turn = step[:, 3:6] * np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(step[:, 3:6], axis=1), 1e-9))[:, None]
    R = Rotation.from_rotvec(turn).as_matrix() @ state.R
    return replace(state, R=R, t=state.t + step[:, :3], log_s=state.log_s + np.clip(step[:, 6], -0.18, 0.18))
