"""Look at what networks are trained on: tools/training_scenes.py FOLDER [--scenes 200] [--seed 0].

Prints how the drawn scenes are spread and writes pictures of some of them. The numbers to compare
them with are those of real pairs: coarse and aggregated fine images correlate at 0.5 to 0.98.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterfuse.plugin.engine.simulate_training import TrainingScene, draw_scene
from rasterfuse.plugin.engine.simulation.filters import blurred
from rasterio.errors import NotGeoreferencedWarning

QUANTILES = (5, 25, 50, 75, 95)
PER_PICTURE = 6
GAP = 4  # pixels between the images of a picture


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("folder", type=Path, help="where pictures are written")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=4, help=f"of {PER_PICTURE} scenes each")
    parser.add_argument("--textures", type=Path, nargs="*", default=[], help="real fine images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rng, textures = np.random.default_rng(options.seed), [read(path) for path in options.textures]
    found, rows, seconds = [], [], 0.0
    for number in range(options.scenes):
        started = time.process_time()
        scene = draw_scene(rng, options.size, textures)
        seconds += time.process_time() - started
        found.append(described(scene))
        if number < options.pictures * PER_PICTURE:
            rows.append(pictured(scene))
    print(f"{seconds / options.scenes:.3f} s of one core per scene\n")
    report({name: np.array([each[name] for each in found]) for name in found[0]})
    for first in range(0, len(rows), PER_PICTURE):
        path = options.folder / f"scenes_{first // PER_PICTURE + 1}.png"
        write(path, np.concatenate(rows[first : first + PER_PICTURE], axis=1))
        print(path)


def read(path: Path) -> np.ndarray:
    """(bands, rows, cols) of an image, NaN for nodata."""
    with rasterio.open(path) as raster:
        image = raster.read(masked=True).astype(np.float32)
    return image.filled(np.nan)


def described(scene: TrainingScene) -> dict[str, float]:
    """Properties of a scene, means over its bands, in deviations of the fine reference."""
    spread = np.nanstd(scene.fine_reference, axis=(1, 2), keepdims=True)
    change = (scene.fine_target - scene.fine_reference) / spread
    coarse = (scene.coarse_target - scene.coarse_reference) / spread
    smooth = weighted(coarse, 0.8 * scene.ratio)
    means = np.nanmean(coarse, axis=(1, 2), keepdims=True)
    errors = {name: error(change - guess) for name, guess in (
        ("copy", 0 * means), ("smooth", smooth), ("mean", means))}  # fmt: skip
    images = (scene.fine_reference, scene.coarse_reference, scene.coarse_target)
    return {
        "ratio": scene.ratio,
        "bands": len(change),
        "corr(C1, F1)": alike(scene.coarse_reference, scene.fine_reference, scene.ratio),
        "corr(C2-C1, F2-F1)": alike(coarse, change, scene.ratio),
        "error of D2": errors["smooth"],
        "copy / D2": errors["copy"] / errors["smooth"],
        "mean / D2": errors["mean"] / errors["smooth"],
        "D2 is best": errors["smooth"] <= min(errors.values()),
        "copy is best": errors["copy"] <= min(errors.values()),
        "hidden": float(np.mean([np.isnan(image).mean() for image in images])),
        "second pair": scene.fine_second is not None,
    }


def weighted(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred planes; hidden pixels have no weight."""
    known = np.isfinite(planes)
    total = blurred(np.where(known, planes, 0).astype(np.float32), sigma)
    return total / np.maximum(blurred(known.astype(np.float32), sigma), 1e-3)


def error(planes: np.ndarray) -> float:
    """Root of the mean square, mean over the bands."""
    return float(np.sqrt(np.nanmean(planes**2, axis=(1, 2))).mean())


def alike(coarse: np.ndarray, fine: np.ndarray, ratio: float) -> float:
    """Correlation of a coarse image with a fine one made as smooth, mean over the bands."""
    found = []
    for one, other in zip(weighted(coarse, 0.35 * ratio), weighted(fine, 0.5 * ratio)):
        found.append(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    return float(np.mean(found))


def report(columns: dict[str, np.ndarray]) -> None:
    """A table of quantiles, and the shares of what is yes or no."""
    print(f"{'':20}" + "".join(f"{quantile:>8} %" for quantile in QUANTILES))
    for name, values in columns.items():
        if values.dtype == bool:
            print(f"{name:20}{100 * values.mean():8.0f} % of the scenes")
        else:
            at = np.percentile(values, QUANTILES)
            print(f"{name:20}" + "".join(f"{value:10.3f}" for value in at))


def pictured(scene: TrainingScene) -> np.ndarray:
    """(3, size, 6 size): fine and coarse at both dates, and both changes; white is hidden."""
    bands = [number % len(scene.fine_target) for number in (2, 1, 0)]
    fine = [scene.fine_reference[bands], scene.fine_target[bands]]
    coarse = [scene.coarse_reference[bands], scene.coarse_target[bands]]
    changes = [fine[1] - fine[0], coarse[1] - coarse[0]]
    tiles = [*stretched(fine), *stretched(coarse), *stretched(changes)]
    return np.concatenate([np.pad(tile, ((0, 0), (0, GAP), (0, GAP))) for tile in tiles], axis=2)


def stretched(images: list[np.ndarray]) -> list[np.ndarray]:
    """Images in bytes with one stretch per band for all of them; hidden pixels are white."""
    low, high = np.nanpercentile(np.concatenate(images, axis=2), (1, 99), axis=(1, 2))
    span = np.maximum(high - low, 1e-6)[:, None, None]
    scaled = [((image - low[:, None, None]) / span).clip(0, 1) * 230 for image in images]
    return [np.nan_to_num(image, nan=255).astype(np.uint8) for image in scaled]


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture."""
    height, width = image.shape[1:]
    shape = {"width": width, "height": height, "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", **shape) as raster:
            raster.write(image)


if __name__ == "__main__":
    main()
