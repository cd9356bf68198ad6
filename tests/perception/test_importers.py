"""Masks and OSX results from files, whole and hostile."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.errors import InputError
from hoirecon.perception import importers
from hoirecon.perception.importers import OSX_FOCAL, read_arrays, read_mask, read_osx

MASK = np.zeros((30, 40), dtype=bool)
MASK[5:20, 10:30] = True


@pytest.mark.parametrize("value", [MASK, MASK.astype(np.uint8), MASK.astype(np.uint8) * 255, MASK[None], MASK * 0.9])
def test_masks_from_arrays(tmp_path: Path, value: Any) -> None:
    np.savez(tmp_path / "a.npz", mask=value, other=np.zeros(3))
    np.save(tmp_path / "a.npy", value)
    assert np.array_equal(read_mask(tmp_path / "a.npz", (30, 40)), MASK)
    assert np.array_equal(read_mask(tmp_path / "a.npy"), MASK)


@pytest.mark.parametrize("name", ["mask.png", "mask.npz"])
def test_a_mask_file_that_is_missing_is_called_a_mask(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"the mask .*{name} does not exist"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_masks_from_pictures(tmp_path: Path, mode: str) -> None:
    Image.fromarray(MASK.astype(np.uint8) * 255).convert(mode).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), MASK)


@pytest.mark.parametrize("drawn", [255, 40, 0])
def test_a_cut_outs_opaque_pixels_are_the_mask(tmp_path: Path, drawn: int) -> None:
    """What is transparent is not laid over white, which would make a mask of the whole picture."""
    opaque = MASK.astype(np.uint8) * 255
    picture = np.dstack([np.where(MASK, drawn, 0).astype(np.uint8)] * 3 + [opaque])
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), MASK)
    labels = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    labels.putpalette([0, 0, 0, drawn, 0, 0])
    labels.save(tmp_path / "b.png", transparency=0)
    assert np.array_equal(read_mask(tmp_path / "b.png"), MASK)


def test_a_picture_that_is_opaque_everywhere_counts_by_brightness(tmp_path: Path) -> None:
    picture = np.dstack([MASK.astype(np.uint8) * 255] * 3 + [np.full(MASK.shape, 255, np.uint8)])
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), MASK)


def test_another_size_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MASK)
    with pytest.raises(InputError, match="40 x 30 pixels, the photograph 80 x 60"):
        read_mask(tmp_path / "a.npy", (60, 80))


def test_the_array_must_be_named_if_there_are_several(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=MASK, second=~MASK)
    with pytest.raises(InputError, match="first, second"):
        read_mask(tmp_path / "a.npz")
    assert np.array_equal(read_mask(tmp_path / "a.npz", key="second"), ~MASK)


def _osx_file(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "smpl_vertices": rng.normal([0, 0, 30], 0.3, (1, 10475, 3)),
        "smpl_faces": rng.integers(0, 10475, (20908, 3)),
        "bbox_2": np.array([100.0, 50, 96, 128]),
        **changes,
    }
    np.savez(path, **{k: v for k, v in values.items() if v is not None})
    return path


def test_osx_camera_is_that_of_the_crop(tmp_path: Path) -> None:
    body = read_osx(_osx_file(tmp_path / "osx_human2.npz"), 640, 480)
    assert body.verts_cam.shape == (10475, 3)
    assert body.faces is not None
    assert body.camera.focal == (OSX_FOCAL / 2, OSX_FOCAL / 2)  # the box is half of the network's input
    assert body.camera.centre == (148, 114)
    assert (body.camera.width, body.camera.height) == (640, 480)
    # a point on the axis is seen in the box's middle; one at the network's left border at the box's left border
    assert np.allclose(body.camera.project([0, 0, 40]), [148, 114])
    assert np.allclose(body.camera.project([-96 / OSX_FOCAL * 40, -128 / OSX_FOCAL * 40, 40]), [100, 50])


def test_osx_of_pico_has_no_faces_and_another_box_name(tmp_path: Path) -> None:
    path = _osx_file(tmp_path / "a.npz", smpl_faces=None, bbox_2=None, bbox=np.array([[100.0, 50, 96, 128]]))
    body = read_osx(path, 640, 480)
    assert body.faces is None
    assert body.box == (100, 50, 96, 128)


@pytest.mark.parametrize(
    "changes",
    [
        {"smpl_vertices": None},
        {"smpl_vertices": np.zeros((6890, 3))},
        {"smpl_vertices": np.full((10475, 3), np.nan)},
        {"bbox_2": None},
        {"bbox_2": np.zeros(4)},
        {"bbox_2": np.zeros(3)},
        {"smpl_faces": np.full((3, 3), 10475)},
        {"smpl_faces": np.zeros((3, 4))},
        {"bbox_2": np.array([{"a": 1}], dtype=object)},
    ],
)
def test_bad_osx_files_end_in_one_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        read_osx(_osx_file(tmp_path / "a.npz", **changes), 640, 480)
    assert "\n" not in str(caught.value)


class Boom:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was executed')",)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Boom()], dtype=object))
    np.savez(tmp_path / "a.npz", mask=np.array([Boom()], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match="plain npy/npz"):
            read_arrays(tmp_path / name)


def _header(shape: str) -> bytes:
    text = ("{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + ", }").ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def test_bombs_and_damage_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "MAX_ARRAY_BYTES", 4 << 20)
    (tmp_path / "huge.npy").write_bytes(_header("(1000000, 1000000)"))
    with zipfile.ZipFile(tmp_path / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mask.npy", _header("(700, 1000)") + bytes(700_000 * 8))
    with zipfile.ZipFile(tmp_path / "lies.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mask.npy", _header("(1000000, 100000000)"))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    whole = io.BytesIO()
    np.savez(whole, mask=MASK)
    (tmp_path / "cut.npz").write_bytes(whole.getvalue()[:-40])
    for name in ("huge.npy", "zeros.npz", "lies.npz", "text.npz", "empty.npy", "cut.npz", "missing.npz"):
        with pytest.raises(InputError) as caught:
            read_mask(tmp_path / name)
        assert "\n" not in str(caught.value), name
