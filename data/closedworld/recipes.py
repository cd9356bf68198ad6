"""How people and things meet: a table of interactions, each with the objects it is done with.

Everything is said in the body's frame (y up, z front, x the person's left) or the object's own; places on a part of an
object are in half extents of the part's box, so that one line serves several meshes. The categories of the tuning and
of the reporting half have nothing in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from hoirecon.data.body.skeleton import mirror_name
from hoirecon.errors import InputError

Triple = tuple[float, float, float]
Split = Literal["tune", "report", "all"]
SPLITS: tuple[Split, ...] = ("tune", "report", "all")


@dataclass(frozen=True)
class Spot:
    """A place on an object."""

    part: str = ""
    """Part of the mesh, or '' for all of it."""
    at: Triple = (0.0, 0.0, 0.0)
    """In half extents of the part's box, -1..1 along each axis of the object frame."""


@dataclass(frozen=True)
class Grip:
    """Where a palm lies on an object, and how it is turned; object frame."""

    spot: Spot
    facing: Triple
    """Direction that the palm faces; the palm comes to the first surface met on the way through the spot."""
    across: Triple | None = None
    """Direction of a bar that the fingers wrap."""


@dataclass(frozen=True)
class Recipe:
    """One interaction with some meshes of one category, or of a few that are used alike."""

    interaction: str
    objects: tuple[str, ...]
    """Library ids."""
    anchor: tuple[str, str]
    """Body part, and what of it: its ``mean``, or the mean with the ``low``, ``high``, ``front``, ``rear``, ``left``
    or ``right`` end."""
    offset: Triple
    """From the anchor to where the pin comes, metres."""
    pin: Spot = Spot()
    """Place on the object that comes there."""
    euler: Triple = (0.0, 0.0, 0.0)
    """Rotation from object to body frame: degrees about x, then y, then z."""
    base: str = "stand"
    """Posture, a key of ``posing.BASES``."""
    hands: Mapping[str, Grip] = field(default_factory=dict)
    """Side -> grip."""
    rest: Mapping[str, tuple[Triple, Triple]] = field(default_factory=dict)
    """Side -> (palm, facing) relative to the pelvis, for hands that do not touch the object."""
    touch: tuple[str, ...] = ()
    """Further body parts that must touch."""
    loose: float = 0.3
    """Bend of fingers that meet nothing, radians per joint."""
    tilt: Triple = (6.0, 10.0, 6.0)
    """Spread of the rotation, degrees about x, y, z."""
    free: Triple = (1.0, 1.0, 1.0)
    """Axes along which the object may be moved to make contact; things on the ground stay on it."""
    lifts: bool = False
    """Whether both shoulders are raised."""

    @property
    def categories(self) -> frozenset[str]:
        """Categories of the objects."""
        return frozenset(name.split("/")[0] for name in self.objects)

    @property
    def touching(self) -> tuple[str, ...]:
        """Body parts that must touch: hands with a grip, and others."""
        return (*(f"{side}_hand" for side in self.hands), *self.touch)

    def mirrored(self) -> Recipe:
        """The same with left and right exchanged."""
        name, end = self.anchor
        swap = {"left": "right", "right": "left"}
        return replace(
            self,
            anchor=(mirror_name(name), swap.get(end, end)),
            offset=_flip(self.offset),
            pin=_flip_spot(self.pin),
            euler=(self.euler[0], -self.euler[1], -self.euler[2]),
            hands={swap[s]: _flip_grip(g) for s, g in self.hands.items()},
            rest={swap[s]: (_flip(p), _flip(d)) for s, (p, d) in self.rest.items()},
            touch=tuple(mirror_name(t) for t in self.touch),
        )


def _flip(v: Triple) -> Triple:
    return (-v[0], v[1], v[2])


def _flip_spot(spot: Spot) -> Spot:
    return Spot(mirror_name(spot.part), _flip(spot.at))


def _flip_grip(grip: Grip) -> Grip:
    return Grip(_flip_spot(grip.spot), _flip(grip.facing), grip.across and _flip(grip.across))


# ---------------------------------------------------------------------------------------------------- frequent lines
_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_nX, _nY, _nZ = (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)
_ON_THIGHS = {"left": ((0.13, 0.03, 0.30), _nY), "right": ((-0.13, 0.03, 0.30), _nY)}
_LEVEL = (2.0, 8.0, 2.0)
_GROUND = (1.0, 0.0, 1.0)
_CHEST, _SEAT, _FEET = ("chest", "front"), ("seat", "low"), ("both_foot", "low")


def _sides(part: str = "", height: float = -0.2, depth: float = 0.0) -> dict[str, Grip]:
    """Palms flat against the left and right side."""
    return {"left": Grip(Spot(part, (1, height, depth)), _nX), "right": Grip(Spot(part, (-1, height, depth)), _X)}


def _swapped(part: str, height: float, depth: float, across: Triple | None = None) -> dict[str, Grip]:
    """The same for an object that is turned to face the person."""
    return {
        "left": Grip(Spot(part, (-1, height, depth)), _X, across),
        "right": Grip(Spot(part, (1, height, depth)), _nX, across),
    }


def _bar(left: Spot, right: Spot, facing: Triple) -> dict[str, Grip]:
    """Both hands round a bar along x."""
    return {"left": Grip(left, facing, _X), "right": Grip(right, facing, _X)}


def _right(part: str, at: Triple, facing: Triple, across: Triple | None = None) -> dict[str, Grip]:
    return {"right": Grip(Spot(part, at), facing, across)}


def _sit(objects: tuple[str, ...], pin: Spot, rest: bool = True) -> Recipe:
    hands = _ON_THIGHS if rest else {}
    return Recipe("sit", objects, _SEAT, (0, -0.005, 0.05), pin, base="sit", rest=hands, touch=("seat",), tilt=_LEVEL)


def _carry(objects: tuple[str, ...], hands: Mapping[str, Grip], **more: object) -> Recipe:
    fixed = Recipe("two_hand_carry", objects, _CHEST, (0, -0.22, 0.05), Spot("", (0, 0, -1)), (8, 0, 0), hands=hands)
    return replace(fixed, **more)  # type: ignore[arg-type]


def _hang(objects: tuple[str, ...], handle: str, at: Triple = (0, 1, 0)) -> Recipe:
    """Carried by a handle along x in the hanging right hand."""
    return Recipe("hang", objects, ("right_hip", "right"), (-0.10, -0.10, 0.03), Spot(handle, at), (0, 90, 0),
                  hands=_right(handle, (at[0], 0.3, at[2]), _Z, _X), tilt=(4, 15, 4), loose=0.9)  # fmt: skip


def _apart(objects: tuple[str, ...]) -> Recipe:
    return Recipe(
        "no_contact", objects, _FEET, (-0.55, 0, 0.45), Spot("", (1, -1, -1)), tilt=(1, 70, 1), free=(0, 0, 0)
    )


def _cane(objects: tuple[str, ...]) -> Recipe:
    hands = _right("handle", (0, 1, 0), _nY, _Z)
    return Recipe("lean", objects, _FEET, (-0.26, 0, 0.22), Spot("", (0, -1, 0)), hands=hands, tilt=(3, 20, 3),
                  free=_GROUND, loose=0.9)  # fmt: skip


def _push(objects: tuple[str, ...], lead: float) -> Recipe:
    hands = _bar(Spot("handle", (0.7, 1, 0)), Spot("handle", (-0.7, 1, 0)), (0, -0.8, 0.6))
    return Recipe("push", objects, _FEET, (0, 0, lead), Spot("", (0, -1, -1)), base="stride", hands=hands,
                  tilt=(0.5, 5, 0.5), free=_GROUND, loose=0.9)  # fmt: skip


def _drink(objects: tuple[str, ...], part: str, tip: float = -100.0) -> Recipe:
    return Recipe("drink", objects, ("face", "front"), (0, -0.05, 0.005), Spot("", (0, 1, 0.6)), (tip, 0, 0),
                  hands=_right(part, (0, -0.2, 0), _X, _Y), tilt=(8, 4, 4), loose=0.7)  # fmt: skip


def _ear(objects: tuple[str, ...], part: str, pin: Spot, yaw: float, facing: Triple) -> Recipe:
    return Recipe("hold_to_ear", objects, ("right_ear", "right"), (-0.004, -0.03, 0.02), pin, (-12, yaw, 0),
                  hands=_right(part, (0, -0.15, 0), facing), touch=("right_ear",), tilt=(4, 4, 3))  # fmt: skip


def _ride(objects: tuple[str, ...], deck: str) -> Recipe:
    return Recipe("ride", objects, _FEET, (0, 0.004, 0), Spot(deck, (0, 0.4, 0)), (0, 90, 0), base="board",
                  touch=("left_foot", "right_foot"), tilt=(1, 6, 1))  # fmt: skip


def _clamp(objects: tuple[str, ...], deck: str) -> Recipe:
    """A board held upright against the hip."""
    return Recipe("under_arm", objects, ("right_hip", "right"), (-0.03, 0.0, 0.05), Spot(deck, (0, 1, 0)), (0, 0, 90),
                  hands=_right(deck, (-0.5, 0, 0), _Y), tilt=(8, 5, 3))  # fmt: skip


_TUNE = (
    _carry(("box/medium", "box/small", "box/cube"), _sides()),
    Recipe("overhead", ("box/small", "box/flat"), ("head", "high"), (0, 0.07, 0.05), Spot("", (0, -1, 0)),
           hands=_sides(), lifts=True, tilt=(5, 8, 4)),
    _sit(("box/large", "box/cube"), Spot("", (0, 1, 0))),
    _sit(("chair/plain", "chair/slatted", "chair/wide", "chair/folding"), Spot("seat", (0, 1, 0.1))),
    _carry(("chair/plain", "chair/slatted"), _swapped("seat", 0, 0.1, _Z), pin=Spot("seat", (0, 0, 1)),
           euler=(10, 180, 0), offset=(0, -0.28, 0.1), loose=0.8),
    Recipe("lean", ("chair/plain", "chair/slatted", "chair/wide"), _FEET, (-0.22, 0, 0.22), Spot("", (0, -1, -1)),
           hands=_right("back", (0, 1, 0), _nY, _X), tilt=(0.5, 12, 0.5), free=_GROUND, loose=0.8),
    _drink(("bottle/water", "bottle/sport", "bottle/small"), "body"),
    Recipe("one_hand_carry", ("bottle/water", "bottle/large", "bottle/wine"), _CHEST, (-0.20, -0.2, 0.12),
           Spot("body"), hands=_right("body", (0, 0, 0), _X, _Y), tilt=(12, 20, 12), loose=0.7),
    Recipe("overhead", ("barbell/home", "barbell/light"), ("head", "high"), (0, 0.2, 0.02), Spot("bar_centre"),
           hands=_bar(Spot("bar_left", (-0.4, 0, 0)), Spot("bar_right", (0.4, 0, 0)), (0, 0.5, 0.86)), lifts=True,
           tilt=(4, 5, 3), loose=1.1),
    Recipe("lunge_bar", ("barbell/home", "barbell/bare", "barbell/light"), ("upper_back", "rear"), (0, 0.10, -0.015),
           Spot("bar_centre"), base="lunge", hands=_bar(Spot("bar_left", (0, 0, 0)), Spot("bar_right", (0, 0, 0)), _Z),
           touch=("upper_back",), tilt=(3, 4, 2), loose=1.1),
    Recipe("hang_front", ("barbell/home", "barbell/olympic"), ("pelvis", "front"), (0, -0.05, 0.05), Spot("bar_centre"),
           hands=_bar(Spot("bar_left", (-0.5, 0, 0)), Spot("bar_right", (0.5, 0, 0)), _nZ), tilt=(3, 5, 3), loose=1.1),
    Recipe("one_hand_carry", ("umbrella/open",), _CHEST, (-0.17, -0.12, 0.16), Spot("handle"), (6, 0, 4),
           hands=_right("handle", (0, 0.2, 0), _X, _Y), tilt=(8, 40, 8), loose=1.1),
    _cane(("umbrella/walking", "umbrella/crook")),
    _hang(("suitcase/folded",), "top_handle"),
    Recipe("lean", ("suitcase/trolley", "suitcase/large"), _FEET, (-0.36, 0, 0.12), Spot("", (0, -1, 0)), (0, 180, 0),
           hands=_right("pull_handle", (0, 1, 0), _nY, _X), tilt=(1, 15, 1), free=_GROUND, loose=0.8),
    Recipe("lap", ("laptop/open", "laptop/small", "laptop/wide_open"), ("both_thigh_front", "high"), (0, 0.004, 0.05),
           Spot("base", (0, -1, 0)), (0, 180, 0), base="sit", touch=("both_thigh",), tilt=(2, 5, 2),
           hands={"left": Grip(Spot("base", (-0.5, 1, 0.5)), _nY), "right": Grip(Spot("base", (0.5, 1, 0.5)), _nY)}),
    _carry(("laptop/open", "laptop/small"), {"left": Grip(Spot("base", (-0.6, -1, 0.3)), _Y),
           "right": Grip(Spot("base", (0.6, -1, 0.3)), _Y)}, pin=Spot("base", (0, 0, 1)), euler=(0, 180, 0),
           offset=(0, -0.2, 0.07)),
    _ear(("cell phone/phone", "cell phone/large", "cell phone/small"), "", Spot("", (0, 0.35, 1)), 90, _Z),
    _ride(("skateboard/street", "skateboard/longboard"), "deck"),
    _clamp(("skateboard/street",), "deck"),
    _push(("shopping cart/cart",), 0.30),
    Recipe("swing", ("tennis racket/open", "tennis racket/grid", "tennis racket/junior"), _CHEST, (-0.25, -0.22, 0.18),
           Spot("grip"), (55, 0, 25), hands=_right("grip", (0, 0, 0), _X, _Y), tilt=(15, 20, 15), loose=1.1),
    _hang(("bucket/bucket", "bucket/small"), "handle"),
    Recipe("hug", ("teddy bear/sitting",), _CHEST, (0, -0.17, 0.02), Spot("", (0, 0, -1)),
           hands=_sides("", -0.45, -0.2)),
    _apart(("chair/plain", "chair/folding")),
    _apart(("traffic cone/road",)),
)  # fmt: skip

_REPORT = (
    _carry(("crate/bottle_crate", "crate/fruit"), _sides()),
    _sit(("stool/four_legs", "stool/square", "stool/three_legs"), Spot("seat", (0, 1, 0))),
    _sit(("bench/park", "bench/plain", "bench/gym", "bench/short"), Spot("seat", (0, 1, 0.2))),
    _carry(("monitor/wide", "monitor/square"), _sides("screen", -0.2, 0)),
    _hang(("dumbbell/hex", "dumbbell/vinyl"), "handle", (0, 0, 0)),
    Recipe("overhead", ("dumbbell/hex", "dumbbell/hex_small"), ("right_shoulder", "high"), (-0.08, 0.5, 0.05),
           Spot("handle"), hands=_right("handle", (0, 0, 0), (0, 0.5, 0.86), _X), lifts=True, loose=1.1),
    Recipe("lunge_bar", ("broom/push", "broom/flat"), ("upper_back", "rear"), (0, 0.10, -0.012), Spot("grip"),
           (0, 0, 90), base="lunge",
           hands={"left": Grip(Spot("", (0, -0.5, 0)), _Z, _Y), "right": Grip(Spot("", (0, 0.5, 0)), _Z, _Y)},
           touch=("upper_back",), tilt=(3, 4, 2), loose=1.1),
    Recipe("swing", ("broom/push", "broom/wide", "rake/leaf"), _FEET, (0.05, 0.01, 0.75), Spot("", (0, -1, 0)),
           (-28, 0, 8),
           hands={"left": Grip(Spot("", (0, 0.25, 0)), _nX, _Y), "right": Grip(Spot("", (0, 0.6, 0)), _X, _Y)},
           tilt=(4, 10, 4), free=_GROUND, loose=1.1),
    _cane(("cane/crook", "cane/straight")),
    _hang(("briefcase/case", "briefcase/toolbox"), "handle"),
    _hang(("handbag/shopper",), "handles"),
    Recipe("hang_front", ("kettlebell/standard", "kettlebell/competition"), ("pelvis", "front"), (0, -0.12, 0.12),
           Spot("handle", (0, 1, 0)), base="stoop",
           hands=_bar(Spot("handle", (0.45, 0.6, 0)), Spot("handle", (-0.45, 0.6, 0)), _nZ), tilt=(4, 5, 3), loose=1.1),
    Recipe("read", ("book/open", "book/large"), _CHEST, (0, -0.05, 0.24), Spot(), (-35, 180, 0), base="sit",
           hands={"left": Grip(Spot("", (-0.6, 0, -1)), _Z), "right": Grip(Spot("", (0.6, 0, -1)), _Z)}),
    Recipe("read", ("tablet/tablet", "tablet/large"), _CHEST, (0, -0.08, 0.22), Spot(), (-40, 180, 0),
           hands=_swapped("", -0.2, 0)),
    _ear(("telephone/handset",), "", Spot("", (0, 0.7, 1)), 90, _Z),
    Recipe("ride", ("kick scooter/folding", "kick scooter/tall"), ("left_foot", "low"), (0, 0.004, 0.0),
           Spot("deck", (0, 1, 0.1)), base="one_leg", touch=("left_foot",), tilt=(0.5, 4, 0.5), loose=0.9,
           hands=_bar(Spot("grip_left"), Spot("grip_right"), (0, -0.7, 0.7))),
    _ride(("surfboard/short", "snowboard/freestyle"), "deck"),
    _clamp(("tray/serving",), ""),
    _push(("stroller/pushchair",), 0.38),
    Recipe("swing", ("baseball bat/adult", "baseball bat/softball"), _CHEST, (-0.12, -0.1, 0.22),
           Spot("handle", (0, -0.5, 0)), (-15, 0, 20),
           hands={"left": Grip(Spot("handle", (0, -0.8, 0)), _nX, _Y), "right": Grip(Spot("handle"), _X, _Y)},
           tilt=(12, 20, 12), loose=1.1),
    Recipe("overhead", ("sports ball/basketball", "sports ball/volleyball", "sports ball/medicine"), ("head", "high"),
           (0, 0.10, 0.10), Spot("", (0, -1, 0)), hands=_sides("", 0.0), lifts=True),
    _carry(("sports ball/basketball", "sports ball/football", "sports ball/medicine"), _sides("", 0.0)),
    Recipe("hug", ("pillow/square",), _CHEST, (0, -0.18, 0.02), Spot("", (0, 0, -1)), hands=_sides("", 0.0)),
    Recipe("lap", ("pillow/square",), ("both_thigh_front", "high"), (0, 0.01, 0.13), Spot("", (0, 0, -1)),
           (-90, 0, 0), base="sit", touch=("both_thigh",), tilt=(3, 10, 3),
           hands={"left": Grip(Spot("", (0.4, 0, 1)), _nZ), "right": Grip(Spot("", (-0.4, 0, 1)), _nZ)}),
    _drink(("mug/mug", "cup/tumbler", "cup/takeaway"), "body", -70),
    Recipe("one_hand_carry", ("wine glass/red", "wine glass/white"), _CHEST, (-0.2, -0.1, 0.16), Spot("bowl"),
           hands=_right("bowl", (0, -0.2, 0), _X, _Y), tilt=(8, 20, 8), loose=0.7),
    _apart(("stool/four_legs", "stool/bar")),
    _apart(("sports ball/football",)),
)  # fmt: skip

RECIPES: Mapping[Split, tuple[Recipe, ...]] = {"tune": _TUNE, "report": _REPORT, "all": (*_TUNE, *_REPORT)}
"""The interactions of each half."""

REPORT_FROM = 1000
"""Scene seeds from here on are for reporting."""


def split_of_seed(seed: int) -> Split:
    """Which half a seed belongs to unless one is asked for."""
    return "report" if seed >= REPORT_FROM else "tune"


def recipe_of(seed: int, split: Split | None = None) -> Recipe:
    """The recipe of a seed: a fixed shuffle of the split's table, gone through again and again.

    Raises:
        InputError: an unknown split.
    """
    split = split_of_seed(seed) if split is None else split
    if split not in RECIPES:
        raise InputError(f"the scenes' split is one of {', '.join(SPLITS)}, got '{split}'")
    table = RECIPES[split]
    order = np.random.default_rng(11).permutation(len(table))
    return table[int(order[seed % len(table)])]
