"""Read a photograph: RGB bytes the right way up, and what its EXIF says of the lens."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from hoirecon.arrays import ByteArray, as_image
from hoirecon.errors import InputError

MAX_PIXELS = 120_000_000
"""Largest image that is decoded: the 102 megapixels of medium-format cameras and some more, 360 MB as RGB."""
MAX_FILE_BYTES = 200 << 20
"""Largest image file that is opened."""
MIN_SIDE = 16
"""Smallest side of a photograph in pixels: below it there is nothing to detect."""

# How many millimetres one unit of FocalPlaneResolutionUnit is (EXIF 2.3; 4 and 5 are TIFF/EP's).
_RESOLUTION_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}
# EXIF's orientation -> what turns the stored picture upright; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (5, 6, 7, 8)
"""Orientations in which width and height are stored the other way round."""

T = TypeVar("T")


@dataclass(frozen=True)
class ExifFocal:
    """What the EXIF says of the focal length; None where it says nothing usable."""

    focal_35mm: float | None = None
    """35 mm-equivalent focal length, millimetres (tag FocalLengthIn35mmFilm)."""
    focal_px: float | None = None
    """Focal length in pixels of the decoded image, from FocalLength and the sensor's resolution tags."""
    model: str = ""
    """Camera model, for the notes."""


@dataclass(frozen=True)
class LoadedImage:
    """A decoded photograph, the right way up."""

    rgb: ByteArray
    """(H, W, 3) uint8."""
    exif: ExifFocal = ExifFocal()
    """Lens data from the file; empty for arrays."""
    name: str = "image"
    """What to call it in messages."""

    def __post_init__(self) -> None:
        rgb = as_image(self.rgb, self.name)
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise InputError(
                f"{self.name} has {width} x {height} pixels: give a photograph of at least {MIN_SIDE} a side"
            )
        if height * width > MAX_PIXELS:
            raise InputError(_too_many(self.name, width, height))
        object.__setattr__(self, "rgb", rgb)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.rgb.shape[0])


def read_image(source: str | Path | LoadedImage | Any) -> LoadedImage:
    """Read an image file, or wrap an array.

    The EXIF orientation is applied. Greyscale, palette, 16-bit and CMYK files become RGB; what is transparent is
    laid over white.

    Args:
        source: path of an image file, a uint8 array (H, W), (H, W, 3) or (H, W, 4), a PIL image, or a
            :class:`LoadedImage`, which is returned as it is.

    Raises:
        InputError: the file is missing, too large (in bytes or pixels), too small, or not an image.
    """
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), _from_pil)
    if isinstance(source, Image.Image):
        return _from_pil(source, "image")
    return LoadedImage(as_image(source, "image"))


def read_opacity(path: str | Path) -> ByteArray | None:
    """(H, W) how opaque each pixel of a picture is, 0 to 255, the right way up; None where the file keeps none.

    Raises:
        InputError: as of :func:`read_image`.
    """
    return _read_file(Path(path), _opacity)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of a picture, 1 to 8; 1, upright, where it says nothing that can be used."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises many kinds on a damaged EXIF block
        return 1
    return int(value) if value in _TURNS else 1


def _read_file(path: Path, decode: Callable[[Image.Image, str], T]) -> T:
    if not path.is_file():
        raise InputError(f"the image {path} does not exist: give the path of a photograph")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"the image {path} is empty (0 bytes)")
    if size > MAX_FILE_BYTES:
        raise InputError(f"the image {path} has {size >> 20} MB, more than the limit of {MAX_FILE_BYTES >> 20} MB")
    try:
        with warnings.catch_warnings():
            # Our own limit, looked at in the header, is higher than the size at which Pillow warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return decode(image, str(path))
    except Image.DecompressionBombError as err:
        raise InputError(f"the image {path} unpacks to too many pixels ({err}): shrink it first") from err
    except UnidentifiedImageError as err:
        raise InputError(f"{path} is not an image that can be read: give a JPEG or PNG") from err
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as err:  # Pillow's ways of saying "damaged"
        if isinstance(err, InputError):
            raise
        raise InputError(f"the image {path} is damaged or cut short ({err}): save it again as JPEG or PNG") from err


def _from_pil(image: Image.Image, name: str) -> LoadedImage:
    _check_size(image, name)
    exif = _read_exif(image)
    return LoadedImage(np.asarray(_to_rgb(_upright(image))), exif, name)


def _opacity(image: Image.Image, name: str) -> ByteArray | None:
    _check_size(image, name)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return None
    return np.array(_upright(image).convert("RGBA").getchannel("A"), dtype=np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose writes the EXIF anew, which fails on a damaged block that nobody needs.
    turn = _TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:  # known from the header, before any pixel is decoded
        raise InputError(_too_many(name, width, height))
    if width < 1 or height < 1:
        raise InputError(f"{name} has {width} x {height} pixels: there is nothing in it")


def _too_many(name: str, width: int, height: int) -> str:
    limit = MAX_PIXELS // 1_000_000
    return f"{name} has {width} x {height} pixels, more than the limit of {limit} megapixels: shrink it first"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit and float are scaled to 8 bits, transparency is laid over white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float64)
        highest = values.max(initial=0)
        # Floats are kept from 0 to 1 as a rule; whole numbers of at most 1 are labels, for masks to read.
        top = 65535.0 if highest > 255 else 1.0 if image.mode == "F" and highest <= 1 else 255.0
        return Image.fromarray(np.clip(values / top * 255, 0, 255).round().astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _read_exif(image: Image.Image) -> ExifFocal:
    """Lens data; anything odd in the EXIF counts as not there (a photograph is not refused for its EXIF)."""
    try:
        exif = image.getexif()
        ifd = exif.get_ifd(ExifTags.IFD.Exif)
        model = str(exif.get(ExifTags.Base.Model, "")).strip("\x00 ")[:64]
    except Exception:  # Pillow raises many kinds on a damaged EXIF block
        return ExifFocal()
    focal_35mm = _positive(ifd.get(ExifTags.Base.FocalLengthIn35mmFilm), 1, 5000)
    return ExifFocal(focal_35mm, _focal_from_sensor(ifd, image.size), model)


def _focal_from_sensor(ifd: Any, size: tuple[int, int]) -> float | None:
    """Focal length in pixels = FocalLength [mm] x pixels per mm on the sensor, brought to the decoded size."""
    focal_mm = _positive(ifd.get(ExifTags.Base.FocalLength), 0.1, 5000)
    resolution = _positive(ifd.get(ExifTags.Base.FocalPlaneXResolution), 1e-3, 1e9)
    named_unit = _positive(ifd.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), 2, 5)  # inches if not said
    unit = None if named_unit is None else _RESOLUTION_UNIT_MM.get(int(named_unit))
    if focal_mm is None or resolution is None or unit is None:
        return None
    width_at_exposure = _positive(ifd.get(ExifTags.Base.ExifImageWidth), 1, 1e6) or size[0]
    focal_px = focal_mm * resolution / unit * size[0] / width_at_exposure
    diagonal = float(np.hypot(*size))
    return focal_px if 0.2 * diagonal < focal_px < 50 * diagonal else None


def _positive(value: Any, low: float, high: float) -> float | None:
    """A number within limits, or None; EXIF rationals may be 0/0, text or missing."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if np.isfinite(number) and low <= number <= high else None
