"""A picture of how far a training is: an area kept aside, as it was, as it is fused, as it is."""

from __future__ import annotations

import os
import warnings

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from torch.nn import functional

from ....models.spatiotemporal.gated_network import GatedNetwork
from .samples import Sample

_MOST = 256  # pixels along a side that are shown
_GAP = 6  # white pixels between the images
_GREY, _WHITE = 128, 255  # nodata; between the images


@torch.no_grad()
def write_preview(path: str, network: GatedNetwork, sample: Sample) -> None:
    """Write fine reference, fused image and truth side by side as a PNG.

    The last three bands are red, green and blue, the last one red; the truth sets the range.

    Args:
        path: Replaced when the new picture is complete.
        network: With the weights to show.
        sample: Its middle is shown.
    """
    planes = sample.planes.float()
    device = next(network.parameters()).device
    network.eval()
    change = network(planes.to(device), sample.scalars.to(device)).cpu()[:, 0]
    network.train()
    reference = functional.pixel_shuffle(planes[:, :4], 2)[:, 0]
    truth = reference + sample.change.float()
    known = _middle(sample.known.numpy()[None])
    images = [_middle(image.numpy()[-3:]) for image in (reference, reference + change, truth)]
    _write(path, _side_by_side([np.where(known, image, np.nan) for image in images]))


def _middle(image: np.ndarray) -> np.ndarray:
    """(bands, rows, cols) of at most ``_MOST`` pixels along a side."""
    rows, cols = (max((size - _MOST) // 2, 0) for size in image.shape[1:])
    middle: np.ndarray = image[:, rows : rows + _MOST, cols : cols + _MOST]
    return middle


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """(3, rows, cols) uint8 from images of 1 to 3 bands, NaN for nodata."""
    truth = images[-1]
    some = np.where(np.isfinite(truth).any(axis=(1, 2), keepdims=True), truth, 0.0)
    low, high = (np.nanpercentile(some, share, axis=(1, 2))[:, None, None] for share in (2, 98))
    gap = np.full((3, truth.shape[1], _GAP), _WHITE, dtype=np.uint8)
    parts: list[np.ndarray] = []
    for image in images:
        share = ((image - low) / np.maximum(high - low, 1e-6)).clip(0, 1) * _WHITE
        coloured = np.where(np.isfinite(share), share, _GREY).astype(np.uint8)[::-1]
        parts += [np.resize(coloured, (3, *coloured.shape[1:])), gap]
    return np.concatenate(parts[:-1], axis=2)


def _write(path: str, picture: np.ndarray) -> None:
    part = path + ".part"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            part, "w", driver="PNG", width=picture.shape[2], height=picture.shape[1], count=3,
            dtype="uint8",
        ) as file:  # fmt: skip
            file.write(picture)
    os.replace(part, path)


def remove_preview(path: str) -> None:
    """Remove a picture, and what is left of one."""
    for name in (path, f"{path}.part", f"{path}.part.aux.xml"):
        if os.path.exists(name):
            os.remove(name)
