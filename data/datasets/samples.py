"""The types that every reader gives: a question, its truth, and what ties samples together.

A predictor is handed :class:`Question` alone, so that no ground truth can leak into a prediction (the slip behind the
field's best-known withdrawn figure). Files are named, not opened: reading a list of ten thousand samples is light.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

WITH_DEPTH = "+depth"
"""Ending of the version of a dataset that hands out measured depth, which protocols of colour pictures do not."""


@dataclass(frozen=True)
class Question:
    """What a predictor may see of one sample."""

    id: str
    """Unique within the dataset and split, stable between runs."""
    image: Path | None = None
    """The photograph; None where the dataset withholds it (the sample still counts)."""
    label: str = ""
    """Name of the object that is asked about, words with spaces; empty for contact with anything."""
    affordance: str = ""
    """What is done with it, e.g. ``sit``, where the protocol tells it."""
    person_mask: Path | None = None
    """Picture of the person's visible pixels."""
    object_mask: Path | None = None
    """Picture of the object's visible pixels."""
    person_box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels."""
    object_box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels."""
    camera: Camera | None = None
    """Where the protocol gives intrinsics."""
    object_mesh: Mesh | None = None
    """The template in its own frame, metres, where the protocol gives one."""
    points: FloatArray | None = None
    """(N, 3) the object as points, where the protocol gives a cloud instead of a mesh."""
    body: BodyParams | None = None
    """Body estimate that the protocol hands out (pseudo ground truth counts as given), if any."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What only this dataset hands out, by its own names."""


@dataclass(frozen=True)
class BodyContactTruth:
    """Which vertices of the body touch."""

    contact: FloatArray
    """(V,) in [0, 1] as the file has it; metrics say where they cut."""
    topology: str
    """``smpl``, ``smplx``, ``mano`` or a stand-in's name (see :mod:`hoirecon.data.datasets.topologies`)."""
    by_object: Mapping[str, IntArray] = field(default_factory=dict)
    """Object name, words with spaces -> ids of vertices that touch it; empty where the dataset does not say."""


@dataclass(frozen=True)
class ObjectContactTruth:
    """Which vertices of one object's mesh touch."""

    contact: FloatArray
    """(V,) in [0, 1]."""
    mesh: Mesh


@dataclass(frozen=True)
class AffordanceTruth:
    """How likely each point of an object's cloud is used in one way."""

    points: FloatArray
    """(N, 3)."""
    affordance: FloatArray
    """(N,) in [0, 1]."""
    name: str
    """E.g. ``grasp``."""


@dataclass(frozen=True)
class CorrespondenceTruth:
    """Which body vertex touches which place of the object."""

    body_verts: IntArray
    """(N,) ids."""
    faces: IntArray
    """(N,) faces of the object's mesh."""
    barycentric: FloatArray
    """(N, 3) where on the face."""
    topology: str
    mesh: Mesh


@dataclass(frozen=True)
class ReconstructionTruth:
    """Person and object in 3D, in one frame."""

    object_pose: ObjectPose | None = None
    """Template to the frame of the body."""
    object_verts: FloatArray | None = None
    """(V, 3) metres, where vertices are given instead of a pose of a template."""
    object_name: str = ""
    """Name of the template."""
    body_verts: FloatArray | None = None
    """(V, 3) metres."""
    body_joints: FloatArray | None = None
    """(J, 3) metres."""
    body_params: Mapping[str, FloatArray] = field(default_factory=dict)
    """Parameters by the file's own names (``pose``, ``betas``, ``trans``): only their licensed model turns them into
    vertices. Names that begin with ``world_``: in the dataset's world, not in the frame of the truth."""
    params_to_truth: ObjectPose | None = None
    """World to the frame of the truth, ``x_truth = R x_world + t``, where there are ``world_`` parameters."""
    topology: str = ""
    body_contact: FloatArray | None = None
    """(V,) where the file has labels of its own."""
    body_faces: IntArray | None = None
    """(F, 3) triangles of ``body_verts``, where the file has them; else the topology's model does."""
    object_faces: IntArray | None = None
    """(G, 3) triangles of ``object_verts``, where the question gives no template."""


Truth = BodyContactTruth | ObjectContactTruth | AffordanceTruth | CorrespondenceTruth | ReconstructionTruth


@dataclass(frozen=True)
class Sample:
    """One sample: the question, apart from it the truth, and how it is grouped."""

    question: Question
    truth: Mapping[str, Truth]
    """By kind: ``body_contact``, ``object_contact``, ``affordance``, ``correspondences``, ``reconstruction``."""
    group: str = ""
    """Samples of one group are not independent (an image with several objects, a sequence); the bootstrap draws
    groups."""
    category: str = ""
    """For tables, e.g. the object's class."""

    @property
    def id(self) -> str:
        """Id of the question."""
        return self.question.id


class Dataset(Protocol):
    """A list of samples, read one at a time."""

    @property
    def name(self) -> str:
        """E.g. ``damon``."""
        ...

    @property
    def version(self) -> str:
        """Of the format that was read, e.g. ``npz`` or ``interactvlm-repack``."""
        ...

    @property
    def split(self) -> str:
        """E.g. ``test``."""
        ...

    @property
    def licence(self) -> str:
        """One line; the data is the user's own copy."""
        ...

    @property
    def stand_in(self) -> bool:
        """True if the body or the content is a free stand-in: its figures never stand beside real ones."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of what was read (names, sizes and contents of the label files), for results and resuming."""
        ...

    def __len__(self) -> int:
        """How many samples."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """All samples, in the dataset's order."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """One sample."""
        ...
