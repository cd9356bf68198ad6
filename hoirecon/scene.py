"""The result: bodies and objects in the camera frame, their contacts, and how well they explain the photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.short import counted, flags_text, short

Unit = Literal["px", "mm", "deg", "m", "ratio", "count", "s"]


@dataclass(frozen=True)
class Measure:
    """One number of the report with its unit, e.g. the median landmark error in pixels."""

    value: float
    unit: Unit
    meaning: str = ""


@dataclass(frozen=True)
class SceneBody:
    """One fitted person."""

    params: BodyParams
    """Shape and pose; ``params.topology`` names the body model."""
    verts: FloatArray
    """(V, 3) metres, camera frame."""
    faces: IntArray
    """(F, 3)."""
    joints: FloatArray
    """(J, 3) metres, camera frame."""
    landmarks: FloatArray | None = None
    """(L, 3) metres, camera frame: the body's own ``observation.keypoints``, in their order; None: unknown."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "verts", as_floats(self.verts, ("V", 3), "body verts"))
        object.__setattr__(self, "faces", as_ints(self.faces, ("F", 3), "body faces"))
        object.__setattr__(self, "joints", as_floats(self.joints, ("J", 3), "body joints"))
        if self.landmarks is not None:
            object.__setattr__(self, "landmarks", as_floats(self.landmarks, ("L", 3), "body landmarks"))

    @property
    def topology(self) -> str:
        """Name of the body's mesh."""
        return self.params.topology

    @property
    def mesh(self) -> Mesh:
        """The posed body as a mesh in the camera frame."""
        return Mesh(self.verts, self.faces, name="body")


@dataclass(frozen=True)
class SceneObject:
    """One fitted object."""

    name: str
    """What the user called it."""
    category: str
    """Category of the object library it was taken as, or '' for a user's own mesh."""
    mesh: Mesh
    """In the object frame, metres."""
    pose: ObjectPose
    """From the object frame to the camera frame."""
    licence: str = ""
    """Licence of the mesh."""
    author: str = ""
    """Author of the mesh."""
    alternatives: tuple[ObjectPose, ...] = ()
    """Other poses that explain the photograph nearly as well, best first."""
    alternative_energies: tuple[float, ...] = ()
    """How much worse each of them is: its energy above the pose's, in squared sigmas. One per alternative, or none."""

    def __post_init__(self) -> None:
        energies = tuple(float(v) for v in as_floats(self.alternative_energies, ("N",), "alternative_energies"))
        if energies and len(energies) != len(self.alternatives):
            raise InputError(
                f"{self.name} has {len(self.alternatives)} alternatives but {len(energies)} alternative_energies"
            )
        object.__setattr__(self, "alternatives", tuple(self.alternatives))
        object.__setattr__(self, "alternative_energies", energies)

    @property
    def verts_cam(self) -> FloatArray:
        """(V, 3) metres, camera frame."""
        return self.pose.apply(self.mesh.verts)

    @property
    def mesh_cam(self) -> Mesh:
        """The mesh in the camera frame, at its fitted size."""
        return self.mesh.with_verts(self.verts_cam)

    @property
    def alternative_meshes_cam(self) -> tuple[Mesh, ...]:
        """The mesh at each of the alternatives, camera frame."""
        return tuple(self.mesh.with_verts(pose.apply(self.mesh.verts)) for pose in self.alternatives)


@dataclass(frozen=True)
class ScenePair:
    """Contact between one body and one object."""

    body_index: int
    object_index: int
    body_contact: ContactMap
    """Probability per body vertex."""
    object_contact: ContactMap
    """Probability per object vertex."""


@dataclass(frozen=True, repr=False)
class Scene:
    """A reconstruction; everything is in the OpenCV camera frame ``cam``, metres.

    ``scene.body`` is the first person; ``scene.objects[0].pose`` the first object's pose; ``scene.contacts`` the
    contact of each body-object pair. :meth:`save` writes a folder that :meth:`load` reads back exactly.
    """

    observation: Observation
    bodies: tuple[SceneBody, ...]
    objects: tuple[SceneObject, ...]
    contacts: tuple[ScenePair, ...]
    measures: dict[str, Measure] = field(default_factory=dict)
    """Residuals and timings with units, by name."""
    flags: tuple[str, ...] = ()
    """Warnings a person should read before trusting the result."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made it."""
    config: dict[str, Any] = field(default_factory=dict)
    """Settings of the run, plain values."""

    def __post_init__(self) -> None:
        if not self.bodies:
            raise InputError("a scene holds at least one body")
        points = self.observation.keypoints
        for body in self.bodies:
            if points is not None and body.landmarks is not None and len(body.landmarks) != len(points.xy):
                raise InputError(
                    f"a body has {len(body.landmarks)} landmarks, the photograph {len(points.xy)} keypoints: "
                    "both must be the same ones in the same order"
                )
        for pair in self.contacts:
            body, obj = self.bodies[pair.body_index], self.objects[pair.object_index]
            pair.body_contact.check_on(body.topology, len(body.verts), "the body")
            pair.object_contact.check_on(obj.mesh.topology, len(obj.mesh.verts), obj.name)

    def __repr__(self) -> str:
        """Three lines: counts, each object's main figures, flags."""
        counts = f"{counted(len(self.bodies), 'body', 'bodies')}, {counted(len(self.objects), 'object')}"
        height, width = self.observation.size
        error = self.measures.get("body/landmark_error_relative")
        told = "" if error is None else f"; landmark error {100 * error.value:.1f} % of the person's height"
        things = "; ".join(f"{thing.name}: {self._figures(thing)}" for thing in self.objects) or "no objects"
        first = f"<Scene: {counts} in {width} x {height} pixels{told}"
        return f"{first}\n {short(things, 200)}\n {flags_text(self.flags)}>"

    def _figures(self, thing: SceneObject) -> str:
        figures = [f"{float(thing.mesh.extents.max() * thing.pose.s):.2f} m long, {thing.pose.t[2]:.2f} m away"]
        for name, form in (("iou_visible", "visible IoU {:.2f}"), ("penetration", "penetration {:.0f} mm")):
            measure = self.measures.get(f"{thing.name}/{name}")
            figures += [] if measure is None else [form.format(measure.value)]
        return ", ".join(figures)

    @property
    def camera(self) -> Camera:
        """Camera of the photograph."""
        return self.observation.camera

    @property
    def body(self) -> SceneBody:
        """The first (often the only) person."""
        return self.bodies[0]

    def save(self, out: str | Path, *, pictures: bool = True, report: bool = True) -> Path:
        """Write the scene as a folder: parameters, meshes, pictures, an offline page.

        Args:
            out: folder to make; an earlier result there is replaced as a whole, anything else is refused.
            pictures: also write overlay, contact and turntable pictures (needs the extra ``render``).
            report: also write ``report.html`` (needs the extra ``viewer``).

        Returns:
            The folder.

        Raises:
            InputError: the folder cannot be written or holds something else.
        """
        from hoirecon.views.folder import save_scene

        return save_scene(self, out, pictures=pictures, report=report)

    @classmethod
    def load(cls, folder: str | Path) -> Scene:
        """Read back exactly what :meth:`save` wrote.

        Raises:
            InputError: not a result folder, another schema version, or damaged files.
        """
        from hoirecon.scene_io import load_scene

        return load_scene(folder)
