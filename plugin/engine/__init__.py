"""The worker's side: rasterio and torch, never qgis."""

VERSION = "0.1.0"
