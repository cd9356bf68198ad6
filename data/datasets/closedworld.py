"""The closed world as a dataset: scenes in which everything is known, asked as any other dataset asks.

Nothing is downloaded; scenes are made from their seeds and kept. The body is the library's free one, so figures never
stand beside those of real data. What a method is given is wrong by the stated amounts of a noise level, and of touching
it knows what the track says:

- ``contact``: contact of body and object at the level's precision and recall, no pairs;
- ``correspondences``: that, and pairs of touching points;
- ``predicted``: what an estimator says of the picture; ``predicted`` of :func:`open_closedworld` is asked;
- ``none``: pictures, camera, body and mesh only;
- ``photograph``: a photograph with clothes and light, masks, camera and mesh, as real data hands them out: landmarks,
  body and contact are the method's own work.

**Frame.** Camera frame, OpenCV axes, metres. The question's mesh has an unknown size; the truth's pose maps it to the
camera with its true scale (at the level ``mismatch`` the mesh is another one, and the pose is the one that fits it best
by construction).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.contact_map import ContactMap
from hoirecon.data.datasets.listed import ListedDataset
from hoirecon.data.datasets.samples import (
    BodyContactTruth,
    CorrespondenceTruth,
    ObjectContactTruth,
    Question,
    ReconstructionTruth,
    Sample,
    Truth,
)
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable
from hoirecon.observation import box_of_mask
from hoirecon.pose import ObjectPose

if TYPE_CHECKING:
    from hoirecon.data.closedworld import ClosedWorldScene, NoisyObservation

Track = Literal["contact", "correspondences", "predicted", "none", "photograph"]
TRACKS: tuple[Track, ...] = ("contact", "correspondences", "predicted", "none", "photograph")
LEVEL = "L2"
"""Noise of what is given, where nothing else is asked for."""
SPLITS = {"dev": range(60), "test": range(1000, 1300)}
"""Seeds of the splits: tune on ``dev`` alone; the two share no category of objects."""
LICENCE = "made by this library; body and objects CC0"
Estimator = Callable[["ClosedWorldScene", "NoisyObservation"], tuple[ContactMap, ContactMap] | None]
"""What an estimator says of a scene as it is given: contact on the body and on the given mesh."""


def open_closedworld(
    root: str | Path,
    split: str = "dev",
    track: Track = "contact",
    level: str = LEVEL,
    noise_seed: int = 0,
    limit: int | None = None,
    predicted: Estimator | None = None,
) -> ListedDataset:
    """The closed world's samples.

    Args:
        root: a folder in which the questions' pictures are kept; made if it is missing. The scenes themselves are kept
            below ``hoirecon.files.home_dir()``.
        split: ``dev`` (60 scenes) or ``test`` (300).
        track: what is known of touching.
        level: ``L0`` (exact) to ``L3``, or ``mismatch``.
        noise_seed: another draw of the same noise.
        limit: only the first so many scenes.
        predicted: estimator of the track ``predicted``.

    Raises:
        InputError: unknown split, track or level; the track ``predicted`` without an estimator.
    """
    from hoirecon.data.closedworld import level_of
    from hoirecon.data.closedworld.recipes import recipe_of
    from hoirecon.data.closedworld.storage import pictures_digest

    if split not in SPLITS:
        raise InputError(f"the closed world's split is one of {', '.join(SPLITS)}, got '{split}'")
    if track not in TRACKS:
        raise InputError(f"the track is one of {', '.join(TRACKS)}, got '{track}'")
    if track == "predicted" and predicted is None:
        raise InputError("the track 'predicted' needs an estimator: give predicted=, or take track='contact'")
    level = level_of(level).name
    check_writable(root)
    # Not the scenes' digest alone: runs under other noise or drawing must not compare.
    version = f"{pictures_digest()} {level} {track} noise {noise_seed}"
    seeds = list(SPLITS[split])[:limit]
    reader = _Reader(Path(root), track, level, noise_seed, predicted)
    return ListedDataset(
        name="closedworld",
        version=version,
        split=split,
        licence=LICENCE,
        ids=tuple(f"{seed:05d}-{recipe_of(seed).interaction}" for seed in seeds),
        read=lambda k: reader.sample(seeds[k]),
        root=Path(root),
        label_files=(),
        stand_in=True,
    )


@dataclass(frozen=True)
class _Reader:
    root: Path
    track: Track
    level: str
    noise_seed: int
    predicted: Estimator | None

    def sample(self, seed: int) -> Sample:
        from hoirecon.data.closedworld import load_scene, observe_scene

        scene = load_scene(seed)
        given = observe_scene(scene, self.level, self.noise_seed)
        return Sample(self._question(scene, given), truth_of(scene, given), group=scene.name, category=scene.category)

    def _question(self, scene: ClosedWorldScene, given: NoisyObservation) -> Question:
        from hoirecon.data.closedworld.photograph import photograph
        from hoirecon.data.closedworld.storage import pictures_digest

        seen, alone = given.observation, self.track == "photograph"
        person = np.zeros(seen.size, dtype=bool) if seen.person_mask is None else seen.person_mask
        # Under the code's digest: pictures of another version must not stand beside this one's truth.
        folder = self.root / f"{self.level}-{self.noise_seed}-{pictures_digest()}" / scene.name
        return Question(
            id=f"{scene.seed:05d}-{scene.interaction}",
            image=_kept(folder / "photograph.png", lambda: photograph(scene))
            if alone
            else _kept(folder / "image.png", lambda: seen.image),
            label=given.category,
            person_mask=_kept(folder / "person_mask.png", lambda: _grey(person)),
            object_mask=_kept(folder / "object_mask.png", lambda: _grey(seen.object_masks[0])),
            person_box=_box(person),
            object_box=_box(seen.object_masks[0]),
            camera=seen.camera,
            object_mesh=replace(given.mesh, name=given.category),
            body=None if alone else given.body.params,
            extra=self._extra(scene, given),
        )

    def _extra(self, scene: ClosedWorldScene, given: NoisyObservation) -> dict[str, Any]:
        """What the track hands out: the observation in memory, the body, what is known of touching, and the turns under
        which the object looks the same (metrics do not tell them apart)."""
        if self.track == "photograph":
            return {"seed": scene.seed, "level": self.level, "symmetries": scene.thing.symmetry}
        maps = given.contacts if self.track in ("contact", "correspondences") else None
        if self.track == "predicted" and self.predicted is not None:
            maps = self.predicted(scene, given)
        pairs = given.correspondences if self.track == "correspondences" else None
        return {
            "track": self.track,
            "level": self.level,
            "seed": scene.seed,
            "observation": given.observation,
            "body": given.body,
            "size_prior": given.size_prior,
            "parts": dict(given.parts),
            "contacts": maps,
            "correspondences": pairs,
            "symmetries": scene.thing.symmetry,
        }


def truth_of(scene: ClosedWorldScene, given: NoisyObservation) -> dict[str, Truth]:
    """Everything that is true of a scene; the pose is that of the given mesh, whose size differs."""
    body, thing = scene.body_contact.probability, scene.object_contact.probability
    pairs, topology = scene.correspondences, scene.params.topology
    truth: dict[str, Truth] = {
        "reconstruction": ReconstructionTruth(
            object_pose=ObjectPose(scene.pose.R, scene.pose.t, given.true_scale),
            object_verts=scene.pose.apply(scene.mesh.verts),
            object_name=scene.object_id,
            body_verts=scene.body_verts,
            body_params=scene.params.arrays(),
            topology=topology,
            body_contact=body,
            body_faces=scene.body_model.faces,
            object_faces=scene.mesh.faces,
        ),
        "body_contact": BodyContactTruth(body, topology, {scene.category: np.flatnonzero(body)}),
        "object_contact": ObjectContactTruth(thing, scene.mesh),
    }
    if len(pairs):
        truth["correspondences"] = CorrespondenceTruth(pairs.body_verts, pairs.faces, pairs.bary, topology, scene.mesh)
    return truth


def _grey(mask: BoolArray) -> ByteArray:
    return np.repeat(mask[..., None].astype(np.uint8) * np.uint8(255), 3, axis=2)


def _box(mask: BoolArray) -> tuple[float, float, float, float] | None:
    return box_of_mask(mask) if mask.any() else None


def _kept(path: Path, draw: Callable[[], ByteArray]) -> Path:
    """The picture's file, drawn and written the first time."""
    from hoirecon.safe_io import write_png

    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as tmp:
            write_png(draw(), tmp)
    return path
