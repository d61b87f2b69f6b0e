"""Shows that this Python can do a worker's work: compute on a device, write and read a raster."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.crs import CRS
from rasterio.transform import from_origin

from ...models.errors import FusionError
from .device import choose_device

_SIZE = 128
_EPSG = 32633


def try_out(device: str) -> str:
    """Compute and write for a moment; what does not work, empty when all does.

    Args:
        device: As in a job: ``auto``, ``cpu``, ``cuda:0`` …
    """
    for attempt in (_compute, _write):
        try:
            fault = attempt(device)
        except FusionError as error:
            fault = error.sentence
        except Exception as error:  # a half-working library may raise anything
            fault = f"{type(error).__name__}: {error}"
        if fault:
            return fault
    return ""


def _compute(device: str) -> str:
    chosen = choose_device(device)
    generator = torch.Generator().manual_seed(20060801)
    matrix = torch.rand(_SIZE, _SIZE, generator=generator)
    found = (matrix.to(chosen) @ matrix.to(chosen)).cpu()
    # Sums of 128 products in TF32, the coarsest that a GPU may use, are good to 1e-3.
    if not torch.allclose(found.double(), matrix.double() @ matrix.double(), rtol=5e-3):
        return f"The device {chosen} computes wrong products of matrices."
    return ""


def _write(device: str) -> str:
    values = np.arange(_SIZE * _SIZE, dtype="float32").reshape(1, _SIZE, _SIZE)
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "float32", "width": _SIZE, "height": _SIZE,
        "crs": CRS.from_epsg(_EPSG), "transform": from_origin(500_000, 5_000_000, 10, 10),
        "compress": "deflate",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="rasterfuse-") as folder:
        path = Path(folder) / "trial.tif"
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(values)
        with rasterio.open(path) as raster:
            same = np.array_equal(raster.read(), values)
            code = raster.crs.to_epsg() if raster.crs else None
    if code != _EPSG or not same:
        return f"A GeoTIFF in EPSG:{_EPSG} came back in EPSG:{code}, values kept: {same}."
    return ""
