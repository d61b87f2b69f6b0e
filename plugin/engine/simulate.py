"""Simulate a scene of which everything is known: what two satellites see of farmed land.

    python plugin/engine/simulate.py FOLDER --size 400 --ratio 16 --bands 4 --seed 1

writes a fine and a coarse image of a reference date, a coarse image of a target date, the fine
image of the target date that a fusion should find (``truth``), and the job that fuses them. The
coarse images are as imperfect as real ones: a point spread function, a grid of their own, shifts,
sensor bias and noise. Needs numpy and rasterio only; runs as a script and as a function.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

if __package__:
    from .land import BANDS, Array, Rng, fractal, make_land, reflectance
else:  # run as a script, whose folder Python puts on the path
    from land import BANDS, Array, Rng, fractal, make_land, reflectance  # type: ignore[no-redef]

WAVELENGTHS = (0.482, 0.561, 0.655, 0.865, 1.609, 2.201)  # micrometres, Landsat-8 OLI
SCALE = 0.0001  # reflectance per count, as in most surface reflectance products
FINE_NODATA, COARSE_NODATA = -9999, -28672
CRS, ORIGIN = "EPSG:32633", (600000.0, 5400000.0)


@dataclass(frozen=True)
class Settings:
    """What to simulate; the sizes are in fine pixels.

    Attributes:
        size: Rows and columns of the fine image.
        ratio: Coarse over fine pixel size; need not be whole.
        bands: 1 to 6 of ``BANDS``.
        seed: Same seed, same scene.
        reference: Day of the reference pair.
        target: Day of the coarse target and the truth.
        pixel: Fine pixel size in metres.
        noise: Factor on all imperfections of the sensors; 0 is an ideal sensor.
        clouds: Share of the fine reference that is nodata.
    """

    size: int = 400
    ratio: float = 16.0
    bands: int = 4
    seed: int = 1
    reference: date = date(2024, 5, 12)
    target: date = date(2024, 7, 15)
    pixel: float = 30.0
    noise: float = 1.0
    clouds: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("size", 16, 20000), ("ratio", 1.5, 100), ("bands", 1, len(BANDS)),
            ("pixel", 0.01, 10000), ("noise", 0, 20), ("clouds", 0, 0.95),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}. Give a number from {low:g} to {high:g}.")
        if self.reference == self.target:
            raise ValueError(f"Both dates are {self.target}. Give two different ones.")
        if self.ratio * 2 > self.size:
            raise ValueError(
                f"{self.size} pixels hold less than 2 cells of {self.ratio:g} pixels. "
                "Give a larger size or a smaller ratio."
            )

    @property
    def margin(self) -> int:
        """Land around the fine image that the outer coarse cells see."""
        return math.ceil(3.5 * self.ratio)

    @property
    def width(self) -> int:
        """Rows and columns of the simulated land."""
        return self.size + 2 * self.margin


@dataclass(frozen=True)
class SceneFiles:
    """Where the images of a scene are."""

    fine_reference: Path
    coarse_reference: Path
    coarse_target: Path
    truth: Path
    job: Path


def simulate(folder: str | Path, **settings: Any) -> SceneFiles:
    """Write a scene into a folder, which is made if need be.

    Args:
        folder: Where to write; files of the same names are replaced.
        settings: See ``Settings``.

    Raises:
        ValueError: A setting is out of range.
    """
    chosen = Settings(**settings)
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(chosen.seed)
    land = make_land(chosen.width, rng)
    fine = [
        reflectance(land, day.timetuple().tm_yday, chosen.bands, late)
        for day, late in ((chosen.reference, False), (chosen.target, True))
    ]
    coarse, transform = observe(fine, chosen, rng)
    days = [f"{day:%Y%m%d}" for day in (chosen.reference, chosen.target)]
    files = SceneFiles(
        fine_reference=folder / f"fine_{days[0]}.tif",
        coarse_reference=folder / f"coarse_{days[0]}.tif",
        coarse_target=folder / f"coarse_{days[1]}.tif",
        truth=folder / f"truth_{days[1]}.tif",
        job=folder / "job.json",
    )
    inner = slice(chosen.margin, chosen.margin + chosen.size)
    fine = [_with_noise(image[:, inner, inner], chosen, rng) for image in fine]
    fine[0][:, _clouds(chosen, rng)] = np.nan
    place = Affine(chosen.pixel, 0, ORIGIN[0], 0, -chosen.pixel, ORIGIN[1])
    for path, image, day in (
        (files.fine_reference, fine[0], chosen.reference),
        (files.truth, fine[1], chosen.target),
    ):
        write(path, image, place, FINE_NODATA, day)
    write(files.coarse_reference, coarse[0], transform, COARSE_NODATA, chosen.reference)
    write(files.coarse_target, coarse[1], transform, COARSE_NODATA, chosen.target)
    files.job.write_text(json.dumps(job_of(files, chosen), indent=2) + "\n", encoding="utf-8")
    return files


def job_of(files: SceneFiles, settings: Settings) -> dict[str, Any]:
    """The job that fuses a scene with STARFM, as plain data."""
    reference, target = str(settings.reference), str(settings.target)
    return {
        "model": "starfm",
        "inputs": {
            "coarse_target": {"path": str(files.coarse_target), "date": target},
            "references": [
                {
                    "coarse": {"path": str(files.coarse_reference), "date": reference},
                    "fine": {"path": str(files.fine_reference), "date": reference},
                }
            ],
        },
        "output": str(files.job.with_name("fused.tif")),
    }


def _with_noise(image: Array, settings: Settings, rng: Rng) -> Array:
    noisy = image + rng.normal(0, 0.002 * settings.noise, image.shape)
    return noisy.astype(np.float32)


def _clouds(settings: Settings, rng: Rng) -> NDArray[np.bool_]:
    """(size, size) where clouds hide the fine reference."""
    field = fractal(settings.size, 3.0, rng)
    if not settings.clouds:
        return np.zeros(field.shape, dtype=bool)
    return field > np.quantile(field, 1 - settings.clouds)


def observe(fine: Sequence[Array], settings: Settings, rng: Rng) -> tuple[list[Array], Affine]:
    """What the coarse sensor makes of the land at each date, and where its cells lie.

    Imperfections: cells offset by a fraction of a fine pixel, shifts between and within dates,
    gain and offset per band, a bias per date, noise per date and noise common to the dates (in
    deviations of the cells: real pairs correlate at 0.75 to 0.98).
    """
    ratio, noise = settings.ratio, settings.noise
    count = math.ceil(settings.size / ratio) + 2
    origin = ratio * (rng.uniform(-0.5, 0.5, 2) - 1)  # row and column of the first cell's corner
    shape = (settings.bands, count, count)
    gain = 1 + noise * rng.normal(0, 0.03, (settings.bands, 1, 1))
    offset = noise * rng.normal(0, 0.004, (settings.bands, 1, 1))
    common = noise * rng.normal(0, 0.15, shape)
    fixed = noise * ratio * rng.normal(0, 0.06, 2)
    seen = []
    for image in fine:
        shift = fixed + noise * ratio * rng.normal(0, 0.04, 2)
        cells = through_psf(image, origin + shift + settings.margin, count, ratio)
        bias = gain * (1 + noise * rng.normal(0, 0.008, (settings.bands, 1, 1)))
        own = noise * rng.normal(0, 0.15, shape)
        noisy = cells * bias + offset + (common + own) * cells.std(axis=(1, 2), keepdims=True)
        seen.append(noisy.clip(0.0001, 1).astype(np.float32))
    pixel = settings.pixel
    place = Affine(
        pixel * ratio, 0, ORIGIN[0] + pixel * origin[1],
        0, -pixel * ratio, ORIGIN[1] - pixel * origin[0],
    )  # fmt: skip
    return seen, place


def through_psf(image: Array, corner: NDArray[np.float64], count: int, ratio: float) -> Array:
    """(bands, count, count) Gaussian-weighted means around the centres of coarse cells.

    Args:
        image: (bands, n, n) fine image.
        corner: Row and column of the first cell's corner, in pixels of the image.
        count: Cells along one axis.
        ratio: Side of a cell in pixels; it is also the full width of the PSF at half maximum.
    """
    sigma = ratio / 2.3548
    pixels = np.arange(image.shape[-1]) + 0.5
    weights = []
    for start in corner:
        centres = start + (np.arange(count) + 0.5) * ratio
        weight = np.exp(-0.5 * ((pixels[None] - centres[:, None]) / sigma) ** 2)
        weights.append((weight / weight.sum(axis=1, keepdims=True)).astype(np.float32))
    return weights[0] @ image @ weights[1].T


def write(path: Path, image: Array, transform: Affine, nodata: int, day: date) -> None:
    """Write reflectance as int16 counts with scale, nodata, band names, wavelengths and date."""
    counts = np.where(np.isfinite(image), np.rint(image / SCALE), nodata).astype(np.int16)
    bands, rows, cols = counts.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=bands, dtype="int16",
        crs=CRS, transform=transform, nodata=nodata, compress="deflate", predictor=2,
    ) as raster:  # fmt: skip
        raster.write(counts)
        raster.descriptions = BANDS[:bands]
        raster.scales = (SCALE,) * bands
        raster.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=f"{day}T10:30:00")
        for band, wavelength in enumerate(WAVELENGTHS[:bands], 1):
            raster.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(wavelength))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", help="where to write")
    for item in fields(Settings):
        kind = date.fromisoformat if isinstance(item.default, date) else type(item.default)
        parser.add_argument(f"--{item.name}", type=kind, default=item.default)
    chosen = vars(parser.parse_args(arguments))
    try:
        files = simulate(chosen.pop("folder"), **chosen)
    except ValueError as error:
        parser.error(str(error))
    for item in fields(files):
        print(f"{item.name:17} {getattr(files, item.name)}")


if __name__ == "__main__":
    main()
