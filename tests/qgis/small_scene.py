"""A small scene on disk and the provider in QGIS's registry: fixtures for doors of the plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from layers_rasters import write_raster
from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject
from qgis.gui import QgsBrowserGuiModel, QgsLayerTreeView
from rasterfuse.plugin.processing.provider import RasterFuseProvider
from rasterfuse.plugin.runtime.runtime import close_all

CORNER = (500_000.0, 5_000_000.0)
RATIO = 8


@dataclass(frozen=True)
class SmallScene:
    """Two reference pairs, a coarse target in between, and a pan-sharpening pair."""

    coarse: list[str]
    fine: list[str]
    target: str
    multispectral: str
    panchromatic: str

    def spatiotemporal(self, **more):
        """Parameters of the spatiotemporal algorithms with both pairs."""
        return {
            "COARSE_TARGET": self.target,
            "COARSE_REFERENCES": self.coarse,
            "FINE_REFERENCES": self.fine,
            **more,
        }

    def pansharpening(self, **more):
        """Parameters of the pansharpening algorithms."""
        return {
            "MULTISPECTRAL": self.multispectral,
            "PANCHROMATIC": self.panchromatic,
            **more,
        }


def geotransform(pixel):
    return (CORNER[0], pixel, 0.0, CORNER[1], 0.0, -pixel)


def block_mean(values, ratio=RATIO):
    bands, rows, cols = values.shape
    blocks = values.reshape(bands, rows // ratio, ratio, cols // ratio, ratio)
    return blocks.mean(axis=(2, 4))


def write_small_scene(folder: Path) -> SmallScene:
    """Fields whose brightness drifts from day to day; coarse cells are exact means."""
    generator = np.random.default_rng(7)
    fields = generator.integers(500, 3000, (3, 8, 10)).repeat(8, axis=1).repeat(8, axis=2)
    noise = generator.normal(0, 20, fields.shape)
    drift = np.linspace(0.8, 1.3, fields.shape[2])
    scenes = [fields + noise, (fields * drift**0.5) + noise, fields * drift + noise]
    days = ["20010524", "20010711", "20010812"]

    def save(name, values, pixel, dtype="int16"):
        return write_raster(
            folder / name, values.round().astype(dtype), geotransform(pixel), nodata=-9999
        )

    coarse = [
        save(f"modis_{day}.tif", block_mean(scene), 30.0 * RATIO)
        for day, scene in zip(days, scenes)
    ]
    fine = [save(f"landsat_{days[i]}.tif", scenes[i], 30.0) for i in (0, 2)]
    pan = scenes[0].mean(axis=0, keepdims=True)
    return SmallScene(
        coarse=[coarse[0], coarse[2]],
        fine=fine,
        target=coarse[1],
        multispectral=save("ms.tif", block_mean(scenes[0], 4), 120.0),
        panchromatic=save("pan.tif", pan, 30.0),
    )


@pytest.fixture(scope="session")
def small_scene(tmp_path_factory):
    return write_small_scene(tmp_path_factory.mktemp("small_scene"))


@pytest.fixture()
def provider(qgis_processing):
    """The provider as the plugin registers it."""
    made = RasterFuseProvider()
    QgsApplication.processingRegistry().addProvider(made)
    yield made
    QgsApplication.processingRegistry().removeProvider(made)


@pytest.fixture()
def desktop(qgis_iface, qgis_new_project, monkeypatch):
    """The interface with the real widgets that Processing asks of it."""
    browser = QgsBrowserGuiModel()
    tree = QgsLayerTreeView()
    tree.setModel(QgsLayerTreeModel(QgsProject.instance().layerTreeRoot()))
    monkeypatch.setattr(qgis_iface, "browserModel", lambda: browser, raising=False)
    monkeypatch.setattr(qgis_iface, "layerTreeView", lambda: tree, raising=False)
    return qgis_iface


@pytest.fixture(scope="session", autouse=True)
def no_worker_is_left():
    yield
    close_all()
