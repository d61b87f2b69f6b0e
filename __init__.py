"""RasterFuse: fuse coarse and fine raster images in QGIS.

Only light imports here: QGIS, the tests and the worker process all load this file. The names for
the Python console (``from rasterfuse import fuse``) are looked up when they are first used.
"""

from __future__ import annotations

from typing import Any

SCRIPTING = ("fuse", "fuse_async", "methods")


def classFactory(iface: Any) -> Any:  # noqa: N802 (QGIS calls it by this name)
    """Give QGIS the plugin object."""
    from .plugin.main import RasterFusePlugin

    return RasterFusePlugin(iface)


def __getattr__(name: str) -> Any:
    if name in SCRIPTING:
        from .plugin import scripting

        return getattr(scripting, name)
    raise AttributeError(f"rasterfuse has no {name!r}. It offers {', '.join(SCRIPTING)}.")
