"""Which bands of two images belong together."""

from __future__ import annotations

import re

import pytest
from layers_rasters import ramp, write_raster
from osgeo import gdal
from qgis.core import QgsRasterLayer, QgsVectorLayer
from rasterfuse.models.errors import InputError, RasterReadError
from rasterfuse.plugin.layers.bands import match_bands

MODIS = [f"sur_refl_b{number:02}_1" for number in range(1, 8)]
OLI = [f"SR_B{number}" for number in range(1, 8)]


@pytest.fixture
def image(tmp_path):
    def make(name, bands, names=(), tags=None):
        return write_raster(tmp_path / name, ramp(bands), names=names, tags=tags)

    return make


def test_modis_with_red_first_is_matched_to_the_order_of_landsat(image):
    modis = image("MOD09GA.A2020068.tif", 7, MODIS)
    landsat = image("LC08_L2SP_191028_20200308_20200822_02_T1_SR.tif", 7, OLI)
    match = match_bands(modis, landsat)
    # Blue, green, red, NIR, SWIR 1 and 2 are bands 3, 4, 1, 2, 6 and 7 of MODIS.
    assert match.coarse == (3, 4, 1, 2, 6, 7)
    assert match.fine == (2, 3, 4, 5, 6, 7)
    assert match.how == (
        "The bands are matched by wavelength: coarse 3, 4, 1, 2, 6, 7 with fine 2, 3, 4, 5, 6, 7. "
        "Without partner and left out: coarse 5; fine 1."
    )


def test_sentinel_2_stack_is_recognised_by_its_own_bands(image):
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    match = match_bands(image("coarse.tif", 7, MODIS), image("stack.tif", 12, names))
    pairs = dict(zip(match.coarse, [names[band - 1] for band in match.fine]))
    # The narrow NIR (865 nm) is nearer to MODIS (858.5 nm) than the wide one (833 nm).
    assert pairs == {3: "B02", 4: "B03", 1: "B04", 2: "B8A", 6: "B11", 7: "B12"}


def test_the_same_band_number_of_two_landsats_is_not_taken_for_the_same_band(image):
    etm = image("LE07_L2SP_195025_20010730_20200917_02_T1_SR.tif", 6,
                ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"])  # fmt: skip
    oli = image("LC09_L2SP_195025_20220730_20220917_02_T1_SR.tif", 7, OLI)
    match = match_bands(etm, oli)
    assert match.coarse == (1, 2, 3, 4, 5, 6)
    assert match.fine == (2, 3, 4, 5, 6, 7)


def test_single_band_files_are_known_by_their_names(image):
    red = image("LC08_L1TP_167055_20170308_20170317_01_T1_B4.TIF", 1)
    match = match_bands(red, image("stack.tif", 3, ["blue", "green", "red"]))
    assert (match.coarse, match.fine) == ((1,), (3,))
    assert match.how.startswith("The bands are matched by name")


def test_names_match_wavelengths_in_every_common_notation(image):
    coarse = image("a.tif", 6, ["645 nm", "NIR (0.841-0.876 µm)", "band 3 (469.0 Nanometers)",
                                "555nm", "SWIR 1", "short-wave infrared 2"])  # fmt: skip
    fine = image("b.tif", 6, ["Blue", "Green", "Red", "Near Infrared", "swir16", "SWIR22"])
    match = match_bands(coarse, fine)
    assert match.coarse == (3, 4, 1, 2, 5, 6)
    assert match.fine == (1, 2, 3, 4, 5, 6)


def test_red_edge_and_infrared_are_not_red(image):
    coarse = image("a.tif", 2, ["red", "nir"])
    fine = image("b.tif", 4, ["red edge", "near infrared", "red", "thermal infra red"])
    assert match_bands(coarse, fine).fine == (2, 3)
    assert match_bands(coarse, fine).coarse == (2, 1)


def test_envi_wavelengths_with_and_without_unit_are_used(tmp_path):
    paths = []
    for name, lines in (
        ("nm", "wavelength units = Nanometers\nwavelength = {655, 482, 865}\n"),
        ("um", "wavelength = {0.482, 0.655, 0.865}\n"),
    ):
        path = write_raster(tmp_path / f"{name}.img", ramp(3), driver="ENVI")
        with open(tmp_path / f"{name}.hdr", "a", encoding="utf-8") as header:
            header.write(lines)
        paths.append(path)
    match = match_bands(*paths)
    assert (match.coarse, match.fine) == ((2, 1, 3), (1, 2, 3))
    assert "wavelength" in match.how


def test_gdal_imagery_metadata_is_used(tmp_path):
    path = write_raster(tmp_path / "x.tif", ramp(2))
    dataset = gdal.Open(path, gdal.GA_Update)
    for number, micrometres in ((1, "0.865"), (2, "0.655")):
        dataset.GetRasterBand(number).SetMetadataItem(
            "CENTRAL_WAVELENGTH_UM", micrometres, "IMAGERY"
        )
    dataset = None
    other = write_raster(tmp_path / "y.tif", ramp(2), names=["red", "nir"])
    assert match_bands(path, other).coarse == (2, 1)


def test_equal_names_of_other_quantities_match(image):
    match = match_bands(
        image("a.tif", 3, ["LST", "NDVI", "EVI"]), image("b.tif", 2, ["evi", "lst"])
    )
    assert (match.coarse, match.fine) == ((3, 1), (1, 2))


def test_without_names_the_order_counts(image):
    match = match_bands(image("a.tif", 3), image("b.tif", 3))
    assert (match.coarse, match.fine) == ((1, 2, 3), (1, 2, 3))
    assert match.how == "The bands are matched by their order."


def test_numbered_bands_of_an_unknown_sensor_are_matched_by_order(image):
    match = match_bands(image("a.tif", 2, ["B1", "B2"]), image("b.tif", 2, ["B2", "B1"]))
    assert match.how == "The bands are matched by their order."


def test_different_counts_without_names_are_left_to_the_user(image):
    match = match_bands(image("a.tif", 3), image("b.tif", 2))
    assert (match.coarse, match.fine) == ((1, 2, 3), (1, 2))
    assert re.search("has 3 bands, the fine one 2.* Choose them", match.how)


def test_a_choice_for_one_image_is_followed_by_the_other(image):
    modis = image("a.tif", 7, MODIS)
    landsat = image("LC08_x.tif", 7, OLI)
    assert match_bands(modis, landsat, coarse_bands=(2, 1)).fine == (5, 4)
    assert match_bands(modis, landsat, fine_bands=(4, 5, 3)).coarse == (1, 2, 4)
    assert match_bands(image("c.tif", 6), image("d.tif", 6), coarse_bands=(4, 3)).fine == (4, 3)


def test_a_chosen_band_that_does_not_exist_is_kept_for_the_check_to_name(image):
    match = match_bands(image("a.tif", 2), image("b.tif", 2), coarse_bands=(9,))
    assert match.coarse == (9,)


def test_layers_are_matched_like_files(qgis_app, image):
    modis = QgsRasterLayer(image("modis.tif", 7, MODIS), "MODIS")
    landsat = QgsRasterLayer(image("x.tif", 7, [f"b{n}" for n in range(1, 8)]), "LC08 of March")
    assert match_bands(modis, landsat).coarse == (3, 4, 1, 2, 6, 7)


def test_what_cannot_be_opened_or_is_no_raster_is_said(qgis_app, image, tmp_path):
    with pytest.raises(RasterReadError, match=r"missing.tif does not exist"):
        match_bands(str(tmp_path / "missing.tif"), image("a.tif", 1))
    with pytest.raises(InputError, match="fields is no raster layer"):
        match_bands(QgsVectorLayer("Point", "fields", "memory"), image("b.tif", 1))
