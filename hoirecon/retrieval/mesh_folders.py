"""An index of a folder of meshes: files known by their content are not embedded again, bad ones are named and skipped.

What is known of the files beside their shape stands in ``objects.json`` in the folder, if there is one::

    {"chairs/a.glb": {"label": "office chair", "licence": "CC0-1.0", "tags": ["wood"]}, ...}

Where it says nothing, the label is the name of the folder that a file is in, or else its own name without digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.retrieval.hashing import mesh_hash
from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord
from hoirecon.retrieval.index.vectors import RowType
from hoirecon.retrieval.protocols import Float32Array, ShapeEncoder
from hoirecon.retrieval.surfaces import FORMATS, Surface, read_surface

FACTS = "objects.json"
"""File in a folder of meshes that says what they are."""
MESHES = "meshes.json"
"""File in a saved index that says which meshes it was made of."""
FORMAT = "hoirecon-meshes-1"
MAX_LISTED_BYTES = 1 << 30
"""Largest list of meshes that is read."""
BATCH = 16
"""Meshes that are embedded at once."""

Report = Callable[[int, int], None]
"""Called with the number of files that are done and how many there are."""


@dataclass(frozen=True)
class MeshFolder:
    """Which meshes an index was made of."""

    root: Path
    """The folder of the meshes."""
    encoder: str
    """Name by which the encoder was asked for; empty for a user's own."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of what each file shows, materials and textures beside it included, by its path in the folder, which is
    its id in the index."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Why a file is not in the index, by its path."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "format": FORMAT,
            "root": str(self.root.resolve()),
            "encoder": self.encoder,
            "hashes": dict(self.hashes),
            "skipped": dict(self.skipped),
        }

    @classmethod
    def read(cls, folder: Path) -> MeshFolder | None:
        """Of a saved index; None if it was not made of a folder of meshes.

        Raises:
            InputError: the file is damaged.
        """
        path = folder / MESHES
        if not path.is_file():
            return None
        value = read_json(path, max_bytes=MAX_LISTED_BYTES)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise InputError(f"{path} is not a list of meshes of format {FORMAT}: build the index again")
        hashes, skipped = (_texts(value.get(key), path) for key in ("hashes", "skipped"))
        return cls(Path(str(value.get("root"))), str(value.get("encoder", "")), hashes, skipped)

    def fetch(self, record: ObjectRecord) -> Path:
        """The file of a record.

        Raises:
            InputError: it lies outside the folder, or is not there any more.
        """
        root = self.root.resolve()
        path = (root / (record.source or record.id)).resolve()
        if not path.is_relative_to(root) or path.suffix.lower() not in FORMATS:
            raise InputError(
                f"the record '{record.id}' names {path}, which is no mesh in {root}: build the index again"
            )
        if not path.is_file():
            raise InputError(f"{path} is not there any more: give the folder of the meshes (meshes=DIR)")
        return path


@dataclass(frozen=True)
class BuiltIndex:
    """An index of a folder, with what became of the files."""

    index: ObjectIndex
    """Objects in the order of their paths."""
    meshes: MeshFolder
    """Files, and which were skipped and why."""
    embedded: int
    """How many meshes were embedded this time; the others were known by their content."""

    def save(self, folder: str | Path) -> Path:
        """Write both as one folder, whole or not at all."""
        return self.index.save(folder, {MESHES: self.meshes.to_dict()})

    @classmethod
    def load(cls, folder: str | Path) -> BuiltIndex:
        """What :meth:`save` wrote.

        Raises:
            InputError: no such folder, or an index of something else than a folder of meshes.
        """
        index, meshes = ObjectIndex.load(folder), MeshFolder.read(Path(folder))
        if meshes is None:
            raise InputError(f"{folder} holds an index that was not made of a folder of meshes: give another folder")
        return cls(index, meshes, 0)


@dataclass(frozen=True)
class BuildConfig:
    """How a folder is gone through."""

    kind: RowType | None = None
    """How embeddings are kept; None keeps float32."""
    save_every: int = 500
    """Meshes that are embedded between two saves, so that an interrupted run goes on where it was."""


def index_folder(
    folder: str | Path,
    encoder: ShapeEncoder,
    *,
    name: str = "",
    earlier: BuiltIndex | None = None,
    keep: Callable[[BuiltIndex], Any] | None = None,
    config: BuildConfig = BuildConfig(),
    report: Report | None = None,
) -> BuiltIndex:
    """An index of all meshes in a folder and its folders.

    Args:
        folder: of meshes (obj, ply, stl, off, glb), y up.
        encoder: what embeds them.
        name: by which the encoder was asked for.
        earlier: an index that was made before: a file of known content keeps its embedding, even under another name,
            and files that are gone are left out. Of another encoder it counts for nothing.
        keep: called with what is done so far every ``config.save_every`` meshes.
        config: how.
        report: of progress.

    Raises:
        InputError: no folder, or nothing in it that can be embedded; the message names the first reason.
    """
    root = Path(folder)
    paths = _mesh_paths(root)
    facts = _facts(root)
    work = _Work(root, name, encoder, config.kind, _known(earlier, encoder))
    waiting = 0
    for batch, done in _batches(work.new_files(paths), BATCH):
        work.embed(batch)
        waiting += len(batch)
        if keep is not None and waiting >= config.save_every:
            keep(work.built(facts))
            waiting = 0
        if report is not None:
            report(done, len(paths))
    built = work.built(facts)
    if not len(built.index):
        first = next(iter(built.meshes.skipped.items()))
        raise InputError(f"no mesh of {root} can be embedded ({first[0]}: {first[1]}): give other meshes")
    return built


@dataclass(frozen=True)
class _Known:
    """What is kept of one content."""

    rows: Float32Array
    faces: int | None


@dataclass
class _Work:
    """The state of one build."""

    root: Path
    name: str
    encoder: ShapeEncoder
    kind: RowType | None
    known: dict[str, _Known]
    hashes: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    embedded: int = 0

    def new_files(self, paths: list[Path]) -> Iterator[tuple[str, Path] | None]:
        """Content and path of each file, None where the content is known already."""
        seen: set[str] = set()
        for path in paths:
            digest = mesh_hash(path)
            self.hashes[path.relative_to(self.root).as_posix()] = digest
            is_new = digest not in self.known and digest not in seen
            seen.add(digest)
            yield (digest, path) if is_new else None

    def embed(self, batch: list[tuple[str, Path]]) -> None:
        """Embed some files; one that cannot be read or embedded is skipped with its reason."""
        surfaces: list[tuple[str, Surface]] = []
        for digest, path in batch:
            try:
                surfaces.append((digest, read_surface(path)))
            except InputError as err:
                self.skipped[digest] = str(err)
        try:
            self._embed(surfaces)
        except InputError:  # one of them: which?
            for one in surfaces:
                try:
                    self._embed([one])
                except InputError as err:
                    self.skipped[one[0]] = str(err)

    def _embed(self, surfaces: list[tuple[str, Surface]]) -> None:
        rows = self.encoder.embed_shapes([surface for _, surface in surfaces]) if surfaces else ()
        for (digest, surface), mine in zip(surfaces, rows, strict=True):
            self.known[digest] = _Known(mine, len(surface.faces))
        self.embedded += len(surfaces)

    def built(self, facts: Mapping[str, Mapping[str, Any]]) -> BuiltIndex:
        """An index of the files that are done."""
        rows, records = [], []
        for name, digest in self.hashes.items():
            if digest in self.known:
                rows.append(self.known[digest].rows)
                records.append(_record(name, facts.get(name, {}), self.known[digest].faces))
        identity = self.encoder.encoder_id
        empty = np.zeros((0, self.encoder.rows_per_shape, identity.dim), np.float32)
        index = ObjectIndex.of(identity, np.stack(rows) if rows else empty, records, self.kind)
        done = {name: digest for name, digest in self.hashes.items() if digest in self.known}
        skipped = {name: self.skipped[digest] for name, digest in self.hashes.items() if digest in self.skipped}
        return BuiltIndex(index, MeshFolder(self.root, self.name, done, skipped), self.embedded)


def with_root(meshes: MeshFolder, root: str | Path | None) -> MeshFolder:
    """The same with the meshes in another folder, where they were moved to."""
    return meshes if root is None else replace(meshes, root=Path(root))


def _known(earlier: BuiltIndex | None, encoder: ShapeEncoder) -> dict[str, _Known]:
    if earlier is None or earlier.index.encoder != encoder.encoder_id:
        return {}
    values = earlier.index.rows.values
    known = {}
    for i, record in enumerate(earlier.index.records):
        digest = earlier.meshes.hashes.get(record.id)
        if digest is not None:
            known[digest] = _Known(np.array(values[i]), record.faces)
    return known


def _batches(files: Iterable[tuple[str, Path] | None], size: int) -> Iterator[tuple[list[tuple[str, Path]], int]]:
    """New files, some at a time, and how many files were looked at by then."""
    batch: list[tuple[str, Path]] = []
    done = 0
    for done, file in enumerate(files, 1):
        if file is not None:
            batch.append(file)
        if len(batch) == size:
            yield batch, done
            batch = []
    yield batch, done


def _mesh_paths(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root} is no folder: give a folder of meshes ({', '.join(FORMATS)})")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in FORMATS and path.is_file())
    if not found:
        raise InputError(f"{root} holds no mesh ({', '.join(FORMATS)}): give another folder")
    return found


def _facts(root: Path) -> Mapping[str, Mapping[str, Any]]:
    path = root / FACTS
    if not path.is_file():
        return {}
    value = read_json(path, max_bytes=MAX_LISTED_BYTES)
    if not isinstance(value, dict) or not all(isinstance(facts, dict) for facts in value.values()):
        raise InputError(f'{path} is no table of files, such as {{"a.glb": {{"label": "chair"}}}}: mend or remove it')
    return value


def _record(name: str, facts: Mapping[str, Any], faces: int | None) -> ObjectRecord:
    licence, tags = facts.get("licence"), facts.get("tags", ())
    if not isinstance(tags, list | tuple):
        raise InputError(f"{FACTS}: tags of {name} are {tags!r:.60}, expected a list of words")
    return ObjectRecord(
        name,
        str(facts["label"]) if facts.get("label") else label_of(name),
        None if licence is None else str(licence),
        faces,
        0,
        tuple(str(tag) for tag in tags),
        name,
    )


def label_of(name: str) -> str | None:
    """The label that a file's path tells: its folder's name, else its own without digits; None if there is no word.

    Example:
        >>> label_of("office_chair/0001.glb"), label_of("tennis-racket_02.obj"), label_of("0001.obj")
        ('office chair', 'tennis racket', None)
    """
    path = Path(name)
    text = path.parent.name or re.sub(r"[\d\s_.-]+$", "", path.stem)
    words = " ".join(text.replace("_", " ").replace("-", " ").lower().split())
    return words if re.search(r"[^\W\d_]", words) else None


def _texts(value: Any, path: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise InputError(f"{path} is damaged: build the index again")
    return value
