"""Commands of retrieval: ``hoirecon retrieve photo.jpg --object-box ... --label chair`` and ``hoirecon index``.

The options are the fields of the dataclasses, as in :mod:`hoirecon.cli`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from hoirecon.cli_values import parse_box
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.arrays import BoolArray
    from hoirecon.images import LoadedImage
    from hoirecon.retrieval.hits import FoundObject
    from hoirecon.retrieval.index.records import RecordFilter
    from hoirecon.retrieval.retriever import Retriever

Words = tyro.conf.UseAppendAction[tuple[str, ...]]

INDEX_COMMANDS = ("build", "info", "search")


@dataclass(frozen=True)
class _Searching:
    """What every search takes."""

    image: tyro.conf.Positional[Path | None] = None
    """Photograph (JPEG, PNG, ...); without it the label alone counts."""
    object_box: str = ""
    """x,y,width,height in pixels round the visible object; it is cut out inside."""
    mask: Path | None = None
    """Mask file (white on the object), instead of a box; surer."""
    label: str = ""
    """What the object is, e.g. "office chair"."""
    k: int = 5
    """At most so many hits."""
    licence: Words = ()
    """Only objects under this licence, e.g. CC0-1.0. May be repeated."""
    max_faces: int | None = None
    """Only meshes of at most so many faces."""
    out: Path | None = None
    """Picture of the hits to write (PNG or JPEG)."""
    json: bool = False
    """Print the hits as JSON."""
    weights: Path | None = None
    """Folder of the weights of the index's encoder."""
    clip: Path | None = None
    """Folder of the CLIP that belongs to an OpenShape model, if it is not in `clip` beside the weights."""
    meshes: Path | None = None
    """Folder of the index's meshes, if they were moved since."""
    device: str = "cpu"
    """Where torch runs the encoder, e.g. cuda."""

    def _search(self, retriever: Retriever) -> int:
        picture, mask = self._query()
        hits = retriever.search(
            picture, mask=mask, label=self.label or None, k=self.k, where=record_filter(self.licence, self.max_faces)
        )
        if not hits:
            raise InputError("nothing was found: leave out filters, or name the object otherwise")
        if self.out is not None:
            _draw(hits, picture, mask, self.label, self.out)
        if self.json:
            print(json.dumps([about(hit) for hit in hits], indent=1, ensure_ascii=False))
            return 0
        print("\n".join(_line(i, hit) for i, hit in enumerate(hits, 1)))
        for note in dict.fromkeys(note for hit in hits for note in hit.notes):
            print(f"note: {note}")
        if self.out is not None:
            print(f"picture: {self.out}")
        return 0

    def _query(self) -> tuple[LoadedImage | None, BoolArray | None]:
        if self.out is not None and self.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise InputError(f"{self.out} is neither .png nor .jpg: name the picture so")
        if self.image is None:
            if self.mask or self.object_box:
                raise InputError("a mask or box belongs to a photograph: give it first")
            return None, None
        from hoirecon.images import read_image

        picture = read_image(self.image)
        return picture, object_mask(picture, self.object_box, self.mask)


@dataclass(frozen=True)
class Retrieve(_Searching):
    """Which mesh looks like it? Meshes of the library, or of your index, for an object in a photograph.

    Without --index the object library is looked through, by the label and by the object's mask; no weights are needed.
    """

    index: Path | None = None
    """Folder of an index that `index build` wrote."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.retrieval.retriever import Retriever

        if self.index is None:
            if self.weights is not None:
                raise InputError("weights belong to an index: give it with --index, or make one by `index build`")
            return self._search(Retriever.default())
        return self._search(_loaded(self, self.index))


@dataclass(frozen=True)
class IndexBuild:
    """Make an index of a folder of meshes (obj, ply, stl, off, glb; y up).

    `objects.json` in the folder may say labels, licences and tags: {"a.glb": {"label": "chair", "licence": "CC0-1.0"}}.
    An index that is at --out already is gone on with: only new meshes are embedded.
    """

    meshes: tyro.conf.Positional[Path]
    """Folder of the meshes."""
    out: Path
    """Folder to write the index to."""
    weights: Path | None = None
    """Folder of an encoder's weights: OpenShape's, or a CLIP's; without it the encoder that comes with hoirecon."""
    encoder: str = ""
    """embedded, views, openshape, or a released model's name; by default it is told by the weights."""
    clip: Path | None = None
    """Folder of the CLIP that belongs to an OpenShape model, if it is not in `clip` beside the weights."""
    kind: Literal["float32", "float16", "int8"] = "float32"
    """How embeddings are kept: bytes per value 4, 2 or 1."""
    device: str = "cpu"
    """Where torch runs the encoder, e.g. cuda."""
    quiet: bool = False
    """No progress bar."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.retrieval.mesh_folders import BuildConfig
        from hoirecon.retrieval.retriever import Retriever

        made = Retriever.build(
            self.meshes,
            self.encoder or None,
            self.weights,
            clip=self.clip,
            out=self.out,
            device=self.device,
            config=BuildConfig(self.kind),
            progress=not self.quiet,
        )
        assert made.built is not None
        built = made.built
        print(
            f"{len(built.index)} objects by {built.index.encoder}: {built.embedded} embedded now, "
            f"{len(built.meshes.skipped)} files skipped"
        )
        print(f"index: {self.out}")
        return 0


@dataclass(frozen=True)
class IndexInfo:
    """Say what an index holds: encoder, objects, labels, licences, files that were skipped."""

    index: tyro.conf.Positional[Path]
    """Folder of the index."""
    verify: bool = False
    """Hold its files against their checksums first."""
    json: bool = False
    """Print it as JSON."""

    def run(self) -> int:
        """Carry the command out."""
        from collections import Counter

        from hoirecon.retrieval.index.object_index import ObjectIndex
        from hoirecon.retrieval.mesh_folders import MeshFolder

        index, listed = ObjectIndex.load(self.index, verify=self.verify), MeshFolder.read(self.index)
        labels, licences = Counter[str](), Counter[str]()
        for record in index.records:
            labels[record.label or "not known"] += 1
            licences[record.licence or "not known"] += 1
        facts: dict[str, Any] = {
            "encoder": str(index.encoder),
            "objects": len(index),
            "rows_per_object": int(index.rows.values.shape[1]),
            "kind": index.rows.kind,
            "meshes": str(listed.root) if listed is not None else None,
            "skipped": dict(listed.skipped) if listed is not None else {},
            "licences": dict(licences.most_common()),
            "labels": dict(labels.most_common()),
        }
        print(json.dumps(facts, indent=1, ensure_ascii=False) if self.json else _told(facts))
        return 0


@dataclass(frozen=True)
class IndexSearch(_Searching):
    """Search an index for an object in a photograph, or for a name."""

    index: Path = Path("index")
    """Folder of the index."""

    def run(self) -> int:
        """Carry the command out."""
        return self._search(_loaded(self, self.index))


def split_index(args: Sequence[str]) -> list[str]:
    """Turn ``index build`` and its like into the names that the commands have, ``index-build``.

    Example:
        >>> split_index(["index", "build", "meshes/"])
        ['index-build', 'meshes/']

    Raises:
        InputError: ``index`` alone, or with another word.
    """
    if list(args[:1]) == ["index"]:
        if len(args) < 2 or args[1] not in INDEX_COMMANDS:
            names = ", ".join(f"`hoirecon index {name}`" for name in INDEX_COMMANDS)
            raise InputError(f"the commands of an index are {names}: each says its options with --help")
        return [f"index-{args[1]}", *args[2:]]
    return list(args)


def record_filter(licences: Sequence[str], max_faces: int | None) -> RecordFilter:
    """The filter that the options mean."""
    from hoirecon.retrieval.index.records import RecordFilter

    return RecordFilter(licences=tuple(licences) or None, max_faces=max_faces)


def object_mask(picture: LoadedImage, box: str, mask: Path | None) -> BoolArray | None:
    """The object's pixels: of a file, or cut out inside a box, with the persons left out that a detector sees.

    Raises:
        InputError: both are given, or nothing is found.
    """
    if mask is not None:
        if box:
            raise InputError("the object is shown by --object-box or by --mask: give one of them")
        from hoirecon.perception.importers import read_mask

        return read_mask(mask, (picture.height, picture.width))
    if not box:
        return None
    from hoirecon.perception.grabcut import GrabCutSegmenter
    from hoirecon.perception.protocols import MaskPrompt

    prompt = MaskPrompt(box=parse_box(box)).checked(picture.width, picture.height)
    person, keypoints = _person(picture)
    found = GrabCutSegmenter().segment(picture.rgb, prompt, person_mask=person, keypoints=keypoints)
    if not found.any():
        raise InputError("no object was found in the box: give one that fits it more closely, or a mask file")
    return found


def _person(picture: LoadedImage) -> tuple[Any, Any]:
    """Mask and landmarks of the likeliest person; nothing where none is seen, or the detector's files are missing."""
    from hoirecon.errors import MissingExtraError, MissingModelError
    from hoirecon.perception.masks import refine_person_mask
    from hoirecon.perception.protocols import PERSON_DETECTORS

    try:
        persons = PERSON_DETECTORS.create("blazepose").detect(picture.rgb)
    except (MissingExtraError, MissingModelError):
        return None, None
    if not persons:
        return None, None
    return refine_person_mask(picture.rgb, persons[0].mask), persons[0].keypoints


def about(hit: FoundObject) -> dict[str, Any]:
    """What is known of a hit without reading its mesh, as plain values."""
    return {
        "id": hit.id,
        "label": hit.label,
        "score": hit.score,
        "licence": hit.licence or None,
        "faces": hit.hit.record.faces,
        "source": hit.source,
        "longest_side_m": hit.size.longest,
        "log_sigma": hit.size.log_sigma,
        "size_by": hit.size.evidence,
        "up": hit.up,
        "R_cam_source": None if hit.hit.rotations is None else hit.hit.rotations.tolist(),
        "notes": list(hit.notes),
    }


def _line(place: int, hit: FoundObject) -> str:
    licence = hit.licence or "licence not known"
    size = f"{hit.size.longest:.2g} m (log sigma {hit.size.log_sigma:.2f}, by {hit.size.evidence})"
    return f"{place}. {hit.id}  score {hit.score:.3f}  {hit.label or 'no name'}  {size}  {licence}"


def _told(facts: dict[str, Any]) -> str:
    lines = [
        f"encoder: {facts['encoder']}",
        f"objects: {facts['objects']}, {facts['rows_per_object']} embedding(s) each, {facts['kind']}",
        f"meshes: {facts['meshes'] or 'not of a folder'}",
    ]
    for key in ("licences", "labels"):
        counted = list(facts[key].items())
        more = f", and {len(counted) - 12} more" if len(counted) > 12 else ""
        lines.append(f"{key}: " + ", ".join(f"{name} ({n})" for name, n in counted[:12]) + more)
    lines += [f"skipped {name}: {reason}" for name, reason in facts["skipped"].items()]
    return "\n".join(lines)


def _loaded(options: _Searching, folder: Path) -> Retriever:
    from hoirecon.retrieval.retriever import Retriever

    return Retriever.load(folder, options.weights, clip=options.clip, meshes=options.meshes, device=options.device)


def _draw(hits: Sequence[FoundObject], picture: LoadedImage | None, mask: Any, label: str, out: Path) -> None:
    from PIL import Image

    from hoirecon.files import atomic_file
    from hoirecon.retrieval.hit_sheet import draw_hits

    drawn = Image.fromarray(draw_hits(hits, None if picture is None else picture.rgb, mask, label or None))
    with atomic_file(out) as tmp:
        drawn.save(tmp, **({"quality": 90} if out.suffix.lower() != ".png" else {"optimize": True}))
