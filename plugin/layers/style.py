"""Give a result the style of another layer, with the same stretch, or one of its own."""

from __future__ import annotations

from collections.abc import Mapping

from qgis.core import (
    QgsContrastEnhancement,
    QgsGradientColorRamp,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
    QgsReadWriteContext,
    QgsSingleBandGrayRenderer,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtXml import QDomDocument, QDomElement

# Attributes of a renderer that hold a band number; -1 stands for none.
_BAND_ATTRIBUTES = (
    "redBand",
    "greenBand",
    "blueBand",
    "alphaBand",
    "grayBand",
    "band",
    "inputBand",
)
_REDS = ("#fff5f0", "#67000d")
_SAMPLE = 250_000  # pixels that a stretch is made from
_COLOURS = (650.0, 560.0, 475.0)  # nanometres of what the eye calls red, green and blue


def copy_style(target: QgsRasterLayer, source: QgsRasterLayer, bands: Mapping[int, int]) -> bool:
    """Copy the symbology, also blending and resampling, and freeze its stretch.

    Args:
        target: The layer to style.
        source: The layer to look like.
        bands: Bands of ``target`` by the bands of ``source`` that they correspond to.

    Returns:
        Whether that was possible; if not, ``target`` is as before.
    """
    if target.bandCount() == 1 and isinstance(source.renderer(), QgsMultiBandColorRenderer):
        return _copy_channel(target, source, bands)
    document = QDomDocument()
    category = QgsMapLayer.StyleCategory.Symbology
    fault = source.exportNamedStyle(document, QgsReadWriteContext(), category)
    renderer = (
        document.documentElement().firstChildElement("pipe").firstChildElement("rasterrenderer")
    )
    if fault or renderer.isNull() or not _map_bands(renderer, bands):
        return False
    _freeze(renderer)
    done, _ = target.importNamedStyle(document, category)
    return bool(done)


def fresh_style(target: QgsRasterLayer, wavelengths: Mapping[int, float]) -> None:
    """Stretch a layer by its own values; natural colours where the wavelengths allow.

    Args:
        target: The layer to style.
        wavelengths: In nanometres by band, as far as known.
    """
    renderer = target.renderer()
    colours = [_nearest(wanted, wavelengths) for wanted in _COLOURS]
    if isinstance(renderer, QgsMultiBandColorRenderer) and None not in colours:
        clone = QgsMultiBandColorRenderer(target.dataProvider(), *colours)
        target.setRenderer(clone)
    target.setContrastEnhancement(
        QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum,
        QgsRasterMinMaxOrigin.Limits.CumulativeCut,
    )


def ramp_style(target: QgsRasterLayer) -> None:
    """Show the first band of a layer whose values start at 0 from light to dark red."""
    provider = target.dataProvider()
    # Not from a histogram: GDAL makes none of values that are all the same.
    found = provider.bandStatistics(1, extent=target.extent(), sampleSize=_SAMPLE)
    renderer = QgsSingleBandPseudoColorRenderer(provider, 1)
    renderer.setClassificationMin(0.0)
    renderer.setClassificationMax(found.mean + 2 * found.stdDev)
    renderer.createShader(QgsGradientColorRamp(*map(QColor, _REDS)))
    target.setRenderer(renderer)


def _nearest(wanted: float, wavelengths: Mapping[int, float]) -> int | None:
    off = {band: abs(value - wanted) for band, value in wavelengths.items()}
    best = min(off, key=off.__getitem__, default=None)
    return best if best is not None and off[best] < 0.08 * wanted else None


def _map_bands(renderer: QDomElement, bands: Mapping[int, int]) -> bool:
    """Put the target's band numbers in place of the source's; False when one has none."""
    for name in _BAND_ATTRIBUTES:
        number = int(renderer.attribute(name, "-1") or -1)
        if number < 1:
            continue
        if number not in bands:
            return False
        renderer.setAttribute(name, str(bands[number]))
    return True


def _freeze(renderer: QDomElement) -> None:
    """Keep the limits as they are: QGIS would else compute them anew when the map moves."""
    limits = renderer.firstChildElement("minMaxOrigin").firstChildElement("limits")
    if not limits.isNull():
        limits.firstChild().setNodeValue("None")


def _copy_channel(target: QgsRasterLayer, source: QgsRasterLayer, bands: Mapping[int, int]) -> bool:
    """Show the one band in grey, stretched like the colour that shows it in the source."""
    renderer = source.renderer()
    channels = (
        (renderer.redBand(), renderer.redContrastEnhancement()),
        (renderer.greenBand(), renderer.greenContrastEnhancement()),
        (renderer.blueBand(), renderer.blueContrastEnhancement()),
    )
    for band, stretch in channels:
        if bands.get(band) == 1 and stretch is not None:
            grey = QgsSingleBandGrayRenderer(target.dataProvider(), 1)
            grey.setContrastEnhancement(QgsContrastEnhancement(stretch))
            target.setRenderer(grey)
            return True
    return False
