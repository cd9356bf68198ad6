"""All frames of a video in one least-squares problem: a block per frame, the size of each object in common.

The normal equations are put together frame by frame (and window by window for what links frames), so that nothing of
the size of all residuals by all unknowns is ever made; only the matrix of all unknowns is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hoirecon.fitting.joint_state import JointState, Layout, limit_step
from hoirecon.fitting.joint_view import Figure, JointView
from hoirecon.fitting.object_state import DOF
from hoirecon.fitting.objective import Quadratic, Term, linearise


@dataclass(frozen=True)
class VideoState:
    """One hypothesis of a video: a joint state (a batch of one) per frame, in which each object has the same size."""

    frames: tuple[JointState, ...]

    def __len__(self) -> int:
        return 1

    @cached_property
    def columns(self) -> tuple[Tensor, ...]:
        """Per frame (d,): which unknown of the video each column of the frame's step is; sizes come first."""
        count = len(self.frames[0].objects)
        start, found = count, []
        for frame in self.frames:
            place = torch.full((frame.layout.size,), -1, dtype=torch.long)
            for k in range(count):
                place[frame.layout.of_object(k).start + DOF - 1] = k
            own = torch.nonzero(place < 0)[:, 0]
            place[own] = start + torch.arange(len(own))
            start += len(own)
            found.append(place.to(frame.objects[0].t.device))
        return tuple(found)

    @property
    def size(self) -> int:
        """D, the number of unknowns."""
        return int(self.columns[-1].max()) + 1

    def retract(self, step: Tensor) -> VideoState:
        """The video after a step (1, D)."""
        pairs = zip(self.frames, self.columns, strict=True)
        return VideoState(tuple(frame.retract(step[:, place]) for frame, place in pairs))

    def select(self, index: Tensor) -> VideoState:
        """Itself, or nothing: the batch is one."""
        return self if len(index) else VideoState(())

    def merge(self, part: VideoState, index: Tensor) -> VideoState:
        """The part, if there is one."""
        return part if len(index) else self

    def with_common_size(self) -> VideoState:
        """The video with each object at the median of its sizes, moved along the line of sight so as to look alike."""
        sizes = [
            torch.cat([f.objects[k].log_s for f in self.frames]).median() for k in range(len(self.frames[0].objects))
        ]
        frames = []
        for frame in self.frames:
            objects = tuple(
                replace(o, t=o.t * (size - o.log_s).exp()[:, None], log_s=size.expand_as(o.log_s))
                for o, size in zip(frame.objects, sizes, strict=True)
            )
            frames.append(replace(frame, objects=objects))
        return VideoState(tuple(frames))


@dataclass(frozen=True)
class Window:
    """Neighbouring frames and the terms that link them; blocks of frame n of the window come after those of n - 1."""

    frames: tuple[int, ...]
    terms: tuple[Term[JointView], ...]


def window_view(state: VideoState, frames: Sequence[int], figures: Sequence[tuple[Figure, ...]]) -> JointView:
    """Some frames as one joint state: all their objects, then all their bodies."""
    parts = [state.frames[f] for f in frames]
    objects = tuple(o for part in parts for o in part.objects)
    bodies = tuple(b for part in parts for b in part.bodies)
    names = tuple(f"{name} {n}" for n, part in enumerate(parts) for name in part.layout.objects)
    people = tuple(f"{name} {n}" for n, part in enumerate(parts) for name in part.layout.bodies)
    layout = Layout(names, people, tuple(free for part in parts for free in part.layout.free))
    return JointView(JointState(objects, bodies, layout), tuple(x for f in frames for x in figures[f]))


def window_columns(state: VideoState, frames: Sequence[int], view: JointView) -> Tensor:
    """(d,) which unknown of the video each column of a window's step is."""
    place = torch.zeros(view.state.layout.size, dtype=torch.long, device=state.columns[0].device)
    layout, seen = view.state.layout, 0
    for kind in ("of_object", "of_body"):
        seen = 0
        for f in frames:
            own = state.frames[f].layout
            count = len(own.objects if kind == "of_object" else own.bodies)
            for k in range(count):
                place[getattr(layout, kind)(seen)] = state.columns[f][getattr(own, kind)(k)]
                seen += 1
    return place


def linearise_video(
    state: VideoState,
    terms: Sequence[Sequence[Term[JointView]]],
    windows: Sequence[Window],
    figures: Sequence[tuple[Figure, ...]],
) -> Quadratic:
    """Normal equations of all frames' terms and of the windows that link them; costs of equal names add up."""
    like = state.frames[0].objects[0].t
    H, g = like.new_zeros(1, state.size, state.size), like.new_zeros(1, state.size)
    costs: dict[str, Tensor] = {}
    for f, (frame, place) in enumerate(zip(state.frames, state.columns, strict=True)):
        _add(linearise(terms[f], JointView(frame, figures[f])), place, H, g, costs)
    for window in windows:
        view = window_view(state, window.frames, figures)
        _add(linearise(window.terms, view), window_columns(state, window.frames, view), H, g, costs)
    return Quadratic(torch.stack(list(costs.values())).sum(0), g, H, costs)


def _add(quad: Quadratic, place: Tensor, H: Tensor, g: Tensor, costs: dict[str, Tensor]) -> None:
    g[0].index_put_((place,), quad.gradient[0], accumulate=True)
    H[0].index_put_((place[:, None], place[None]), quad.hessian[0], accumulate=True)
    for name, cost in quad.terms.items():
        costs[name] = costs.get(name, torch.zeros_like(cost)) + cost


def limit_video_step(step: Tensor, state: VideoState) -> Tensor:
    """Shorten a step (1, D) so that no frame's is longer than its models hold."""
    ratio = 1.0
    for frame, place in zip(state.frames, state.columns, strict=True):
        own = step[:, place]
        size = float(own.norm())
        if size > 0:
            ratio = min(ratio, float(limit_step(own, frame.layout).norm()) / size)
    return step * ratio
