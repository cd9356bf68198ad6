"""The published embeddings of Objaverse (OpenShape's data set, MIT), turned once into an index of ours; and its meshes.

Objaverse's objects have licences of their own, some non-commercial: each record says which, filters know it, and the
meshes are fetched one by one for whoever asks, never passed on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hoirecon.errors import InputError
from hoirecon.files import atomic_file, read_json
from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord, RecordStore
from hoirecon.retrieval.index.vectors import EmbeddingRows, ExactSearch, chunks
from hoirecon.retrieval.protocols import EncoderId

ADDRESS = "https://huggingface.co/datasets/allenai/objaverse/resolve/main/"
"""Where the meshes are; a record's source is a path below it."""
MAX_MESH_BYTES = 256 << 20
"""Largest mesh that is fetched."""
_SOURCE = re.compile(r"(?!.*\.\.)[\w\-/]+\.glb")
_READ = 1 << 20
_LONGEST_ENTRY = 1 << 22

Fetcher = Callable[[str], Iterable[bytes]]
"""From an address to the pieces of what is there; whoever calls brings it, so nothing is fetched unasked."""


def published_encoder() -> EncoderId:
    """The encoder that made the published embeddings."""
    from hoirecon.retrieval.checkpoints.specs import OPENSHAPE

    spec = OPENSHAPE["openshape-pointbert-vitg14-rgb"]
    return EncoderId(spec.name, spec.config.output_dim, spec.sha256)


def read_objaverse(
    embeddings: str | Path,
    metadata: str | Path,
    *,
    categories: str | Path | None = None,
    encoder: EncoderId | None = None,
) -> ObjectIndex:
    """An index of the published files; save it, and it loads in no time.

    Args:
        embeddings: ``objaverse.pt``: ids, and a byte per value.
        metadata: ``objaverse_meta.json``; read entry by entry, for as a whole it would take gigabytes. An object
            without an entry is never found.
        categories: ``lvis.json``, a list of entries with ``uid`` and ``category``, which gives labels; None: none.
        encoder: what made the embeddings; None: OpenShape's released ViT-bigG-14 model.

    Raises:
        InputError: files that are damaged, hold code or something else.
    """
    from hoirecon.retrieval.checkpoints.tensor_files import read_table

    encoder = encoder or published_encoder()
    table = read_table(Path(embeddings))
    names, values = table.get("us"), table.get("feats")
    if not isinstance(names, list) or values is None or getattr(values, "shape", ()) != (len(names), encoder.dim):
        raise InputError(
            f"{embeddings} has no 'us' and 'feats' of {encoder.dim} values: give the published objaverse.pt"
        )
    rows = values.numpy()[:, None]
    alive = np.concatenate([rows[some].any(axis=(1, 2)) for some in chunks(rows)] or [np.zeros(0, bool)])
    if not alive.all():  # an embedding of zeros has no direction
        rows, names = rows[alive], [name for name, lives in zip(names, alive, strict=True) if lives]
    place = {str(name): row for row, name in enumerate(names)}
    labels = {} if categories is None else _labels(categories)
    kept = EmbeddingRows.of(rows)
    store = RecordStore.of(())
    store.append_rows(_records(metadata, place, labels))
    return ObjectIndex(encoder, kept, store, ExactSearch(kept))


def fetch_mesh(record: ObjectRecord, fetcher: Fetcher, folder: str | Path, *, sha256: str | None = None) -> Path:
    """Bring an object's mesh into a folder; one that is there already stays.

    Args:
        record: of an index that :func:`read_objaverse` made.
        fetcher: what gets the bytes of an address.
        folder: where to put the file.
        sha256: what its hash must be, if it is known.

    Raises:
        InputError: the record names no mesh of Objaverse, or what came is too large, no GLB, or has another hash.
    """
    if record.source is None or not _SOURCE.fullmatch(record.source):
        raise InputError(f"'{record.id}' has the source {record.source!r:.80}, which is no mesh of Objaverse")
    path = Path(folder) / Path(record.source).name
    if path.is_file() and (sha256 is None or hashlib.sha256(path.read_bytes()).hexdigest() == sha256):
        return path
    digest, size, start = hashlib.sha256(), 0, b""
    with atomic_file(path) as tmp, tmp.open("wb") as handle:
        for piece in fetcher(ADDRESS + record.source):
            size, start = size + len(piece), (start + piece[:4])[:4]
            if size > MAX_MESH_BYTES:
                raise InputError(f"the mesh of '{record.id}' has more than {MAX_MESH_BYTES >> 20} MB: take another one")
            digest.update(piece)
            handle.write(piece)
        if start != b"glTF":
            raise InputError(f"what came for '{record.id}' is no GLB file: try again later")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise InputError(f"the mesh of '{record.id}' is not the expected one (another sha256)")
    return path


def _records(
    metadata: str | Path, place: Mapping[str, int], labels: Mapping[str, str]
) -> Iterator[tuple[int, ObjectRecord]]:
    seen = set()
    for entry in stream_entries(metadata, "entries"):
        name = str(entry.get("u"))
        if name in place and name not in seen:
            seen.add(name)
            yield place[name], _record(name, entry, labels.get(name))


def _record(name: str, entry: dict[str, Any], label: str | None) -> ObjectRecord:
    words = [str(w)[:200] for key in ("tags", "cats") for w in entry.get(key) or () if isinstance(w, str)]
    licence, source = entry.get("lic"), entry.get("glb")
    return ObjectRecord(
        name,
        label=label,
        licence=str(licence) if licence is not None else None,
        faces=_whole(entry.get("faces")),
        animations=_whole(entry.get("anims")),
        tags=tuple(dict.fromkeys(words)),
        source=str(source) if source is not None else None,
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62 else None


def _labels(path: str | Path) -> dict[str, str]:
    read = read_json(path)
    if not isinstance(read, list) or not all(isinstance(e, dict) and "uid" in e and "category" in e for e in read):
        raise InputError(f"{path} is no list of entries with 'uid' and 'category': give the published lvis.json")
    return {str(entry["uid"]): str(entry["category"]) for entry in read}


def stream_entries(path: str | Path, key: str) -> Iterator[dict[str, Any]]:
    """The objects of a list under a key of a JSON file, one after the other, with little of the file in memory.

    Raises:
        InputError: missing, no such list, damaged, or an entry of more than 4 MB.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        with path.open(encoding="utf-8") as handle:
            yield from _entries(handle, key, path)
    except UnicodeDecodeError as err:
        raise InputError(f"{path} is not JSON ({err})") from err


def _entries(handle: TextIO, key: str, path: Path) -> Iterator[dict[str, Any]]:
    decoder, text = json.JSONDecoder(), handle.read(_READ)
    begin = re.search(rf'"{re.escape(key)}"\s*:\s*\[', text)
    if begin is None:
        raise InputError(f"{path} has no list '{key}' at its beginning: give the published file")
    at = begin.end()
    while True:
        at = _next(text, at)
        try:
            if text[at : at + 1] == "]":
                return
            entry, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as err:
            more = handle.read(_READ)
            text, at = text[at:] + more, 0
            if not more or len(text) > _LONGEST_ENTRY:
                raise InputError(f"{path} is damaged or cut short ({str(err)[:100]})") from err
            continue
        if not isinstance(entry, dict):
            raise InputError(f"{path} holds a {type(entry).__name__} in '{key}', expected objects")
        yield entry


def _next(text: str, at: int) -> int:
    """Where the next value begins, behind blanks and commas."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
