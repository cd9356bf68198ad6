"""Image files of every mode and every kind of damage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoirecon.errors import InputError
from hoirecon.images import MAX_PIXELS, LoadedImage, read_image

GRADIENT = np.stack(np.meshgrid(np.arange(40) * 6, np.arange(30) * 8), -1).astype(np.uint8)
RGB = np.dstack([GRADIENT, np.full((30, 40), 77, np.uint8)])


def test_png_is_read_exactly(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # what a camera stores so that a viewer that obeys the tag shows RGB: the inverse of the tag's meaning
    stored = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, 1),
        7: np.rot90(RGB, 2).transpose(1, 0, 2),
        8: np.rot90(RGB, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, RGB)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, np.repeat(RGB[..., :1], 3, axis=2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    deep = RGB[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").rgb[..., 0], RGB[..., 0])


def test_floats_from_0_to_1_are_not_black(tmp_path: Path) -> None:
    Image.fromarray(RGB[..., 0].astype(np.float32) / 255).save(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif").rgb[..., 0], RGB[..., 0])


def test_transparent_parts_lie_over_white(tmp_path: Path) -> None:
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, 20:] = 255
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    rgb = read_image(tmp_path / "a.png").rgb
    assert (rgb[:, :20] == 255).all()
    assert np.array_equal(rgb[:, 20:], RGB[:, 20:])


@pytest.mark.parametrize("mode", ["CMYK", "P", "1", "YCbCr", "LAB"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr", "LAB") else "a.png")
    image = Image.new("LAB", (40, 30)) if mode == "LAB" else Image.fromarray(RGB).convert(mode)
    image.save(path)
    loaded = read_image(path)
    assert loaded.rgb.shape == (30, 40, 3)
    assert loaded.rgb.dtype == np.uint8


def test_arrays_and_pil_images_are_taken() -> None:
    assert np.array_equal(read_image(RGB).rgb, RGB)
    assert np.array_equal(read_image(Image.fromarray(RGB)).rgb, RGB)
    loaded = LoadedImage(RGB)
    assert read_image(loaded) is loaded


def _png_with_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 20_000, 60_000])
def test_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(_png_with_size(side, side))
    with pytest.raises(InputError, match="shrink it first"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.slow
def test_a_hundred_megapixel_file_is_read(tmp_path: Path) -> None:
    """Pillow warns of such sizes; cameras take them."""
    Image.new("1", (10_000, 10_000), 1).save(tmp_path / "large.png")
    assert read_image(tmp_path / "large.png").rgb.shape == (10_000, 10_000, 3)


def _jpeg(tmp_path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(tmp_path / "whole.jpg")
    return (tmp_path / "whole.jpg").read_bytes()


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "folder", "header", "tiny", "svg"])
def test_hostile_files_end_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "tiny":
        Image.fromarray(RGB[:8, :8]).save(path)
    elif kind != "missing":
        content = {
            "empty": b"",
            "text": b"hello",
            "cut": _jpeg(tmp_path)[:3000],
            "header": _png_with_size(0, 10),
            "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        }
        path.write_bytes(content[kind])
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(_jpeg(tmp_path))
    for at in rng.integers(0, min(len(content), 700 if seed % 2 else len(content)), 20):
        content[at] = int(rng.integers(256))
    (tmp_path / "a.jpg").write_bytes(bytes(content))
    try:
        assert read_image(tmp_path / "a.jpg").rgb.ndim == 3
    except InputError as err:
        assert "\n" not in str(err)  # noqa: PT017  (either outcome is right; the point is that nothing else is raised)


def test_a_damaged_exif_never_refuses_a_photograph(tmp_path: Path) -> None:
    """A block that Pillow can read but not write anew, which nobody needs: its first tag is another one."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "camera"
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    named = b"\x01\x10\x00\x02"  # the model, a text
    assert content.count(named) == 1
    (tmp_path / "a.jpg").write_bytes(content.replace(named, b"\x01\x00\x00\x02"))
    assert read_image(tmp_path / "a.jpg").rgb.shape == (40, 30, 3)  # lying, as the tag beside it says


def test_wrong_arrays_are_refused() -> None:
    for bad in (RGB.astype(np.float64), RGB[..., :2], np.zeros((0, 0, 3), np.uint8), "no such file.jpg", None):
        with pytest.raises(InputError):
            read_image(bad)
