"""The camera: given before EXIF before default, and EXIF against the formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.images import ExifFocal, LoadedImage, read_image
from hoirecon.perception.cameras import camera_for

GREY = np.full((300, 400, 3), 128, np.uint8)

FOCAL, FOCAL_35, X_RES, UNIT, X_DIM = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002


def _photo(tmp_path: Path, tags: dict[int, Any], orientation: int = 1) -> LoadedImage:
    exif = Image.Exif()
    exif[0x0110] = "Testcam 1"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update(tags)
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=exif)
    return read_image(tmp_path / "a.jpg")


def test_default_is_said_to_be_a_default() -> None:
    camera, note = camera_for(LoadedImage(GREY))
    assert camera.source == "default"
    assert np.allclose(camera.K, Camera.default(400, 300).K)
    assert "assumed" in note


def test_35mm_equivalent_from_exif(tmp_path: Path) -> None:
    image = _photo(tmp_path, {FOCAL_35: 26})
    camera, note = camera_for(image)
    # equal diagonal angle of view: f / 500 px = 26 mm / 43.27 mm
    assert camera.focal[0] == pytest.approx(26 * 500 / np.hypot(36, 24))
    assert camera.source == "exif"
    assert "Testcam 1" in note


def test_focal_length_and_sensor_resolution(tmp_path: Path) -> None:
    # 35 mm lens, sensor 24 mm wide, 6000 px at exposure, file shrunk to 400 px: f = 35 / 24 * 400
    tags = {FOCAL: IFDRational(35, 1), X_RES: IFDRational(600000, 240), UNIT: 3, X_DIM: 6000}
    image = _photo(tmp_path, tags)
    assert camera_for(image)[0].focal[0] == pytest.approx(35 / 24 * 400, rel=1e-6)


def test_focal_length_survives_turning(tmp_path: Path) -> None:
    tags = {FOCAL: IFDRational(35, 1), X_RES: IFDRational(600000, 240), UNIT: 3, X_DIM: 6000}
    image = _photo(tmp_path, tags, orientation=6)
    assert (image.width, image.height) == (300, 400)
    assert camera_for(image)[0].focal[0] == pytest.approx(35 / 24 * 400, rel=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {FOCAL: IFDRational(35, 1)},
        {FOCAL_35: 0},
        {FOCAL_35: 65535},
        {FOCAL: IFDRational(0, 0), X_RES: IFDRational(1, 0), UNIT: 2},
        {FOCAL: IFDRational(35, 1), X_RES: IFDRational(1, 1), UNIT: 2, X_DIM: 400},
        {FOCAL: IFDRational(35, 1), X_RES: IFDRational(2500, 1), UNIT: 9, X_DIM: 6000},
    ],
)
def test_useless_exif_counts_as_none(tmp_path: Path, tags: dict[int, Any]) -> None:
    assert camera_for(_photo(tmp_path, tags))[0].source == "default"


def test_given_wins_over_exif() -> None:
    image = LoadedImage(GREY, ExifFocal(focal_35mm=26))
    K = np.array([[500.0, 0, 190], [0, 510, 160], [0, 0, 1]])
    assert np.array_equal(camera_for(image, K=K)[0].K, K)
    assert camera_for(image, focal_px=700)[0].focal == (700, 700)
    assert camera_for(image, focal_35mm=50)[0].focal[0] == pytest.approx(50 * 500 / np.hypot(36, 24))
    assert camera_for(image, focal_px=700)[0].source == "given"


def test_two_cameras_are_refused() -> None:
    with pytest.raises(InputError, match="given twice"):
        camera_for(LoadedImage(GREY), focal_px=700, focal_35mm=50)
    with pytest.raises(InputError, match="positive"):
        camera_for(LoadedImage(GREY), focal_px=-1)


@pytest.mark.parametrize("focal", ["500", -5, np.nan, [500, 500], "long"])
def test_a_focal_length_that_is_no_number_is_told(focal: Any) -> None:
    for name, unit in (("focal_px", "pixels"), ("focal_35mm", "millimetres")):
        with pytest.raises(InputError, match=f"the focal length must be a positive number of {unit}.* got "):
            camera_for(LoadedImage(GREY), **{name: focal})
