"""The user's body models, by the gender that the data names: parameters of licensed bodies become vertices here.

``--body FILE`` is one model for everybody. ``--body FOLDER`` holds one per gender, told by ``female``, ``male`` or
``neutral`` in the file's name or its folder's (``SMPLH_FEMALE.pkl``, ``female/model.npz``), as BEHAVE, CONTHO's
json and RHOBIN name the gender of each sample and its vertices depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.body_params import BodyParams
from hoirecon.errors import InputError
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel

GENDERS = ("female", "male", "neutral")
"""In this order: ``male`` is a part of the word ``female``."""
ANY = "any"
SUFFIXES = (".npz", ".pkl")
WORLD = "world_"
"""What the names of parameters begin with that are in the dataset's world frame."""
POSE_SIZES = (72, 156)
"""SMPL (the hands' two joints are left out) and SMPL-H."""
BODY_NUMBERS = 66
"""Of a pose vector: the root and 21 joints of the body; hands follow, 45 numbers each, where the vector has 156."""


class MissingBodyError(InputError):
    """Parameters of a licensed body are to be posed, and no model was given."""


@dataclass(frozen=True)
class Bodies:
    """Models by gender; :data:`ANY` for one that poses everybody."""

    models: Mapping[str, BodyModel]

    @classmethod
    def of(cls, given: Bodies | BodyModel | None) -> Bodies | None:
        """One model stands for everybody."""
        return given if given is None or isinstance(given, Bodies) else cls({ANY: given})

    @classmethod
    def load(cls, path: str | Path) -> Bodies:
        """Read one file, or a folder of one per gender.

        Raises:
            InputError: nothing there, no file that names a gender, two for one gender, or a file that is no body.
        """
        from hoirecon.data.body import load_body

        path = Path(path)
        files = dict(_by_gender(path)) if path.is_dir() else {ANY: path}
        if not files:
            raise InputError(f"{path} holds no {' or '.join(SUFFIXES)} whose name says {', '.join(GENDERS)}")
        return cls({gender: load_body(file) for gender, file in files.items()})

    def for_gender(self, gender: str) -> BodyModel:
        """The model of a gender; the neutral one, or the only one, where the data names none.

        Raises:
            InputError: no model of that gender.
        """
        wanted = gender.strip().lower()
        for name in (wanted, ANY) if wanted in GENDERS else (ANY, "neutral", *self.models):
            if name in self.models:
                return self.models[name]
        raise InputError(f"the data names a {wanted} body, but --body has {', '.join(self.models)} only: add its file")

    def posed(self, params: Mapping[str, Any], gender: str = "", to_truth: ObjectPose | None = None) -> SceneBody:
        """The body of a file's parameters in the frame of the truth.

        Args:
            params: by the file's names. Names that begin with ``world_`` are in the world frame: the body is posed
                there and then moved, which no change of the parameters does (the root turns about the pelvis).
            gender: as the data names it.
            to_truth: world to the frame of the truth, for ``world_`` parameters.

        Raises:
            InputError: parameters of another kind, or in a world whose camera is not known.
        """
        model = self.for_gender(gender)
        body = model.pose(params_of(params, model))
        if not any(name.startswith(WORLD) for name in params):
            return body
        if to_truth is None:
            raise InputError("parameters in the world frame need the camera: give them in the frame of the truth")
        return SceneBody(body.params, to_truth.apply(body.verts), body.faces, to_truth.apply(body.joints))


def _by_gender(folder: Path) -> Iterator[tuple[str, Path]]:
    seen: dict[str, Path] = {}
    for file in sorted(p for p in (*folder.glob("*"), *folder.glob("*/*")) if p.suffix.lower() in SUFFIXES):
        text = f"{file.parent.name if file.parent != folder else ''} {file.stem}".lower()
        gender = next((name for name in GENDERS if name in text), None)
        if gender is None:
            continue
        if gender in seen:
            raise InputError(f"{folder} has two bodies for '{gender}', {seen[gender].name} and {file.name}: keep one")
        seen[gender] = file
        yield gender, file


def body_file(path: str | Path | None) -> Path | None:
    """The one file whose surface stands for the body: the file itself, or a folder's neutral (else first) body.

    Surfaces of the three genders have the same vertices and triangles; geodesic distances differ by their shape.
    """
    if path is None or not Path(path).is_dir():
        return None if path is None else Path(path)
    files = dict(_by_gender(Path(path)))
    if not files:
        raise InputError(f"{path} holds no {' or '.join(SUFFIXES)} whose name says {', '.join(GENDERS)}")
    return files.get("neutral") or next(iter(files.values()))


def params_of(params: Mapping[str, Any], body: BodyModel) -> BodyParams:
    """A file's parameters by our names.

    Either ``pose`` of 72 or 156 numbers, or ``global_orient`` (``root_pose``) and ``body_pose`` with
    ``left_hand_pose`` and ``right_hand_pose`` of 45 numbers each or none; ``betas`` or ``shape``; ``trans`` or
    ``transl``. Names may begin with ``world_``.

    Raises:
        InputError: another length, a hand as coefficients of a hand model, or names that are missing.
    """
    held = {name.removeprefix(WORLD): np.ravel(np.asarray(v, np.float64)) for name, v in params.items()}
    root, joints, left, right = _whole(held["pose"]) if "pose" in held else _in_pieces(held)
    return BodyParams(
        betas=_first(held, "betas", "shape"),
        global_orient=root,
        body_pose=joints,
        left_hand_pose=left,
        right_hand_pose=right,
        transl=_first(held, "trans", "transl"),
        topology=body.topology,
    )


def _whole(pose: Any) -> tuple[Any, Any, Any, Any]:
    if len(pose) not in POSE_SIZES:
        raise InputError(f"a pose has 72 or 156 numbers, got {len(pose)}")
    hands = pose[BODY_NUMBERS:] if len(pose) == POSE_SIZES[1] else np.zeros(90)
    return pose[:3], pose[3:BODY_NUMBERS], hands[:45], hands[45:]


def _in_pieces(held: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    hands = [held.get(f"{side}_hand_pose", np.zeros(45)) for side in ("left", "right")]
    for hand in hands:
        if len(hand) != 45:
            raise InputError(f"a hand has 45 numbers, got {len(hand)}: coefficients of a hand model are not posed here")
    return _first(held, "global_orient", "root_pose"), _first(held, "body_pose"), *hands


def _first(params: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in params:
            return params[name]
    raise InputError(f"body parameters have none of {', '.join(names)}, only {', '.join(params)}")
