"""Mend masks: small holes, stray pieces, and the soft outline of a person brought to the photograph's edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.observation import box_of_mask


def components(mask: BoolArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Pieces (8-connected) numbered from 1 in an image (H, W), and their areas in pixels, index 0 being the outside."""
    import cv2

    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return labels, np.bincount(labels.ravel(), minlength=count).astype(np.int64)


def largest_component(mask: BoolArray) -> BoolArray:
    """The largest piece alone; all false if there is none.

    Example:
        >>> largest_component(np.array([[True, False, True, True]])).tolist()
        [[False, False, True, True]]
    """
    labels, areas = components(mask)
    if len(areas) < 2:
        return np.zeros(mask.shape, dtype=bool)
    piece: BoolArray = labels == 1 + int(np.argmax(areas[1:]))
    return piece


def drop_strays(mask: BoolArray, part: float, keep: BoolArray | None = None) -> BoolArray:
    """Drop pieces smaller than ``part`` of the mask; with ``keep``, exactly the pieces that touch it stay."""
    labels, areas = components(mask)
    if len(areas) < 2:
        return mask
    stays = areas >= part * areas[1:].sum()
    if keep is not None and (keep & mask).any():
        stays = np.isin(np.arange(len(areas)), labels[keep & mask])
    stays[0] = False
    kept: BoolArray = stays[labels]
    return kept


def fill_holes(mask: BoolArray, max_area: int) -> BoolArray:
    """Fill holes (4-connected pieces of the outside that do not touch the border) of at most ``max_area`` pixels."""
    import cv2

    count, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    areas = np.bincount(labels.ravel(), minlength=count)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    small = areas <= max_area
    small[border] = False
    small[0] = False
    filled: BoolArray = mask | small[labels]
    return filled


MASK_CELLS = 256
"""A detector's mask has about so many cells along the person: below one cell its outline is a guess."""


def refine_person_mask(
    image: ByteArray,
    probability: npt.NDArray[np.floating],
    *,
    band: float = 4.0,
    work_side: int = 800,
) -> BoolArray:
    """Bring the soft outline of a person's mask to the photograph's edges by GrabCut in a band about it.

    What lies deeper than the band inside the outline stays the person, what lies farther outside stays background, so
    the worst that can happen is an outline wrong by the band. Specks are dropped and small holes filled.

    Args:
        image: (H, W, 3) RGB.
        probability: (H, W) in [0, 1]; cut at one half.
        band: half width of the band in cells of the detector's mask (the person's longer side / 256).
        work_side: longest side of the image that is worked on, pixels; bounds the time.

    Returns:
        (H, W) mask; all false if no probability is over one half.
    """
    import cv2

    mask = drop_strays(probability > 0.5, 0.03)
    if not mask.any():
        return mask
    x, y, w, h = (int(v) for v in box_of_mask(mask))
    reach = max(2.0, band * max(w, h) / MASK_CELLS)
    margin = int(4 * reach) + 1
    rows = slice(max(0, y - margin), min(mask.shape[0], y + h + margin))
    cols = slice(max(0, x - margin), min(mask.shape[1], x + w + margin))
    part = mask[rows, cols]
    scale = min(1.0, work_side / max(part.shape))
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    work = cv2.resize(np.ascontiguousarray(image[rows, cols]), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    cut = _cut_in_band(work, small, max(1, round(reach * scale)))
    back = cv2.resize(cut.astype(np.float32), part.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    refined = np.zeros(mask.shape, dtype=bool)
    refined[rows, cols] = back
    return fill_holes(drop_strays(refined, 0.03), max(4, int(1e-3 * refined.sum())))


def _cut_in_band(image: ByteArray, mask: BoolArray, reach: int) -> BoolArray:
    """GrabCut where the outline of the mask is at most ``reach`` pixels away; the mask elsewhere."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inside = cv2.erode(mask.astype(np.uint8), kernel, borderValue=1) > 0
    outside = cv2.dilate(mask.astype(np.uint8), kernel, borderValue=0) == 0
    if not inside.any() or not outside.any():
        return mask
    labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inside] = cv2.GC_FGD
    labels[outside] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its k-means starts at random
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    cut: BoolArray = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return cut
