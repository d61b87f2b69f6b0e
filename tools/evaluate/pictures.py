"""Pictures of results side by side, as PNG files and the Markdown table that shows them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from tasks import Answer, table

_SIDE = 192  # pixels of the middle that are shown
_ACROSS = 4
_GREY = 128  # nodata
_MODES = (", fast mode",)


def gallery(
    name: str, inputs: dict[str, np.ndarray], truth: np.ndarray, found: list[Answer], images: Path
) -> str:
    """Write pictures of inputs, truth and results; the table that shows them.

    Args:
        name: How the files' names begin.
        inputs: (bands, rows, cols) by label; the last three bands are shown, the last in red.
        truth: Likewise; its range of values is that of all pictures.
        found: The results; fast modes are left out.
        images: Folder of the pictures, a neighbour of the page.
    """
    images.mkdir(parents=True, exist_ok=True)
    low, high = (
        np.nanpercentile(truth[-3:], share, axis=(1, 2))[::-1, None, None] for share in (2, 98)
    )
    shown = {**inputs, "Truth": truth}
    shown.update(
        (f"{answer.name} ({answer.error:.1f})", answer.image)
        for answer in found
        if not answer.name.endswith(_MODES)
    )
    cells = []
    for number, (label, image) in enumerate(shown.items()):
        path = images / f"{name}-{number:02}.png"
        _write(path, (_middle(image[-3:])[::-1] - low) / (high - low))
        cells.append((label, f"![{label}]({images.name}/{path.name})"))
    lines: list[list[str]] = []
    for first in range(0, len(cells), _ACROSS):
        part = cells[first : first + _ACROSS]
        part += [("", "")] * (_ACROSS - len(part))
        lines += [[label for label, _ in part], [picture for _, picture in part]]
    return table([""] * _ACROSS, lines)


def _middle(image: np.ndarray) -> np.ndarray:
    rows, cols = (max((size - _SIDE) // 2, 0) for size in image.shape[1:])
    return image[:, rows : rows + _SIDE, cols : cols + _SIDE]


def _write(path: Path, shares: np.ndarray) -> None:
    """Write (3, rows, cols) of 0 to 1 as a PNG."""
    grey = np.where(np.isfinite(shares), shares.clip(0, 1) * 255, _GREY).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="PNG", width=grey.shape[2], height=grey.shape[1], count=3,
            dtype="uint8",
        ) as picture:  # fmt: skip
            picture.write(grey)
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
