"""Bodies and objects as MV-Loc sees them: rendered once, encoded once, kept in memory and on the disk."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.contact.modeling.feat_lift import normalize_cameras
from hoirecon.contact.rendering.body_views import vitruvian_pose
from hoirecon.contact.rendering.surfaces import body_surface, object_surface, topology
from hoirecon.contact.rendering.types import Lights, RenderedViews, Renderer, Surface, ViewTable
from hoirecon.contact.rendering.view_cache import ViewCache, encode_once, render_once, views_key, weights_hash
from hoirecon.contact.rendering.views import (
    as_point_views,
    camera_numbers,
    human_views,
    object_views,
    resized,
    view_lights,
)
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.modeling.network import InteractVLMNetwork
    from hoirecon.data.body import BodyModel

THINGS_KEPT = 8
"""Bodies and objects kept in memory; a full-size one takes 150 MB with its maps."""

T = TypeVar("T")
Stamp = tuple[tuple[int, int, torch.dtype, int], ...]
"""Of each tensor of an encoder: which it is, where it lies, its type, and how often it was written to."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A body or an object, and from where it is looked at."""

    surface: Surface
    """What is drawn."""
    table: ViewTable
    """From where."""
    lights: Lights
    """In which light."""
    topology: str
    """What a contact map on it says of its mesh."""
    key: str
    """Name of its pictures: a hash of all that they depend on."""
    folder: Path | None = None
    """Where its pictures and maps lie in the released layout; None draws them."""


class _Kept(Generic[T]):
    """What was made last, by key; a thread that trains may ask beside one that makes the next batch."""

    def __init__(self) -> None:
        self._store: OrderedDict[str, T] = OrderedDict()
        self._using = threading.Lock()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Made once, or twice if two threads want it at the same moment."""
        with self._using:
            if key in self._store:
                self._store.move_to_end(key)
                return self._store[key]
        return self.keep(key, make())

    def keep(self, key: str, value: T) -> T:
        """The least recently used goes when there are too many."""
        with self._using:
            self._store[key] = value
            self._store.move_to_end(key)
            while len(self._store) > THINGS_KEPT:
                self._store.popitem(last=False)
        return value

    def clear(self) -> None:
        """Drop everything."""
        with self._using:
            self._store.clear()


class Gallery:
    """Renders and encodes on demand; threads may share one.

    Args:
        network: the network whose MV-Loc encodes.
        renderer: draws the views.
        cache: keeps pictures and embeddings between runs; None keeps them in memory only.
        batch: views encoded at the same time; more is faster on a GPU and takes more memory.
        encoded: embeddings that came with the weights, by ``<key of their pictures>.<hash of the encoder>`` as
            :meth:`named` gives it; those without a hash (older folders) are taken to be of the weights as they now are.
        body_views: folder of body pictures and maps in the released layout, to take instead of rendering.
    """

    def __init__(
        self,
        network: InteractVLMNetwork,
        renderer: Renderer,
        cache: ViewCache | None = None,
        batch: int = 4,
        encoded: dict[str, Tensor] | None = None,
        body_views: str | Path | None = None,
    ) -> None:
        self.network = network
        self.renderer = renderer
        self.cache = cache
        self.batch = batch
        self._hashed: tuple[Stamp, str] | None = None
        self.encoded = {key if "." in key else self.named(key): views for key, views in (encoded or {}).items()}
        self.body_views = None if body_views is None else Path(body_views)
        self._rendered = _Kept[RenderedViews]()
        self._features = _Kept[Tensor]()
        self._features_of = self._stamp()

    def body(self, model: BodyModel) -> Subject:
        """The canonical views of a body: its mean shape in the Vitruvian pose."""
        table = self._sized(human_views(self.network.config.human_views))
        surface = body_surface(vitruvian_pose(model), model.faces)
        return self._subject(surface, table, view_lights(table), model.topology, self.body_views)

    def object(self, thing: Any) -> Subject:
        """The views of a mesh or point cloud, brought to unit size.

        Raises:
            InputError: not a shape that can be drawn.
        """
        table = self._sized(object_views(self.network.config.object_views))
        surface = object_surface(thing)
        if surface.faces is None:
            table = as_point_views(table)
        return self._subject(surface, table, view_lights(table), topology(surface))

    def _subject(
        self, surface: Surface, table: ViewTable, lights: Lights, name: str, folder: Path | None = None
    ) -> Subject:
        if folder is None:
            return Subject(surface, table, lights, name, views_key(surface, table, lights, self.renderer))
        views = _released_views(folder, table, len(surface.verts))
        key = _content_key(views)
        self._rendered.keep(key, views)
        return Subject(surface, table, lights, name, key, folder)

    def rendered(self, subject: Subject) -> RenderedViews:
        """Its pictures and maps."""
        return self._rendered.get(subject.key, lambda: self._draw(subject))

    def pictures(self, subject: Subject) -> Tensor:
        """(V, 3, S, S) its pictures as MV-Loc's encoder takes them: as drawn, or shrunk if they were drawn larger."""
        drawn = torch.as_tensor(self.rendered(subject).images).permute(0, 3, 1, 2)
        side = self.network.config.sam.img_size
        if drawn.shape[-1] == side:
            return drawn
        return functional.interpolate(drawn.float(), (side, side), mode="bilinear", antialias=True)

    def features(self, subject: Subject) -> Tensor:
        """(V, C, e, e) MV-Loc's embeddings of its pictures, on the network's device; anew if its weights changed."""
        if self._features_of != (now := self._stamp()):
            self._features.clear()
            self._features_of = now
        return self._features.get(subject.key, lambda: self._embed(subject))

    def cameras(self, subject: Subject) -> Tensor | None:
        """(V, 5) what FeatLift is told, scaled; None for a table without cameras."""
        if not subject.table.conditioned:
            return None
        numbers = torch.as_tensor(camera_numbers(subject.table), device=self._device)
        return normalize_cameras(numbers)

    def forget(self) -> None:
        """Drop what is kept in memory, but for embeddings that came with the weights."""
        self._rendered.clear()
        self._features.clear()

    @property
    def _device(self) -> torch.device:
        return next(self.network.mv_loc.parameters()).device

    def named(self, key: str) -> str:
        """Name of the embeddings of pictures (their key) by the encoder as its weights now are."""
        return f"{key}.{self._encoder}"

    @property
    def _encoder(self) -> str:
        """Hash of the encoder's weights; made again only where they were written to, as it takes seconds."""
        now, known = self._stamp(), self._hashed
        if known is None or known[0] != now:
            known = self._hashed = (now, weights_hash(self.network.mv_loc.image_encoder))
        return known[1]

    def _stamp(self) -> Stamp:
        """Changes whenever torch writes to the encoder's weights or puts others in their place."""
        encoder = self.network.mv_loc.image_encoder
        held = chain(encoder.parameters(), encoder.buffers())
        return tuple((id(t), t.data_ptr(), t.dtype, 0 if t.is_inference() else t._version) for t in held)

    def _sized(self, table: ViewTable) -> ViewTable:
        """Views as large as the network is to see them (1024 pixels in the released models), as many as it knows."""
        views = self.network.config.num_views
        if len(table.views) != views:
            raise InputError(f"the view table {table.name} has {len(table.views)} views, but the network knows {views}")
        return resized(table, self.network.config.map_side)

    def _draw(self, subject: Subject) -> RenderedViews:
        if subject.folder is not None:
            return _released_views(subject.folder, subject.table, len(subject.surface.verts))
        return render_once(subject.surface, subject.table, subject.lights, self.renderer, self.cache)

    def _embed(self, subject: Subject) -> Tensor:
        if self.encoded and (name := self.named(subject.key)) in self.encoded:
            return self.encoded[name].to(self._device)

        def encode() -> Tensor:
            # A training's autocast does not reach in here: what is kept must be the same whoever asks for it first.
            with torch.autocast(self._device.type, enabled=False):
                return self.network.mv_loc.encode(self.pictures(subject).to(self._device), self.batch)

        if self.cache is None:
            return encode()
        dtype = next(self.network.mv_loc.parameters()).dtype
        # kinds of devices round differently: what one made is not the other's
        return encode_once(f"{subject.key}-{dtype}-{self._device.type}", self._encoder, encode, self.cache).to(
            self._device
        )


def _released_views(folder: Path, table: ViewTable, num_verts: int) -> RenderedViews:
    """A body's pictures and maps from files of the released layout.

    Raises:
        InputError: not such files, or of another body or another size than the network takes.
    """
    from hoirecon.contact.rendering.map_files import read_body_views

    found = read_body_views(folder, table.names, num_verts)
    if found.images.shape[1:3] != (table.size, table.size):
        height, width = found.images.shape[1:3]
        raise InputError(
            f"the body views in {folder} have {width} x {height} pixels, but the network takes {table.size} x "
            f"{table.size}: leave body_views out to have the body drawn"
        )
    return found


def _content_key(views: RenderedViews) -> str:
    """Name of pictures that were not drawn here: a hash of what they show."""
    digest = hashlib.sha256(repr((views.images.shape, views.maps.names)).encode())
    digest.update(np.ascontiguousarray(views.images).data)
    return digest.hexdigest()[:32]
