"""The search window as the user set it; the fast mode says that it is on."""

from __future__ import annotations

from ..base import FusionModel
from ..kernels.window import Window, search_window


def chosen_window(model: FusionModel) -> Window:
    """The window of the parameters ``window`` and ``fast_mode``, with a note for the report."""
    radius, sparse = model.parameters["window"] // 2, model.parameters["fast_mode"]
    window = search_window(radius, sparse)
    if sparse:
        model.notes.append(
            f"Fast mode: {len(window.places)} of {(2 * radius + 1) ** 2} pixels of the search "
            "window were looked at."
        )
    return window
