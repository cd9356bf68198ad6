"""The 52 joints of the SMPL-H layout: names, parents, mirror, and which are body and which hand."""

from __future__ import annotations

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

BODY_JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
HAND_JOINT_NAMES = {
    side: tuple(f"{side}_{finger}{i}" for finger in _FINGERS for i in (1, 2, 3)) for side in ("left", "right")
}
JOINT_NAMES = (*BODY_JOINT_NAMES, *HAND_JOINT_NAMES["left"], *HAND_JOINT_NAMES["right"])
"""Names in SMPL-H order: root, 21 body joints, 15 left and 15 right finger joints."""

_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)


def _hand_parents(wrist: int, first: int) -> tuple[int, ...]:
    return tuple(wrist if i % 3 == 0 else first + i - 1 for i in range(15))


PARENTS = (*_BODY_PARENTS, *_hand_parents(20, 22), *_hand_parents(21, 37))
"""Parent of each joint; -1 for the root. A parent always comes before its children."""

NUM_JOINTS = len(JOINT_NAMES)
ROOT = (0,)
BODY_JOINTS = tuple(range(1, 22))
LEFT_HAND_JOINTS = tuple(range(22, 37))
RIGHT_HAND_JOINTS = tuple(range(37, 52))


def joint_index(name: str) -> int:
    """Index of a joint by name.

    Raises:
        InputError: no such joint; the message lists the names.

    Example:
        >>> joint_index("left_wrist")
        20
    """
    if name not in JOINT_NAMES:
        from hoirecon.errors import InputError

        raise InputError(f"no joint is called '{name}'; there are: {', '.join(JOINT_NAMES)}")
    return JOINT_NAMES.index(name)


def mirror_name(name: str) -> str:
    """Swap left and right in a name that starts with a side or ends with one.

    Example:
        >>> mirror_name("left_knee"), mirror_name("mouth_right"), mirror_name("nose")
        ('right_knee', 'mouth_left', 'nose')
    """
    for one, other in (("left", "right"), ("right", "left")):
        if name.startswith(f"{one}_"):
            return other + name[len(one) :]
        if name.endswith(f"_{one}"):
            return name[: -len(one)] + other
    return name


MIRROR_JOINTS = tuple(JOINT_NAMES.index(mirror_name(name)) for name in JOINT_NAMES)
"""Index of each joint's other side; the middle ones map to themselves."""


def ancestors(joint: int) -> tuple[int, ...]:
    """The joint and all joints above it, up to the root.

    Example:
        >>> ancestors(4)
        (4, 1, 0)
    """
    chain = []
    while joint >= 0:
        chain.append(joint)
        joint = PARENTS[joint]
    return tuple(chain)
