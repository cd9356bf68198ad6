"""What to look at: pictures, the result folder, the offline page and the live view of a scene.

=========================  ==========================================================================
``save_scene``             the whole result folder (what :meth:`hoirecon.Scene.save` calls)
``overlay_picture``        the photograph beside the photograph under the fitted scene
``contact_picture``        body and objects coloured by contact probability
``contact_sheet``          an estimate: photograph, the model's words, contact from four views
``turntable_picture``      the scene from all round
``report_page``            one offline HTML page with an orbitable 3D view
``view_scene``             the live 3D view (what ``hoirecon view`` calls)
``render``, ``cast_rays``  pictures and pixel-exact depth, faces and barycentric weights of any meshes
``make_surface``           prepares a mesh for them
=========================  ==========================================================================

Pictures need the extra ``render`` (open3d), the page and the live view the extra ``viewer`` (viser). Nothing heavy is
imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.views.contact import contact_picture as contact_picture
    from hoirecon.views.contact_page import contact_sheet as contact_sheet
    from hoirecon.views.folder import save_scene as save_scene
    from hoirecon.views.image_contact import draw_image_contact as draw_image_contact
    from hoirecon.views.overlay import overlay_picture as overlay_picture
    from hoirecon.views.raycast import cast_rays as cast_rays
    from hoirecon.views.raycast import render as render
    from hoirecon.views.report import report_page as report_page
    from hoirecon.views.surface import make_surface as make_surface
    from hoirecon.views.turntable import turntable_picture as turntable_picture
    from hoirecon.views.viewer import view_scene as view_scene

_PUBLIC = {
    "cast_rays": "hoirecon.views.raycast",
    "contact_picture": "hoirecon.views.contact",
    "contact_sheet": "hoirecon.views.contact_page",
    "draw_image_contact": "hoirecon.views.image_contact",
    "make_surface": "hoirecon.views.surface",
    "overlay_picture": "hoirecon.views.overlay",
    "render": "hoirecon.views.raycast",
    "report_page": "hoirecon.views.report",
    "save_scene": "hoirecon.views.folder",
    "turntable_picture": "hoirecon.views.turntable",
    "view_scene": "hoirecon.views.viewer",
}

__all__ = sorted(_PUBLIC)


__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return list(__all__)
