"""The views that the released models know: where the cameras stand, in which order, and where the light is.

Elevation and azimuth are those of pytorch3d: azimuth 0 looks at the front (+z), 90 stands on the side of +x, elevation
90 looks down from +y. FeatLift has one transform per place in the table, so the order of a table matters, and body and
object share these transforms.

Source: Dwivedi et al., "InteractVLM", CVPR 2025; the numbers are those of its released models.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hoirecon.contact.rendering.types import Lights, View, ViewTable
from hoirecon.errors import InputError

OBJECT_RENDER_DISTANCE = 1.5
"""Object meshes are drawn from here, though FeatLift is told 2.0 (as the released models are used)."""

_BODY_VIEWS = (
    View("topfront", 2.0, 45.0, 315.0),
    View("bottomfront", 2.0, 315.0, 315.0, y_shift=0.3),
    View("topback", 2.0, 45.0, 135.0),
    View("bottomback", 2.0, 315.0, 135.0, y_shift=0.3),
)
_OBJECT_VIEWS = (
    View("frontleft", 2.0, 45.0, 315.0),
    View("frontright", 2.0, 45.0, 45.0),
    View("backleft", 2.0, 330.0, 135.0),
    View("backright", 2.0, 330.0, 225.0),
)
_TEN_VIEWS = (
    View("frontleft", 2.0, 45.0, 315.0),
    View("frontright", 2.0, 45.0, 45.0),
    View("top", 2.0, 90.0, 0.0),
    View("front", 2.0, 0.0, 0.0),
    View("left", 2.0, 0.0, 270.0),
    View("backleft", 2.0, 330.0, 135.0),
    View("backright", 2.0, 330.0, 225.0),
    View("bottom", 2.0, 270.0, 0.0),
    View("back", 2.0, 0.0, 180.0),
    View("right", 2.0, 0.0, 90.0),
)


def _body(name: str, folder: str) -> ViewTable:
    return ViewTable(name, _BODY_VIEWS, folder=folder)


def _object(
    name: str, folder: str = "", views: tuple[View, ...] = _OBJECT_VIEWS, size: int = 1024, conditioned: bool = True
) -> ViewTable:
    return ViewTable(name, views, size, OBJECT_RENDER_DISTANCE, conditioned, folder)


HUMAN_VIEWS: Mapping[str, ViewTable] = {
    table.name: table
    for table in (
        _body("4MV-Z_Vitru", "hcontact_vitruvian"),
        _body("4MV-Z_Vitru_mv2", "hcontact_vitruvian_mv2"),
        _body("4MV-Z_Vitru_FootGround", "hcontact_vitruvian"),
    )
}
"""Tables of bodies by name."""

OBJECT_VIEWS: Mapping[str, ViewTable] = {
    table.name: table
    for table in (
        _object("4MV-XY_Rand", size=512, conditioned=False),
        _object("4MV-XY_Fix", size=512, conditioned=False),
        _object("4MV-Z_Fix", "rendered_points_0917", size=512),
        _object("4MV-Z_HM", "rendered_points_heatmap_1025"),
        _object("4MV-Z_HM1", "rendered_points_heatmap_1102"),
        _object("4MV-Z_HM2", "rendered_points_heatmap_AP1K0_1104"),
        _object("4MV-Z_HM_MeshInf"),
        _object("4MV-Z_HM_BM", "rendered_points_heatmap_1025"),
        _object("4MV-Z_HM_BM-L", "rendered_points_heatmap_1025"),
        _object("10MV-Z_HM", "rendered_points_heatmap_1025", _TEN_VIEWS),
    )
}
"""Tables of objects by name. The views of the two XY tables are not told to FeatLift; where their cameras stand is not
published, so they are drawn as the others are."""

ALIASES: Mapping[str, str] = {"4MV-Z_Vitru_wScene": "4MV-Z_Vitru_FootGround"}
"""Older names, as checkpoints' configurations have them."""

_LIT_FROM_BEHIND = frozenset({"topback", "bottomfront", "backleft", "backright", "back"})


def human_views(name: str) -> ViewTable:
    """Views of a body.

    Raises:
        InputError: unknown name; the message offers the nearest.

    Example:
        >>> human_views("4MV-Z_Vitru_wScene").name
        '4MV-Z_Vitru_FootGround'
    """
    return _table(name, HUMAN_VIEWS, "bodies")


def object_views(name: str) -> ViewTable:
    """Views of an object.

    Raises:
        InputError: unknown name; the message offers the nearest.
    """
    return _table(name, OBJECT_VIEWS, "objects")


def _table(name: str, tables: Mapping[str, ViewTable], of: str) -> ViewTable:
    found = tables.get(ALIASES.get(name, name))
    if found is not None:
        return found
    near = difflib.get_close_matches(str(name), [*tables, *(a for a, full in ALIASES.items() if full in tables)], 3)
    offer = f"perhaps {' or '.join(near)}" if near else f"choose one of {', '.join(tables)}"
    raise InputError(f"there is no view table {name!r} of {of}: {offer}")


def as_point_views(table: ViewTable) -> ViewTable:
    """The same views as point clouds were drawn for affordance training (PIAD): from the distance FeatLift is told."""
    return replace(table, render_distance=None)


def resized(table: ViewTable, size: int) -> ViewTable:
    """The same views in pictures of another size.

    Raises:
        InputError: a size that is not 1 to 8192.
    """
    if not 1 <= size <= 8192:
        raise InputError(f"pictures of {size} pixels cannot be drawn: choose a side from 1 to 8192")
    return replace(table, size=int(size))


def camera_numbers(table: ViewTable) -> npt.NDArray[np.float32]:
    """What FeatLift is told, before scaling.

    Returns:
        (V, 5) distance, elevation and azimuth in degrees, shift to x, shift to y.

    Raises:
        InputError: FeatLift is not told the cameras of this table (``table.conditioned``).
    """
    if not table.conditioned:
        raise InputError(f"FeatLift is not told the cameras of {table.name}: give normalize_cameras None instead")
    return np.array([view.numbers for view in table.views], np.float32)


def drawn_views(table: ViewTable) -> tuple[View, ...]:
    """The views at the distance from which pictures are drawn."""
    if table.render_distance is None:
        return table.views
    return tuple(replace(view, distance=table.render_distance) for view in table.views)


def view_lights(table: ViewTable) -> Lights:
    """Where the light stands in each view: before the thing at (0, 0, 3) or behind it at (0, 0, -3).

    The lower views of a body are lit from the side that their camera does not see. So the released pictures were made,
    and the models have seen no others. It goes by the view's name, whatever the order of the table. The top, bottom,
    left and right views of the table with ten views are lit from the front; that is our choice.
    """
    return tuple((0.0, 0.0, -3.0 if view.name in _LIT_FROM_BEHIND else 3.0) for view in table.views)


def check_lights(table: ViewTable, lights: Lights) -> None:
    """Refuse another number of lights than views.

    Raises:
        InputError: say which numbers.
    """
    if len(lights) != len(table.views):
        raise InputError(f"{len(lights)} lights for {len(table.views)} views: give one each, e.g. view_lights(table)")
