"""Small rasters on disk and jobs about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterfuse.models.cards import load_cards
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.job import Job, Limits, RasterSource, ReferencePair
from rasterio.transform import Affine

UTM = "EPSG:32633"
WORKER = Path(__file__).resolve().parents[2] / "plugin" / "engine" / "worker.py"


class Rasters:
    """A folder of rasters: writes and reads them, and builds jobs about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = str(folder / "result.tif")

    def write(
        self,
        name,
        values,
        transform=None,
        *,
        crs=UTM,
        nodata=None,
        dtype="float32",
        scales=None,
        offsets=None,
        names=None,
        **profile,
    ):
        """Write (bands, rows, cols) or (rows, cols) and return the path."""
        values = np.asarray(values)
        values = values[None] if values.ndim == 2 else values
        count, height, width = values.shape
        path = str(self.folder / f"{name}.tif")
        profile = {"photometric": "minisblack", "alpha": "unspecified", **profile}
        if crs is not None or transform is not None:
            profile.update(crs=crs, transform=transform or self.grid())
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=count, dtype=dtype,
            nodata=nodata, **profile,
        ) as file:  # fmt: skip
            file.write(values.astype(dtype))
            if scales is not None:
                file.scales = scales
            if offsets is not None:
                file.offsets = offsets
            for band, text in enumerate(names or (), 1):
                file.set_band_description(band, text)
        return path

    @staticmethod
    def grid(size=30.0, x=500_000.0, y=5_300_000.0):
        """A north-up transform."""
        return Affine(size, 0, x, 0, -size, y)

    @staticmethod
    def read(path):
        """(bands, rows, cols) float64 in physical units, NaN for nodata."""
        with rasterio.open(path) as file:
            stored = file.read(masked=True).astype("float64")
            scales = np.array(file.scales)[:, None, None]
            offsets = np.array(file.offsets)[:, None, None]
            return (stored * scales + offsets).filled(np.nan)

    def spatiotemporal(self, target, *pairs, model="fine_plus_change", **options):
        """A job; images are paths, sources, or dicts of a source's fields."""
        references = tuple(ReferencePair(source(c), source(f)) for c, f in pairs)
        inputs = {"coarse_target": source(target), "references": references}
        return self._job(model, inputs, options)

    def pansharpening(self, multispectral, panchromatic, model="brovey", **options):
        inputs = {"multispectral": source(multispectral), "panchromatic": source(panchromatic)}
        return self._job(model, inputs, options)

    def _job(self, model, inputs, options):
        options.setdefault("output", self.output)
        options.setdefault("device", "cpu")
        if "tile" in options:
            options["limits"] = Limits(tile=options.pop("tile"))
        return Job(model=model, inputs=inputs, **options)

    def fuse(self, job):
        """Run a job; give back its result in physical units and the report."""
        report = pipeline.run(job)
        return self.read(job.output), report

    def leftovers(self):
        """What a failed job left behind."""
        return sorted(p.name for p in self.folder.iterdir() if "result" in p.name)


def source(image):
    if isinstance(image, RasterSource):
        return image
    return RasterSource(**image) if isinstance(image, dict) else RasterSource(path=str(image))


COSTLY = 10.0  # seconds per megapixel and band from which a method's tests are slow ones


def methods():
    """The ids of all methods, as parameters of a test."""
    return [
        pytest.param(
            name,
            marks=[pytest.mark.slow] if card.cost["seconds_per_megapixel_band"] > COSTLY else [],
        )
        for name, card in sorted(load_cards().items())
    ]
