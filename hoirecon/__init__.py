"""hoirecon: from one photograph, a person and the objects they interact with, in 3D, in contact as they really are.

The first minute::

    import hoirecon
    scene = hoirecon.reconstruct("photo.jpg", "barbell", object_box=(0, 150, 180, 60))
    scene.save("out/")

Those who compose use the packages that the one-call door is made of, in the order of the data:
``hoirecon.perception`` (image to masks, landmarks, camera), ``hoirecon.data`` (body, object library),
``hoirecon.contact`` (where they touch), ``hoirecon.fitting`` (where they are), ``hoirecon.views`` (what to look at).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.body_params import BodyParams as BodyParams
    from hoirecon.camera import Camera as Camera
    from hoirecon.contact_map import ContactMap as ContactMap
    from hoirecon.errors import HoireconError as HoireconError
    from hoirecon.errors import InputError as InputError
    from hoirecon.mesh import Mesh as Mesh
    from hoirecon.observation import Keypoints as Keypoints
    from hoirecon.observation import Observation as Observation
    from hoirecon.pose import ObjectPose as ObjectPose
    from hoirecon.reconstruction import ReconstructConfig as ReconstructConfig
    from hoirecon.reconstruction import reconstruct as reconstruct
    from hoirecon.requests import ObjectRequest as ObjectRequest
    from hoirecon.scene import Scene as Scene

__version__ = "0.1.0"

# Public name -> module that defines it. Loaded on first use, so that `import hoirecon` costs nothing.
_PUBLIC = {
    "BodyParams": "hoirecon.body_params",
    "Camera": "hoirecon.camera",
    "ContactMap": "hoirecon.contact_map",
    "HoireconError": "hoirecon.errors",
    "InputError": "hoirecon.errors",
    "Keypoints": "hoirecon.observation",
    "Mesh": "hoirecon.mesh",
    "ObjectPose": "hoirecon.pose",
    "ObjectRequest": "hoirecon.requests",
    "Observation": "hoirecon.observation",
    "ReconstructConfig": "hoirecon.reconstruction",
    "Scene": "hoirecon.scene",
    "reconstruct": "hoirecon.reconstruction",
}

__all__ = [
    *sorted(_PUBLIC),
    "__version__",
]


__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return list(__all__)
