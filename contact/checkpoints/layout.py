"""Our own folder of a network: which tensor lies in which file, and the files that are no tensors.

::

    hoirecon.json           manifest: configuration, size and sha256 of every file
    language_model/         a LlamaForCausalLM folder of Hugging Face, so that transformers can quantise while it loads
    vision_tower/           a CLIPVisionModel folder of Hugging Face, or our evidence tower
    mv_loc.safetensors      MV-Loc, Segment Anything's names
    contact.safetensors     projector, token projection, FeatLift, attention splitter
    extras.safetensors      tensors kept with the network, e.g. features of constant views (if any)
    tokenizer/              the tokenizer's files as released (if any)
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hoirecon.contact.checkpoints.keys import LANGUAGE, TOWER
from hoirecon.contact.checkpoints.shards import TensorInfo, open_shard, read_catalogue
from hoirecon.contact.checkpoints.writer import SafetensorsWriter, Spec
from hoirecon.contact.modeling.config import NetworkConfig, config_dict, config_from_dict
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.errors import InputError
from hoirecon.files import read_json, write_json

MANIFEST = "hoirecon.json"
FORMAT, VERSION = "hoirecon-interactvlm", 1
MAX_SHARD_BYTES = 4 << 30
"""Largest file of the language model unless said otherwise."""
LANGUAGE_FOLDER, TOWER_FOLDER, TOKENIZER_FOLDER = "language_model", "vision_tower", "tokenizer"
MV_LOC_FILE, CONTACT_FILE, EXTRAS_FILE = "mv_loc.safetensors", "contact.safetensors", "extras.safetensors"
TOKENIZER_FILES = (
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "generation_config.json",
)
_CLIP = "vision_model."
"""What files of CLIP put before the names of its image tower."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the folder."""

    file: str
    """File, relative to the folder."""
    key: str
    """Its name there."""


def places(specs: Mapping[str, Spec], max_shard_bytes: int = MAX_SHARD_BYTES) -> dict[str, Place]:
    """Where each tensor of a network goes, by our names; only the language model is divided into shards."""
    found: dict[str, Place] = {}
    shards: list[list[str]] = [[]]
    size = 0
    for key, spec in specs.items():
        if not key.startswith(LANGUAGE):
            found[key] = _place(key)
            continue
        if shards[-1] and size + spec.nbytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += spec.nbytes
    for i, keys in enumerate(shards, 1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        found |= {key: Place(f"{LANGUAGE_FOLDER}/{name}", key.removeprefix(LANGUAGE)) for key in keys}
    return found


def _place(key: str) -> Place:
    if key.startswith(TOWER):
        return Place(f"{TOWER_FOLDER}/model.safetensors", _CLIP + key.removeprefix(TOWER))
    if key.startswith("mv_loc."):
        return Place(MV_LOC_FILE, key.removeprefix("mv_loc."))
    return Place(CONTACT_FILE, key)


def write_tensors(
    folder: Path, specs: Mapping[str, Spec], tensors: Iterable[tuple[str, Tensor]], max_shard_bytes: int
) -> None:
    """Write tensors to their places as they come, in any order."""
    where = places(specs, max_shard_bytes)
    by_file: dict[str, dict[str, Spec]] = {}
    for key, place in where.items():
        by_file.setdefault(place.file, {})[place.key] = specs[key]
    with ExitStack() as stack:
        writers = {}
        for file, mine in by_file.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            writers[file] = stack.enter_context(SafetensorsWriter(folder / file, mine))
        for key, tensor in tensors:
            writers[where[key].file].write(where[key].key, tensor)
    language = [place for place in where.values() if place.file.startswith(f"{LANGUAGE_FOLDER}/")]
    if len({place.file for place in language}) > 1:
        _write_index(folder / LANGUAGE_FOLDER, language, specs)


def _write_index(folder: Path, language: list[Place], specs: Mapping[str, Spec]) -> None:
    total = sum(spec.nbytes for key, spec in specs.items() if key.startswith(LANGUAGE))
    table = {place.key: Path(place.file).name for place in language}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": table})


def read_places(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of the network in one of our folders by our names, from headers only.

    Raises:
        InputError: a file is missing or damaged.
    """
    language = read_catalogue(folder / LANGUAGE_FOLDER)
    tower = read_catalogue(folder / TOWER_FOLDER)
    found = {LANGUAGE + key: info for key, info in language.items()}
    found |= {TOWER + key.removeprefix(_CLIP): info for key, info in tower.items()}
    for file, prefix in ((MV_LOC_FILE, "mv_loc."), (CONTACT_FILE, "")):
        with open_shard(folder / file) as shard:
            found |= {prefix + key: info for key, info in shard.infos().items()}
    return found


def write_configs(folder: Path, config: NetworkConfig, dtype: str) -> None:
    """The two config.json by which transformers reads language model and tower on their own."""
    from hoirecon.contact.modeling.vlm import clip_config, llama_config

    made = {LANGUAGE_FOLDER: llama_config(config.language)}
    if isinstance(config.vision, EvidenceConfig):
        (folder / TOWER_FOLDER).mkdir(exist_ok=True)
        write_json(folder / TOWER_FOLDER / "config.json", {"model_type": "hoirecon_evidence", **asdict(config.vision)})
    else:
        made[TOWER_FOLDER] = clip_config(config.vision)
    for name, of_part in made.items():
        (folder / name).mkdir(exist_ok=True)
        of_part.dtype = dtype
        of_part.save_pretrained(folder / name)


def copy_beside(out: Path, tokenizer: Path | None, tower: Path | None = None) -> None:
    """Take the tokenizer's and the image processor's files over, those that are there."""
    for name in TOKENIZER_FILES if tokenizer is not None else ():
        assert tokenizer is not None
        if (tokenizer / name).is_file():
            (out / TOKENIZER_FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(tokenizer / name, out / TOKENIZER_FOLDER / name)
    if tower is not None and (tower / "preprocessor_config.json").is_file():
        shutil.copyfile(tower / "preprocessor_config.json", out / TOWER_FOLDER / "preprocessor_config.json")


def write_manifest(folder: Path, config: NetworkConfig, name: str, released: bool) -> None:
    """Write configuration, sizes and hashes; everything else must be in the folder already."""
    from hoirecon import __version__

    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    head = {"format": FORMAT, "version": VERSION, "hoirecon": __version__, "name": name, "released": released}
    write_json(folder / MANIFEST, head | {"config": config_dict(config), "files": files})


@dataclass(frozen=True)
class Manifest:
    """What ``hoirecon.json`` says."""

    name: str
    """Name of the model."""
    hoirecon: str
    """Version that wrote it."""
    released: bool
    """Whether the weights are those that InteractVLM's authors published."""
    config: NetworkConfig
    """What the network is."""
    files: Mapping[str, Mapping[str, Any]]
    """``bytes`` and ``sha256`` of every file."""

    @property
    def plain(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "config": config_dict(self.config)}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of one of our folders, every file of the sizes that it states.

    Raises:
        InputError: not one of our folders, of a newer version, or a file is missing or has another size.
    """
    path = folder / MANIFEST
    read = read_json(path)
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        raise InputError(
            f"{path} is no manifest of a contact network: give a folder that 'hoirecon contact convert' wrote"
        )
    if read.get("version") != VERSION:
        raise InputError(f"{path} has version {read.get('version')!r}, this hoirecon reads {VERSION}: update hoirecon")
    files, config = read.get("files"), read.get("config")
    if not isinstance(files, dict) or not isinstance(config, dict):
        raise InputError(f"{path} lacks 'files' or 'config': convert the released folder again")
    for name, entry in files.items():
        _check_size(folder, name, entry)
    name, wrote, released = read.get("name", folder.name), read.get("hoirecon", ""), read.get("released", False)
    return Manifest(str(name), str(wrote), released is True, config_from_dict(config), files)


def _check_size(folder: Path, name: str, entry: Any) -> None:
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not inside or not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
        raise InputError(
            f"{folder / MANIFEST} has a wrong entry for the file {name!r}: convert the released folder again"
        )
    size = (folder / name).stat().st_size if (folder / name).is_file() else None
    if size != entry.get("bytes"):
        raise InputError(
            f"{folder / name} has {'no' if size is None else size} bytes, the manifest says {entry.get('bytes')}: copy "
            "the folder again, whole"
        )


def sha256(path: Path) -> str:
    """Hash of a file's bytes, read piece by piece."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
