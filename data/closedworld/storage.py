"""Scenes kept between runs, under ``hoirecon.files.home_dir()``, so that benches do not make them again."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.body_params import PARAM_SIZES, BodyParams
from hoirecon.camera import Camera
from hoirecon.data.body.files import FREE_BODY
from hoirecon.data.closedworld.recipes import Split, recipe_of, split_of_seed
from hoirecon.data.closedworld.scene import VERSION, ClosedWorldScene, Correspondences, make_scene
from hoirecon.data.objects import load_object
from hoirecon.data.objects.index import INDEX
from hoirecon.errors import InputError
from hoirecon.files import home_dir
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from hoirecon.safe_io import Arrays, read_arrays, write_arrays

MAKES = ("recipes", "posing", "building", "scene", "rays")
"""Modules that scenes are made by."""
DRAWS = ("noise", "bent_body", "landmarks", "levels", "photograph")
"""Modules that spoil and draw what a question shows of them."""
_FIELDS = ("body_verts", "visible", "full", "person", "depth", "body_distance", "object_distance")


def load_scene(seed: int, split: Split | None = None, folder: str | Path | None = None) -> ClosedWorldScene:
    """The scene of a seed from the store, made and kept the first time.

    Args:
        seed: as of :func:`make_scene`.
        split: likewise.
        folder: where scenes are kept; None: under ``home_dir()``. Another body or object library has another folder.
    """
    split = split_of_seed(seed) if split is None else split
    recipe_of(seed, split)  # refuses an unknown split before a path is made of it
    root = home_dir() / "closedworld" if folder is None else Path(folder)
    path = root / f"v{VERSION}-{sources_digest()}" / f"{split}_{seed:05d}.npz"
    if path.is_file():
        try:
            return unpack(read_arrays(path.read_bytes(), path.name))
        except (InputError, KeyError):
            path.unlink()  # damaged: made again below
    arrays = pack(make_scene(seed, split))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(arrays, path)
    return unpack(arrays)  # rounded as it is kept: the first time gives the same numbers as any later one


@cache
def sources_digest() -> str:
    """Short digest of the body, the list of objects and the generator's own code: scenes of other ones are others."""
    return _digest(FREE_BODY, INDEX, *_code(MAKES))


@cache
def pictures_digest() -> str:
    """Short digest of all that a question's pictures depend on: the scene's sources, and the code that draws them."""
    return _digest(FREE_BODY, INDEX, *_code(MAKES), *_code(DRAWS))


def _code(names: tuple[str, ...]) -> list[Path]:
    return [Path(__file__).parent / f"{name}.py" for name in names]


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def pack(scene: ClosedWorldScene) -> Arrays:
    """A scene as numeric arrays; text as UTF-8 bytes."""
    arrays: Arrays = {name: np.asarray(getattr(scene, name)) for name in _FIELDS}
    for name in ("body_verts", "depth", "body_distance", "object_distance"):
        arrays[name] = arrays[name].astype(np.float32)
    arrays |= {f"params_{k}": v for k, v in scene.params.arrays().items()}
    arrays |= {f"text_{k}": _bytes(getattr(scene, k)) for k in ("split", "interaction", "object_id")}
    arrays |= {"text_topology": _bytes(scene.params.topology), "numbers": np.array([scene.seed, scene.redrawn])}
    arrays |= {"K": scene.camera.K, "size": np.array([scene.camera.width, scene.camera.height])}
    arrays |= {"R": scene.pose.R, "t": scene.pose.t, "object_verts": scene.mesh.verts, "object_faces": scene.mesh.faces}
    pairs = scene.correspondences
    return arrays | {"pair_verts": pairs.body_verts, "pair_faces": pairs.faces, "pair_bary": pairs.bary}


def unpack(arrays: Arrays) -> ClosedWorldScene:
    """The scene of :func:`pack`.

    Raises:
        InputError: a mesh that is not in the library, or arrays that do not fit.
        KeyError: an array is missing.
    """
    text = {k.removeprefix("text_"): v.tobytes().decode() for k, v in arrays.items() if k.startswith("text_")}
    load_object(text["object_id"])
    params = BodyParams(
        arrays["params_betas"], **{k: arrays[f"params_{k}"] for k in PARAM_SIZES}, topology=text["topology"]
    )
    bools: Any = {k: arrays[k].astype(bool) for k in ("visible", "full", "person")}
    floats: Any = {k: arrays[k].astype(np.float64) for k in _FIELDS if k not in bools}
    split: Split = text["split"]  # type: ignore[assignment]
    return ClosedWorldScene(
        seed=int(arrays["numbers"][0]),
        split=split,
        interaction=text["interaction"],
        object_id=text["object_id"],
        camera=Camera(arrays["K"], int(arrays["size"][0]), int(arrays["size"][1])),
        params=params,
        mesh=Mesh(arrays["object_verts"], arrays["object_faces"], text["object_id"]),
        pose=ObjectPose(arrays["R"], arrays["t"]),
        correspondences=Correspondences(arrays["pair_verts"], arrays["pair_faces"], arrays["pair_bary"]),
        redrawn=int(arrays["numbers"][1]),
        **bools,
        **floats,
    )


def _bytes(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
