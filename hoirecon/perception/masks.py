"""Mend masks: small holes, stray pieces, and the soft outline of a person brought to the photograph's edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray


def components(mask: BoolArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Pieces (8-connected) numbered from 1 in an image (H, W), and their areas in pixels, index 0 being the outside."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return labels, stats[:, cv2.CC_STAT_AREA].astype(np.int64)


def bounds(mask: BoolArray) -> tuple[int, int, int, int] | None:
    """First column, first row, one past the last column and row of the true pixels; None if there are none.

    Example:
        >>> bounds(np.array([[False, True], [False, True]]))
        (1, 0, 2, 2)
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


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

    refined = np.zeros(probability.shape, dtype=bool)
    found = bounds(probability > 0.5)
    if found is None:
        return refined
    x0, y0, x1, y1 = found
    reach = max(2.0, band * max(x1 - x0, y1 - y0) / MASK_CELLS)
    margin = int(4 * reach) + 1
    window = slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin)
    part = np.asarray(probability[window], dtype=np.float32)
    scale = min(1.0, work_side / max(part.shape))
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    work = cv2.resize(np.ascontiguousarray(image[window]), size, interpolation=cv2.INTER_AREA)
    small = drop_strays(cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 0.5, 0.03)
    cut = drop_strays(_cut_in_band(work, small, max(1, round(reach * scale))), 0.03)
    cut = fill_holes(cut, max(4, int(1e-3 * cut.sum())))
    refined[window] = cv2.resize(cut.astype(np.float32), part.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return refined


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
