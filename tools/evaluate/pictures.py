"""Pictures of results side by side, as PNG files and the Markdown table that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterfuse.plugin.engine.picture import colours, middle, write_png
from tasks import Answer, table

_SIDE = 192  # pixels of the middle that are shown
_ACROSS = 4
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
        write_png(path, colours((middle(image[-3:], _SIDE)[::-1] - low) / (high - low)))
        cells.append((label, f"![{label}]({images.name}/{path.name})"))
    lines: list[list[str]] = []
    for first in range(0, len(cells), _ACROSS):
        part = cells[first : first + _ACROSS]
        part += [("", "")] * (_ACROSS - len(part))
        lines += [[label for label, _ in part], [picture for _, picture in part]]
    return table([""] * _ACROSS, lines)
