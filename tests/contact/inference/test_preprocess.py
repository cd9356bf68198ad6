"""Pictures for the towers equal those of the published preprocessing; persons are cut out whole; hostile pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from hoirecon.contact.inference import preprocess
from hoirecon.contact.inference.preprocess import (
    CLIP_GREY,
    CLIP_MEAN,
    CLIP_STD,
    Window,
    clip_pixels,
    person_window,
    resized_shape,
    sam_pixels,
    select_person,
)
from hoirecon.errors import InputError
from hoirecon.images import read_image

SHAPES = [(224, 224), (100, 37), (37, 100), (333, 500), (225, 224), (16, 400), (1, 1), (4, 90), (301, 299)]


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise over a ramp: edges and flat parts."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 55, height)[:, None, None]
    return np.clip(ramp + rng.integers(-60, 60, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [224, 32, 33])
def test_clip_equals_the_published_processor(shape: tuple[int, int], size: int) -> None:
    pytest.importorskip("transformers")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = picture(*shape)
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    theirs = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    ours = clip_pixels(image, size)
    assert ours.shape == theirs.shape == (3, size, size)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_clip_sees_the_middle_only() -> None:
    image = picture(40, 120)
    changed = image.copy()
    changed[:, :30] = 0
    changed[:, 90:] = 255
    np.testing.assert_array_equal(clip_pixels(image, 40), clip_pixels(changed, 40))
    back = clip_pixels(image, 40) * np.array(CLIP_STD)[:, None, None] + np.array(CLIP_MEAN)[:, None, None]
    np.testing.assert_allclose(back.transpose(1, 2, 0) * 255, image[:, 40:80], atol=1e-3)


@pytest.mark.parametrize("shape", [(50, 1700), (1700, 50), (333, 500), (16, 9000), (9000, 21)])
def test_only_the_needed_part_of_a_long_picture_is_resized(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(*shape)
    whole = clip_pixels(image, 64)
    monkeypatch.setattr(preprocess, "_MAX_RESIZED", 0)
    np.testing.assert_allclose(clip_pixels(image, 64), whole, atol=1.01 / 255 / min(CLIP_STD))


def test_a_strip_of_many_pixels_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resized whole it would have 224 x 14,000,000 pixels."""
    image = np.zeros((16, 1_000_000, 3), np.uint8)
    image[:, 500_000:] = 255
    seen = clip_pixels(image)
    assert seen.shape == (3, 224, 224)
    assert seen[0, 0, 0] < 0 < seen[0, 0, -1]


@pytest.mark.parametrize("shape", [*SHAPES, (1024, 1024), (6, 1024), (700, 1024)])
@pytest.mark.parametrize("size", [96, 1024])
def test_sam_equals_the_published_resize(shape: tuple[int, int], size: int) -> None:
    transforms = pytest.importorskip("segment_anything.utils.transforms")
    image = picture(*shape)
    theirs = transforms.ResizeLongestSide(size).apply_image(image)
    ours = sam_pixels(image, size)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs.transpose(2, 0, 1))
    assert ours.shape[1:] == resized_shape(*shape, size)
    assert max(ours.shape) == size


def test_sam_keeps_pictures_of_its_size() -> None:
    image = picture(96, 60)
    np.testing.assert_array_equal(sam_pixels(image, 96), image.transpose(2, 0, 1))
    assert sam_pixels(np.zeros((1, 5000, 3), np.uint8), 64).shape == (3, 1, 64)  # theirs would have no row at all


def _saved(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> str:
    image.save(folder / name, **options)
    return str(folder / name)


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    grey = picture(30, 50)[..., 0]
    rgb = np.repeat(grey[..., None], 3, axis=2)
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    clear = Image.fromarray(np.dstack([rgb, np.full(grey.shape, 255, np.uint8)]))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(rgb)))
    paths = {
        "greyscale": _saved(tmp_path, Image.fromarray(grey), "grey.png"),
        "16 bit": _saved(tmp_path, wide, "wide.png"),
        "RGBA": _saved(tmp_path, clear, "clear.png"),
        "EXIF": _saved(tmp_path, turned, "turned.png", exif=exif.tobytes()),
    }
    for kind, path in paths.items():
        read = read_image(path).rgb
        np.testing.assert_array_equal(clip_pixels(read, 32), clip_pixels(rgb, 32), err_msg=kind)
        np.testing.assert_array_equal(sam_pixels(read, 64), sam_pixels(rgb, 64), err_msg=kind)


def test_pictures_that_are_refused(tmp_path: Path) -> None:
    for shape in ((1, 1), (1, 5000)):
        path = _saved(tmp_path, Image.new("RGB", shape[::-1]))
        with pytest.raises(InputError, match="at least 16 a side"):
            read_image(path)
    for bad in (np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), "text", None):
        for prepare in (clip_pixels, sam_pixels, select_person):
            with pytest.raises(InputError, match="image"):
                prepare(bad)


def test_no_person_selected_is_the_picture_itself() -> None:
    image = picture(20, 30)
    np.testing.assert_array_equal(select_person(image), image)


@pytest.mark.parametrize("seed", range(30))
def test_the_person_is_in_the_square_and_where_the_window_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 90, 2)
    image = picture(height, width, seed)
    x, y = rng.uniform(0, width - 2), rng.uniform(0, height - 2)
    box = (x, y, rng.uniform(1, width - x), rng.uniform(1, height - y))
    cut = select_person(image, box, margin=0.2)
    window = person_window((height, width), box, 0.2)
    assert cut.shape == (window.side, window.side, 3)
    assert window.side <= max(height, width)
    rows, cols = np.arange(height), np.arange(width)
    inside_rows = (rows >= window.y) & (rows < window.y + window.side)
    inside_cols = (cols >= window.x) & (cols < window.x + window.side)
    assert inside_rows[int(y) : int(np.ceil(y + box[3]))].all()  # nothing of the person is cut away
    assert inside_cols[int(x) : int(np.ceil(x + box[2]))].all()
    for row in rows[inside_rows][::5]:
        for col in cols[inside_cols][::5]:
            np.testing.assert_array_equal(cut[row - window.y, col - window.x], image[row, col])
    pasted = window.paste(cut.transpose(2, 0, 1).astype(float), (height, width), fill=-1)
    where = np.ix_(inside_rows, inside_cols)
    np.testing.assert_array_equal(pasted.transpose(1, 2, 0)[where], image[where])
    assert (pasted == -1).sum() == 3 * (height * width - inside_rows.sum() * inside_cols.sum())


def test_beyond_the_picture_is_grey() -> None:
    window = person_window((10, 40), (15, 2, 10, 8), margin=0.5)
    assert window == Window(10, -5, 20)
    cut = window.cut(picture(10, 40))
    assert (cut[:5] == CLIP_GREY).all()
    assert (cut[15:] == CLIP_GREY).all()
    assert np.abs(clip_pixels(cut, 20)[:, :4]).max() < 0.01  # grey is what CLIP hardly sees


def test_a_mask_greys_everything_else() -> None:
    image = picture(30, 40)
    mask = np.zeros((30, 40), bool)
    mask[10:20, 5:9] = True
    cut = select_person(image, mask=mask, margin=0)
    window = person_window((30, 40), (5, 10, 4, 10), margin=0)
    inside = mask[window.y : window.y + window.side, window.x : window.x + window.side]
    np.testing.assert_array_equal(cut[inside], image[mask])
    assert (cut[~inside] == CLIP_GREY).all()
    np.testing.assert_array_equal(cut, select_person(image, mask=mask.astype(np.uint8) * 255, margin=0))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 0, 5), "positive width"),
        ((0, 0, -3, 5), "positive width"),
        ((0, 0, float("nan"), 5), "positive width"),
        ((40, 0, 5, 5), "outside the picture of 40 x 30"),
        ((-9, 0, 5, 5), "outside the picture"),
        ((0, 0, 5), "must be x, y, width, height"),
        ("person", "must be x, y, width, height"),
        (7, "must be x, y, width, height"),
    ],
)
def test_boxes_that_are_refused(box: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_person(picture(30, 40), box)


def test_masks_and_margins_that_are_refused() -> None:
    image = picture(30, 40)
    with pytest.raises(InputError, match="40 x 30"):
        select_person(image, mask=np.ones((40, 30), bool))
    with pytest.raises(InputError, match="mask is empty"):
        select_person(image, mask=np.zeros((30, 40), bool))
    for margin in (-0.1, 11, float("nan")):
        with pytest.raises(InputError, match="margin"):
            select_person(image, (0, 0, 5, 5), margin=margin)
    with pytest.raises(InputError, match="do not belong"):
        Window(0, 0, 5).paste(np.zeros((4, 4)), (30, 40))
