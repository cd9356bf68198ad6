"""A term of one's own in one function: a thing stands beside a person, and we know how high.

Usage: python examples/06_own_term.py [OUT]
Without contact the size alone tells how far a thing is. Here one more thing is known, the height of what it stands on,
and three lines tell the fit. The derivative is found by automatic differentiation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hoirecon.data.body import load_body
from hoirecon.data.closedworld import load_scene, observe_scene
from hoirecon.fitting import JointConfig, JointView, ObjectToFit, PersonToFit, fit, own_term


def main(out: Path) -> None:
    """Fit one scene of the closed world without and with the term; write the object with it in camera coordinates."""
    scene = load_scene(13)  # nobody touches the object
    given = observe_scene(scene, "L2", seed=0)
    corners = torch.tensor(given.mesh.verts - (given.mesh.verts.min(0) + given.mesh.verts.max(0)) / 2).float()
    up, floor = torch.tensor([0.0, -1.0, 0.0]), float((scene.pose.apply(scene.mesh.verts) @ [0.0, -1.0, 0.0]).min())

    def stands_on_shelf(view: JointView) -> Tensor:
        """(B, 1, 1) height of the lowest point over the shelf, metres."""
        return (view.object_points(0, corners) @ up).amin(1)[:, None, None] - floor

    person = PersonToFit(given.body, given.observation.keypoints, load_body())
    thing = ObjectToFit(given.mesh, given.category, given.size_prior)
    for terms in ((), (own_term(stands_on_shelf, sigma=0.01, weight=10.0),)):
        found = fit(
            given.observation, person, [thing], [None], JointConfig(guess_ground=False, factors={"depth prior": 0.1}),
            terms=terms,
        )  # fmt: skip
        off = np.linalg.norm(found.best.poses[0].t - scene.pose.t)
        print(
            f"{len(terms)} own terms: the {given.category} is {100 * off:.0f} cm off; known terms: {list(found.terms)}"
        )
    out.mkdir(parents=True, exist_ok=True)
    given.mesh.with_verts(found.best.poses[0].apply(given.mesh.verts)).to_trimesh().export(out / "object.obj")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/own_term"))
