"""The door of retrieval: a photograph, the object's mask and (usually) its name in, objects with meshes out.

    hits = Retriever.default().search(image, mask=mask, label="chair", k=5)
    hits[0].mesh, hits[0].score, hits[0].size, hits[0].licence, hits[0].rotations

The default looks through the object library and needs no download. ``Retriever.build`` makes an index of a folder of
meshes by any encoder, and ``Retriever.load`` opens one. All are an ``ObjectSource``, which ``hoirecon.reconstruct``
takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hoirecon.data.objects.size import UNKNOWN_SIGMA, MetricSize, metric_size
from hoirecon.data.objects.usable import UsableObject
from hoirecon.errors import InputError
from hoirecon.retrieval.galleries import Gallery, IndexGallery, LibraryGallery
from hoirecon.retrieval.hits import FoundObject
from hoirecon.retrieval.index.object_index import MANIFEST, Hit, ObjectIndex
from hoirecon.retrieval.index.records import EVERYTHING, ObjectRecord, RecordFilter
from hoirecon.retrieval.index.vectors import EmbeddingRows, VectorSearch
from hoirecon.retrieval.label_choice import choose_labels
from hoirecon.retrieval.mesh_folders import BuildConfig, BuiltIndex, MeshFolder, index_folder, with_root
from hoirecon.retrieval.named_encoders import OPENSHAPE_NAME, Encoder, encoder_named, row_rotations
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.retrieval.sources import Fetched, Preparation, check_count, first_usable, looked_at, usable_hit

SILHOUETTE_BONUS = 0.04
"""How much better than a category's usual mesh another's silhouette must overlap with the mask to be taken instead.

Between 0.02 and 0.04 the right mesh is chosen most often where half of the things are usual ones
(``tools/choice_bench.py --seed 0 --ranker silhouettes``); masks of photographs are worse than those, hence the larger.
"""
EMBEDDED_BONUS = 0.12
"""The same for the learned score, which adds a cosine to twice the overlap.

On drawn masks 0.04 to 0.06 are best (``tools/choice_bench.py --seed 0``). Masks of photographs are worse: one of a
smartphone, 27 x 76 pixels, prefers a phone with buttons by 0.10, so more is asked for.
"""


@dataclass(frozen=True)
class Retriever:
    """Finds objects in a gallery and makes them usable.

    Example:
        >>> hits = Retriever.by_name().search(label="office chair", k=2)
        >>> hits[0].id, hits[0].licence, hits[0].size.evidence, hits[0].mesh.is_watertight
        ('office chair/task', 'Apache-2.0', 'category', True)
    """

    gallery: Gallery
    """What is looked through."""
    fetch: Callable[[ObjectRecord], Fetched] | None = None
    """Brings the mesh of a record; None: its source is a path, or an id of the library."""
    preparation: Preparation = field(default_factory=Preparation)
    """How meshes are made usable, and how large they are."""
    built: BuiltIndex | None = None
    """The index of a folder of meshes, if that is what is searched; what :meth:`save` writes."""

    @classmethod
    def default(cls) -> Retriever:
        """The object library, by name and aliases first, then by the mask's shape; no weights, no download.

        Where this installation lacks the small networks (they need safetensors, extra "retrieval"), masks are compared
        by silhouettes alone, and a warning says so.
        """
        return cls(_library_gallery())

    @classmethod
    def by_name(cls) -> Retriever:
        """The object library by name and aliases alone: each category's usual mesh first."""
        return cls(LibraryGallery())

    @classmethod
    def build(
        cls,
        meshes: str | Path,
        encoder: str | Encoder | None = None,
        weights: str | Path | None = None,
        *,
        clip: str | Path | None = None,
        out: str | Path | None = None,
        device: Any = "cpu",
        config: BuildConfig | None = None,
        progress: bool = True,
    ) -> Retriever:
        """An index of a folder of meshes.

        Args:
            meshes: folder of mesh files, y up; ``objects.json`` in it may say labels, licences and tags (see
                :mod:`hoirecon.retrieval.mesh_folders`).
            encoder: name of an encoder, or one of your own; None tells it by the weights, and takes the embedded one
                without any (see :func:`~hoirecon.retrieval.named_encoders.encoder_named`).
            weights: folder of its weights.
            clip: folder of the CLIP that belongs to an OpenShape model, if it is not beside the weights.
            out: where to save the index, also now and then while it is made. What is there already is gone on with:
                a mesh of known content is not embedded again.
            device: where torch runs the encoder.
            config: how embeddings are kept, and how often they are saved.
            progress: show a progress bar, and say which files were skipped.

        Raises:
            InputError: no meshes, no such encoder, weights that do not fit, or an ``out`` that holds something else.
        """
        from hoirecon.files import check_replaceable

        if out is not None:
            check_replaceable(out, MANIFEST)
        name = encoder if isinstance(encoder, str) else ""
        if encoder is None or isinstance(encoder, str):
            encoder = encoder_named(encoder, weights, clip=clip, device=device)
        earlier = _earlier(out)
        keep = None if out is None else partial(_save, out=out)
        with _Bar(progress) as bar:
            built = index_folder(
                meshes,
                encoder,
                name=name,
                earlier=earlier,
                keep=keep,
                config=config or BuildConfig(),
                report=bar.report,
            )
        if out is not None:
            built.save(out)
        if progress:
            for path, reason in built.meshes.skipped.items():
                print(f"skipped {path}: {reason}")
        return cls._of(built, encoder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        weights: str | Path | None = None,
        *,
        encoder: str | Encoder | None = None,
        clip: str | Path | None = None,
        meshes: str | Path | None = None,
        fetch: Callable[[ObjectRecord], Fetched] | None = None,
        searched_by: Callable[[EmbeddingRows], VectorSearch] | None = None,
        device: Any = "cpu",
    ) -> Retriever:
        """An index that :meth:`save`, :meth:`build` or ``ObjectIndex.save`` wrote.

        Args:
            folder: the index.
            weights: folder of its encoder's weights; None for the embedded encoder.
            encoder: name of the encoder, or one of your own; None takes the one that the index was asked for with.
            clip: folder of the CLIP that belongs to an OpenShape model, if it is not beside the weights.
            meshes: where the meshes are now, if they were moved.
            fetch: brings the mesh of a record, such as ``hoirecon.retrieval.index.fetch_mesh`` for Objaverse's.
            searched_by: a faster search, such as ``FaissSearch.build``.
            device: where torch runs the encoder.

        Raises:
            InputError: no index, or the encoder is not the one that made it.
        """
        index, listed = ObjectIndex.load(folder), MeshFolder.read(Path(folder))
        if encoder is None or isinstance(encoder, str):
            encoder = encoder_named(encoder or _encoder_name(index, listed), weights, clip=clip, device=device)
        if searched_by is not None:
            index = index.searched_by(searched_by)
        if listed is None:
            return cls(_gallery(index, encoder), fetch)
        made = cls._of(BuiltIndex(index, with_root(listed, meshes), 0), encoder)
        return made if fetch is None else replace(made, fetch=fetch)

    @classmethod
    def _of(cls, built: BuiltIndex, encoder: Encoder) -> Retriever:
        return cls(_gallery(built.index, encoder), built.meshes.fetch, built=built)

    def save(self, folder: str | Path) -> Path:
        """Write the index as a folder, whole or not at all; an earlier one there is replaced.

        Raises:
            InputError: there is no index of a folder of meshes, or the folder holds something else.
        """
        if self.built is None:
            raise InputError("there is nothing to save: only an index that Retriever.build made can be saved")
        return self.built.save(folder)

    def search(
        self,
        image: Any = None,
        *,
        mask: Any = None,
        label: str | None = None,
        k: int = 5,
        where: RecordFilter = EVERYTHING,
    ) -> list[FoundObject]:
        """The objects that match best.

        A label that the gallery has, itself or by an alias, keeps the search to objects of it. Any other is no reason
        to fail: all objects are looked through, and the hits' notes name the nearest labels.

        Args:
            image: path, or RGB uint8 array (H, W, 3).
            mask: (H, W) the object's visible pixels. The default retriever compares masks and needs one, or a label.
            label: the object's name.
            k: at most so many.
            where: which objects may be found: by label (then ``label`` does not narrow the search), licence, faces,
                animations, tags.

        Returns:
            At most ``k`` objects, best first.

        Raises:
            InputError: nothing to look for, or a name alone that is not known; the message offers the nearest.
        """
        picture = None if image is None else _pixels(image)
        return self.find(ImageQuery(picture, mask, label), k, where)

    def find(self, query: ImageQuery, k: int = 5, where: RecordFilter = EVERYTHING) -> list[FoundObject]:
        """:meth:`search` with a query that is put together already."""
        check_count(k)
        note, known = "", query.label is not None
        if query.label is not None and where.labels is None:
            vector_of = getattr(self.gallery, "text_vector", None)
            choice = choose_labels(query.label, self.gallery.labels(), vector_of)
            note, known = choice.note(query.label), bool(choice.labels)
            if known:
                where = replace(where, labels=choice.labels)
            elif query.image is None and vector_of is None:
                near = f"did you mean {', '.join(choice.suggestions)}?" if choice.suggestions else "give a mask too"
                raise InputError(f"no object is labelled '{query.label}': {near}")
        hits = self.gallery.find(query, k, where)
        return [self._found(hit, query.label, known, note) for hit in hits]

    def objects(self, query: ImageQuery, k: int = 1) -> list[UsableObject]:
        """The best objects that can be used, as an ``ObjectSource`` gives them.

        Raises:
            InputError: nothing was found, or nothing of it can be used.
        """
        check_count(k)
        found = self.find(query, looked_at(k))
        return first_usable([(one.id, partial(getattr, one, "usable")) for one in found], k, query.label)

    def _found(self, hit: Hit, label: str | None, known: bool, note: str) -> FoundObject:
        size = self._size(hit.record, label, known)
        notes = (note,) if note else ()

        def make() -> UsableObject:
            # Sized here, once for all: a mesh's unit is not known, and the size may be somebody's answer.
            made = usable_hit(hit, label if known else None, self.fetch, replace(self.preparation, size=size))
            return replace(made, name=label or made.name, notes=(*made.notes, *notes))

        return FoundObject(hit, size, label if known else hit.record.label or label, make, notes)

    def _size(self, record: ObjectRecord, label: str | None, known: bool) -> MetricSize:
        told = self.preparation.size
        if told is not None or known or label is None:
            return metric_size(label or record.label, told)
        # Something of another name that only looks like it: as large as that, but not at all surely.
        usual = metric_size(record.label)
        return replace(usual, log_sigma=max(usual.log_sigma, UNKNOWN_SIGMA))


class _Bar:
    """A progress bar whose length is known with the first report."""

    def __init__(self, shown: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="embedding meshes", unit="mesh", disable=not shown)

    def report(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _gallery(index: ObjectIndex, encoder: Encoder) -> IndexGallery:
    return IndexGallery(index, encoder, row_rotations(encoder))


def _encoder_name(index: ObjectIndex, listed: MeshFolder | None) -> str | None:
    """By which name the encoder of an index is made again; None leaves it to the weights."""
    from hoirecon.retrieval.checkpoints.specs import OPENSHAPE

    if listed is not None and listed.encoder:
        return listed.encoder
    return OPENSHAPE_NAME if index.encoder.name in OPENSHAPE else None


def _earlier(out: str | Path | None) -> BuiltIndex | None:
    if out is None or not (Path(out) / MANIFEST).is_file():
        return None
    return BuiltIndex.load(out)


def _save(built: BuiltIndex, out: str | Path) -> None:
    if len(built.index):
        built.save(out)


def _library_gallery() -> LibraryGallery:
    """The library by the networks that come with the package; by silhouettes, with a warning, where they are not."""
    try:
        from hoirecon.retrieval.embedded import library_gallery

        return LibraryGallery(library_gallery(), EMBEDDED_BONUS)
    except (ImportError, OSError, InputError) as err:
        from hoirecon.retrieval.silhouette_ranker import SilhouetteRanker

        warnings.warn(f"masks are compared by silhouettes alone, without learned parts: {err}", stacklevel=3)
        return LibraryGallery(SilhouetteRanker(), SILHOUETTE_BONUS)


def _pixels(image: Any) -> Any:
    from hoirecon.images import read_image

    return read_image(image).rgb
