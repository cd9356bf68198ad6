"""Camera of a photograph: what the user gives, else what the EXIF says, else a stated default."""

from __future__ import annotations

from typing import Any

from hoirecon.camera import DEFAULT_FOCAL_35MM, Camera
from hoirecon.errors import InputError
from hoirecon.images import LoadedImage


def camera_for(
    image: LoadedImage,
    *,
    K: Any = None,
    focal_px: float | None = None,
    focal_35mm: float | None = None,
) -> tuple[Camera, str]:
    """Choose the camera of an image: given, else EXIF, else the default.

    Args:
        image: the decoded photograph.
        K: (3, 3) intrinsics in pixels of this image.
        focal_px: focal length in pixels; the principal point is then the image centre.
        focal_35mm: 35 mm-equivalent focal length, millimetres; related through the image diagonal.

    Returns:
        The camera, whose ``source`` says which of the three it is, and a note for the user.

    Raises:
        InputError: more than one of K, focal_px and focal_35mm is given, or a value is not usable.
    """
    given = [name for name, v in (("K", K), ("focal_px", focal_px), ("focal_35mm", focal_35mm)) if v is not None]
    if len(given) > 1:
        raise InputError(f"the camera is given twice ({' and '.join(given)}): give only one of them")
    size = (image.width, image.height)
    if K is not None:
        return Camera(K, *size, "given"), "camera: K as given"
    if focal_px is not None:
        return Camera.from_focal(focal_px, *size), f"camera: focal length {focal_px:g} px as given"
    if focal_35mm is not None:
        return Camera.from_focal_35mm(focal_35mm, *size), f"camera: {focal_35mm:g} mm-equivalent lens as given"
    return _from_exif(image) or _default(image)


def _from_exif(image: LoadedImage) -> tuple[Camera, str] | None:
    exif, size = image.exif, (image.width, image.height)
    if exif.focal_35mm is not None:
        camera = Camera.from_focal_35mm(exif.focal_35mm, *size, "exif")
        how = f"{exif.focal_35mm:g} mm-equivalent"
    elif exif.focal_px is not None:
        camera = Camera.from_focal(exif.focal_px, *size, "exif")
        how = "focal length and sensor resolution"
    else:
        return None
    of = f" of {exif.model}" if exif.model else ""
    return camera, f"camera: {how} from the file's EXIF{of}, {camera.focal[0]:.0f} px (wrong if the photo was cropped)"


def _default(image: LoadedImage) -> tuple[Camera, str]:
    camera = Camera.default(image.width, image.height)
    return camera, (
        f"camera: unknown, assumed a {DEFAULT_FOCAL_35MM:g} mm-equivalent lens ({camera.focal[0]:.0f} px): "
        f"depths scale with it, give a focal length if you know it"
    )
