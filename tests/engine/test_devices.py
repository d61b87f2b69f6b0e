"""Jobs on another device than the CPU: every method keeps its tensors there and gives the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_gpu import DEVICE
from rasterfuse.models.cards import load_cards
from rasterfuse.models.spatiotemporal import statistics
from rasters import methods


def images(rasters, rng):
    """Paths of two pairs and a coarse target; a gap in both fine images."""
    fields = rng.normal(size=(2, 6, 6)).repeat(8, axis=1).repeat(8, axis=2)
    paths = []
    for number in range(3):
        fine = 5 + fields + number * np.roll(fields, 5, axis=0)
        fine = fine + 0.2 * rng.normal(size=fine.shape)
        coarse = fine.reshape(2, 6, 8, 6, 8).mean(axis=(2, 4))
        fine[0, 3:6, 7:9] = -9999
        paths.append(
            (
                rasters.write(f"coarse{number}", coarse, rasters.grid(240.0)),
                rasters.write(f"fine{number}", fine, nodata=-9999),
            )
        )
    return paths


def job_of(rasters, paths, card, device):
    parameters = {"window": 7} if "window" in [p.name for p in card.parameters] else {}
    options = {
        "model": card.id, "device": device, "parameters": parameters, "backend": "torch",
        "output": str(rasters.folder / f"{device}.tif"),
    }  # fmt: skip
    if card.family == "pansharpening":
        return rasters.pansharpening(paths[0][0], {"path": paths[0][1], "bands": (2,)}, **options)
    most = max(spec.max_pairs or 2 for spec in card.inputs if spec.role == "references")
    return rasters.spatiotemporal(paths[2][0], *paths[: min(most, 2)], **options)


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(gpu):
    with gpu:
        there = torch.ones(3, device=DEVICE)
        assert (there.sum() + torch.tensor(1.0)).item() == 4.0  # single numbers may be anywhere
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3)[there > 0]
        with pytest.raises((RuntimeError, TypeError), match=r"numpy|Held"):
            there.numpy()
    assert gpu.calls > 0


@pytest.mark.parametrize("model", methods())
def test_every_method_gives_the_same_on_another_device(rasters, rng, gpu, model):
    card, paths = load_cards()[model], images(rasters, rng)
    expected, _ = rasters.fuse(job_of(rasters, paths, card, "cpu"))
    with gpu:
        result, report = rasters.fuse(job_of(rasters, paths, card, "cuda"))
    assert report["device"] == str(DEVICE)
    assert gpu.calls > 0
    # Convolutions add up in an order that goes with the layout in memory.
    np.testing.assert_allclose(result, expected, rtol=2e-6)


def test_a_gpu_without_double_precision_says_so(gpu):
    gpu.float64 = False
    with gpu, pytest.raises(TypeError, match="float64"):
        torch.ones(3, device=DEVICE).double()


@pytest.mark.parametrize("model", methods())
def test_every_method_does_without_double_precision(rasters, rng, gpu, monkeypatch, model):
    """As on Apple's GPU."""
    monkeypatch.setattr(statistics, "_WITHOUT_FLOAT64", {DEVICE.type})
    gpu.float64 = False
    card, paths = load_cards()[model], images(rasters, rng)
    expected, _ = rasters.fuse(job_of(rasters, paths, card, "cpu"))
    with gpu:
        result, _ = rasters.fuse(job_of(rasters, paths, card, "cuda"))
    # A sum is rounded to float32 where it would else stay in float64: some last digits of 5.
    np.testing.assert_allclose(result, expected, rtol=2e-6)
