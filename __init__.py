"""RasterFuse: fuse coarse and fine raster images in QGIS.

Only light imports here: QGIS, the tests and the worker process all load this file. The names for
the Python console (``from rasterfuse import fuse``) are looked up when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

# Where each name for the Python console lives, below ``plugin``.
SCRIPTING = {
    "fuse": "scripting",
    "fuse_async": "scripting",
    "methods": "scripting",
    "train": "scripting_models",
    "train_async": "scripting_models",
    "import_model": "scripting_models",
    "export_model": "scripting_models",
    "remove_model": "scripting_models",
}


def classFactory(iface: Any) -> Any:  # noqa: N802 (QGIS calls it by this name)
    """Give QGIS the plugin object."""
    from .plugin.main import RasterFusePlugin

    return RasterFusePlugin(iface)


def __getattr__(name: str) -> Any:
    if name in SCRIPTING:
        module = importlib.import_module(f"{__name__}.plugin.{SCRIPTING[name]}")
        return getattr(module, name)
    raise AttributeError(f"rasterfuse has no {name!r}. It offers {', '.join(SCRIPTING)}.")
