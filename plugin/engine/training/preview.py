"""A picture of how far a training is: an area kept aside, as it was, as it is fused, as it is."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch.nn import functional

from ....models.spatiotemporal.gated_network import GatedNetwork
from ...paths import part_of
from ..picture import colours, middle, write_png
from .samples import Sample

_MOST = 256  # pixels along a side that are shown
_GAP = 6  # white pixels between the images
_WHITE = 255  # between the images


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
    known = middle(sample.known.numpy()[None], _MOST)
    images = [middle(image.numpy()[-3:], _MOST) for image in (reference, reference + change, truth)]
    part = part_of(path)
    write_png(part, _side_by_side([np.where(known, image, np.nan) for image in images]))
    os.replace(part, path)


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """(3, rows, cols) uint8 from images of 1 to 3 bands, NaN for nodata."""
    truth = images[-1]
    some = np.where(np.isfinite(truth).any(axis=(1, 2), keepdims=True), truth, 0.0)
    low, high = (np.nanpercentile(some, share, axis=(1, 2))[:, None, None] for share in (2, 98))
    gap = np.full((3, truth.shape[1], _GAP), _WHITE, dtype=np.uint8)
    parts: list[np.ndarray] = []
    for image in images:
        coloured = colours((image - low) / np.maximum(high - low, 1e-6))[::-1]
        parts += [np.resize(coloured, (3, *coloured.shape[1:])), gap]
    return np.concatenate(parts[:-1], axis=2)
