"""Bodies, meshes and clouds as MV-Loc sees them in training: views, maps and the true masks in them, at run time.

Nothing is made beforehand: views are drawn (and encoded) when they are first needed and kept on disk by a hash of all
that they depend on, see :class:`~hoirecon.contact.rendering.view_cache.ViewCache`; masks are made from the truth each
time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.rendering.points import POINT_RADIUS_LEMON
from hoirecon.contact.rendering.surfaces import body_surface, object_surface, topology
from hoirecon.contact.rendering.types import Renderer
from hoirecon.contact.rendering.view_cache import views_key
from hoirecon.contact.rendering.views import human_views, object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.training.losses import Target
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.contact.training.public.targets import min_vertices, view_masks
from hoirecon.data.body import BodyModel
from hoirecon.data.datasets.topologies import SAME_ORDER
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

LEMON = "lemon"
"""Dataset whose clouds were drawn nearer and with smaller points than PIAD's for the released models."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What MV-Loc is given for one lesson, and what it should find."""

    target: Target
    views: Tensor | None
    """(V, 3, S, S); None if there are features."""
    features: Tensor | None
    """(V, C, e, e)."""
    cameras: Tensor | None
    """(V, 5) normalised."""


class Stage:
    """Makes what MV-Loc sees.

    Args:
        gallery: draws and encodes for the network that is trained.
        body: whose vertices the labels on people are: SMPL-H's model for the public data (a user's own copy), or a
            posed mesh, y up, front to +z, whose ``name`` is the labels' topology; None if no lesson is on a body.
        encode: give the frozen encoder's features of the views, kept on disk, in place of pictures. A mesh is then
            encoded once and not at every visit; the body's four views are encoded once in all.
        near_lemon: draw LEMON's clouds as for the released models, from 1.5 with points of radius 0.03, which cuts
            off what lies near the camera; else as PIAD's and as the estimator draws every cloud, from 2 with 0.05.
    """

    def __init__(
        self,
        gallery: Gallery,
        body: BodyModel | Mesh | None = None,
        encode: bool = True,
        near_lemon: bool = False,
    ) -> None:
        self.gallery, self.encode, self.near_lemon = gallery, encode, near_lemon
        self._near = Gallery(gallery.network, _small_points(gallery.renderer), gallery.cache, gallery.batch)
        self._body = None if body is None else self._body_subject(body)
        self._body_topology = "" if body is None else body.name if isinstance(body, Mesh) else body.topology
        self._body_pictures: Tensor | None = None

    def scene(self, lesson: Lesson) -> Scene:
        """Views, maps and masks of a lesson on a body, a mesh or a cloud.

        Raises:
            InputError: labels on another body than the views show, or no truth.
        """
        if lesson.contact is None or lesson.task not in ("human", "object", "affordance"):
            raise InputError(f"a lesson of kind '{lesson.task}' without contact in 3D has no views")
        gallery, subject = self.subject(lesson)
        drawn = gallery.rendered(subject)
        mask = view_masks(lesson.contact, drawn.maps, min_vertices(subject.table))
        contact = torch.as_tensor(lesson.contact, dtype=torch.float32)
        target = Target(lesson.task, mask, contact, drawn.maps)
        views = None if self.encode else self._pictures(gallery, subject)
        features = gallery.features(subject) if self.encode else None
        return Scene(target, views, features, gallery.cameras(subject))

    def subject(self, lesson: Lesson) -> tuple[Gallery, Subject]:
        """What is looked at in a lesson, and who draws it.

        Raises:
            InputError: labels on another body than the views show, or no shape of an object.
        """
        if lesson.task == "human":
            return self.gallery, self._checked_body(lesson)
        if lesson.thing is None:
            raise InputError(f"{lesson.image.name}: no shape of the {lesson.label} is given")
        if self.near_lemon and lesson.dataset == LEMON and not isinstance(lesson.thing, Mesh):
            return self._near, self._near_cloud(lesson.thing)
        return self.gallery, self.gallery.object(lesson.thing)

    def _checked_body(self, lesson: Lesson) -> Subject:
        if self._body is None:
            raise InputError("contact on people needs their body: give body=, e.g. load_body(YOUR_SMPLH_FILE)")
        named = SAME_ORDER.get(lesson.topology, lesson.topology)
        if named != SAME_ORDER.get(self._body_topology, self._body_topology):
            raise InputError(
                f"the labels of {lesson.image.name} are on '{lesson.topology}', the views show "
                f"'{self._body_topology}': give the body of the labels (SMPL-H's for labels on SMPL)"
            )
        return self._body

    def _body_subject(self, body: BodyModel | Mesh) -> Subject:
        if not isinstance(body, Mesh):
            return self.gallery.body(body)
        config = self.gallery.network.config
        table = resized(human_views(config.human_views), config.map_side)
        surface, lights = body_surface(body.verts, body.faces), view_lights(table)
        return Subject(surface, table, lights, body.name, views_key(surface, table, lights, self.gallery.renderer))

    def _near_cloud(self, points: FloatArray) -> Subject:
        """A cloud as LEMON's were drawn: from the distance of meshes, with points of radius 0.03."""
        config = self.gallery.network.config
        table = resized(object_views(config.object_views), config.map_side)
        surface, lights = object_surface(points), view_lights(table)
        key = views_key(surface, table, lights, self._near.renderer)
        return Subject(surface, table, lights, topology(surface), key)

    def _pictures(self, gallery: Gallery, subject: Subject) -> Tensor:
        """The body's are one tensor, which a training step encodes once for all its samples."""
        if subject is not self._body:
            return gallery.pictures(subject)
        if self._body_pictures is None:
            self._body_pictures = gallery.pictures(subject)
        return self._body_pictures


def _small_points(renderer: Renderer) -> Renderer:
    """The same renderer with the points that LEMON's clouds were drawn with."""
    return replace(renderer, point_radius=POINT_RADIUS_LEMON) if isinstance(renderer, ZBufferRenderer) else renderer
