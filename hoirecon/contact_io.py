"""Contact maps as files: our ``.npz``, which keeps everything, and the reference's, which other programs read.

Our file holds ``header`` (JSON in bytes), ``probability``, and one array per part and per mask of a view. The reference
(InteractVLM, Dwivedi et al., CVPR 2025) writes a person's contact as ``pred_contact_3d_smplh`` (1, 6890) and
``pred_contact_3d_smplx`` (10475,), an object's as ``pred_contact_3d`` (1, N), all float32. Nothing of a file is ever
executed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from hoirecon.contact_map import ContactMap, Layout
from hoirecon.errors import InputError, TopologyError
from hoirecon.safe_io import Arrays, read_arrays, write_arrays

SCHEMA = "hoirecon-contact"
SCHEMA_VERSION = 1

SMPLH_KEY = "pred_contact_3d_smplh"
SMPLX_KEY = "pred_contact_3d_smplx"
OBJECT_KEY = "pred_contact_3d"
BODY_SIZES = {"smpl": 6890, "smplh": 6890, "smplx": 10475}
"""Bodies that the reference's layout knows, and their vertices; SMPL's are in SMPL-H's order."""

MAX_FILE_BYTES = 256 << 20
"""Four masks of 1024 x 1024 in float32 take 16 MiB unpacked."""
MAX_NAMES = 10_000
"""Limit of the parts, views and texts that a header may list."""
_ROUNDING = 1e-3  # a product of float32 matrices may leave [0, 1] by rounding, not by more


def save_contact(
    contact: ContactMap, path: str | Path, layout: Layout = "hoirecon", smplx: ContactMap | None = None
) -> Path:
    """Write a contact map as an ``.npz``, whole or not at all.

    Args:
        contact: what to write.
        path: the file; its name ends in ``.npz``.
        layout: ``hoirecon`` keeps every field; ``reference`` keeps the probabilities only, in float32: a body's
            (topology ``smpl``, ``smplh`` or ``smplx``) or else an object's.
        smplx: the same contact on SMPL-X, which the reference's layout holds beside SMPL-H.

    Returns:
        The path.

    Raises:
        InputError: unknown layout, a file of another kind, a body that the layout does not know, or a folder that
            cannot be written.
        TopologyError: ``smplx`` is not on SMPL-X, or a body has another number of vertices than its topology says.
    """
    if layout not in get_args(Layout):
        raise InputError(f"unknown layout '{layout}' of contact files; known: {', '.join(get_args(Layout))}")
    if layout == "hoirecon" and smplx is not None:
        raise InputError("our layout holds one map a file: save the one on smplx to a file of its own")
    if Path(path).suffix.lower() != ".npz":
        raise InputError(
            f"contact maps are written as .npz, got '{Path(path).name}': name it {Path(path).with_suffix('.npz').name}"
        )
    write_arrays(_ours(contact) if layout == "hoirecon" else _theirs(contact, smplx), path)
    return Path(path)


def load_contact(path: str | Path, topology: str | None = None) -> ContactMap:
    """Read a contact map from an ``.npz`` of ours or of the reference, told apart by their keys.

    Args:
        path: the file.
        topology: mesh that the map must be on. A person's file of the reference gives ``smplh`` unless ``smpl`` or
            ``smplx`` is asked for; an object's does not say its mesh, so name it (``mesh.topology``).

    Raises:
        InputError: missing, damaged or too large, no contact map, or an object's mesh is not named.
        TopologyError: the map is on another mesh than asked for.
    """
    arrays = read_arrays(_read(Path(path)), Path(path).name, MAX_FILE_BYTES)
    name = Path(path).name
    if "header" in arrays:
        return _from_ours(arrays, name, topology)
    if SMPLH_KEY in arrays or SMPLX_KEY in arrays:
        return _from_body(arrays, name, topology)
    if OBJECT_KEY in arrays:
        return _from_object(arrays[OBJECT_KEY], name, topology)
    held = ", ".join(sorted(arrays)[:8]) or "nothing"
    raise InputError(f"{name} holds no contact map (expected {SMPLH_KEY}, {OBJECT_KEY} or our header), but {held}")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
    return path.read_bytes()


# --------------------------------------------------------------------------------------------------------------- ours


def _ours(contact: ContactMap) -> Arrays:
    views = contact.view_masks
    header = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **contact.to_dict(),
        "parts": list(contact.parts),
        "views": None if views is None else list(views),
    }
    text = json.dumps(header, ensure_ascii=True, allow_nan=False).encode("ascii")
    arrays: Arrays = {"header": np.frombuffer(text, dtype=np.uint8), "probability": contact.probability}
    arrays.update({f"part_{k}": ids for k, ids in enumerate(contact.parts.values())})
    arrays.update({f"view_{k}": mask for k, mask in enumerate((views or {}).values())})
    return arrays


def _from_ours(arrays: Arrays, name: str, topology: str | None) -> ContactMap:
    header = _header(arrays["header"], name)
    try:
        found = ContactMap(
            _probability(arrays["probability"], name, tolerance=0.0),
            _word(header["topology"]),
            _word(header["source"]),
            _word(header["label"]),
            _word(header["answer"]),
            tuple(_names(header["named_parts"])),
            tuple(_names(header["notes"])),
            {part: arrays[f"part_{k}"] for k, part in enumerate(_names(header["parts"]))},
            None
            if header["views"] is None
            else {view: arrays[f"view_{k}"] for k, view in enumerate(_names(header["views"]))},
        )
    except InputError as err:
        raise InputError(f"{name} is damaged: {err}") from err
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"{name} is damaged: {type(err).__name__}: {err}") from err
    if topology is not None and found.topology != topology:
        raise TopologyError(f"{name} is on '{found.topology}', but '{topology}' was asked for")
    return found


def _header(raw: npt.NDArray[Any], name: str) -> dict[str, Any]:
    try:
        header = json.loads(raw.tobytes().decode("ascii"))
    except (ValueError, RecursionError) as err:
        raise InputError(f"the header of {name} is damaged: {type(err).__name__}") from err
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise InputError(f"{name} is not a contact map (no schema '{SCHEMA}')")
    if header.get("schema_version") != SCHEMA_VERSION:
        version = str(header.get("schema_version"))[:20]
        raise InputError(f"{name} has schema version {version}, this hoirecon reads {SCHEMA_VERSION}: update hoirecon")
    return header


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text in the header, got {type(value).__name__}")
    return value


def _names(values: Any) -> list[str]:
    if not isinstance(values, list) or len(values) > MAX_NAMES:
        raise TypeError(f"expected a list of at most {MAX_NAMES} texts in the header")
    return [_word(value) for value in values]


# -------------------------------------------------------------------------------------------------------- the reference


def _theirs(contact: ContactMap, smplx: ContactMap | None) -> Arrays:
    if smplx is not None and (smplx.topology != "smplx" or contact.topology not in ("smpl", "smplh")):
        raise TopologyError(
            f"a person's file holds one map on smplh and one on smplx, got '{contact.topology}' and '{smplx.topology}'"
        )
    if contact.topology not in BODY_SIZES:
        if contact.topology.startswith("hoirecon-free-body"):
            raise InputError(
                f"the reference's files know bodies as {', '.join(BODY_SIZES)}, not '{contact.topology}': transfer the "
                "contact to one of them first, or save in our own layout"
            )
        return {OBJECT_KEY: contact.probability[None].astype(np.float32)}
    arrays: Arrays = {}
    for body in (contact, smplx):
        if body is not None:
            body.check_on(body.topology, BODY_SIZES[body.topology], f"a body of {body.topology}")
            values = body.probability.astype(np.float32)
            arrays[SMPLX_KEY if body.topology == "smplx" else SMPLH_KEY] = (
                values if body.topology == "smplx" else values[None]
            )
    return arrays


def _from_body(arrays: Arrays, name: str, topology: str | None) -> ContactMap:
    if topology is None:
        topology = "smplh" if SMPLH_KEY in arrays else "smplx"
    if topology not in BODY_SIZES:
        raise TopologyError(
            f"{name} holds contact on smplh or smplx, but '{topology}' was asked for: transfer it first"
        )
    key = SMPLX_KEY if topology == "smplx" else SMPLH_KEY
    if key not in arrays:
        raise TopologyError(f"{name} holds no '{key}', so no contact on {topology}: ask for the other body")
    probability = _probability(arrays[key], f"{key} of {name}")
    if len(probability) != BODY_SIZES[topology]:
        raise TopologyError(f"{key} of {name} has {len(probability)} values, expected {BODY_SIZES[topology]}")
    return ContactMap(probability, topology, "interactvlm")


def _from_object(raw: npt.NDArray[Any], name: str, topology: str | None) -> ContactMap:
    probability = _probability(raw, f"{OBJECT_KEY} of {name}")
    if topology is None:
        raise InputError(
            f"{name} holds contact at {len(probability)} vertices but does not say of which mesh: give "
            "topology=mesh.topology (or 'smplh' for a person's contact with the scene)"
        )
    wanted = BODY_SIZES.get(topology, len(probability))
    if len(probability) != wanted:
        raise TopologyError(
            f"{OBJECT_KEY} of {name} has {len(probability)} values, but {topology} has {wanted} vertices"
        )
    return ContactMap(probability, topology, "interactvlm")


def _probability(raw: npt.NDArray[Any], name: str, tolerance: float = _ROUNDING) -> npt.NDArray[np.float64]:
    """(V,) float64 of (V,) or (1, V); rounding beyond [0, 1] is cut off, anything worse refused."""
    if raw.ndim == 2 and raw.shape[0] == 1:
        raw = raw[0]
    if raw.ndim != 1 or raw.size == 0:
        raise InputError(f"{name} has shape {raw.shape}, expected one probability per vertex, (1, V) or (V,)")
    values = raw.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds NaN or infinite values: it was not written by a sound run")
    if values.min() < -tolerance or values.max() > 1 + tolerance:
        raise InputError(f"{name} holds {values.min():g}..{values.max():g}, expected probabilities in [0, 1]")
    return np.clip(values, 0.0, 1.0) if tolerance else values
