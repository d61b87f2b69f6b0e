"""What can be said of a job before it runs."""

from __future__ import annotations

import math
import os
import shutil

import numpy as np
import pytest
from layers_rasters import SINUSOIDAL, UTM33, crs_wkt, ramp, write_raster
from osgeo import gdal, osr
from rasterfuse.plugin.checks import ERROR, INFO
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair
from rasterfuse.plugin.layers.inspect import inspect

ROTATED = (500_000.0, 24.0, 18.0, 5_000_000.0, 18.0, -24.0)  # pixels of 30 m, turned


@pytest.fixture
def make(qgis_app, tmp_path):
    def write(name, rows=20, cols=30, bands=1, dtype="int16", **how):
        return write_raster(tmp_path / name, ramp(bands, rows, cols, dtype), **how)

    return write


def starfm(target, coarse, fine, output="out.tif"):
    def source(path, day):
        return path if isinstance(path, RasterSource) else RasterSource(path, date=day)

    pair = ReferencePair(source(coarse, "2020-03-08"), source(fine, "2020-03-08"))
    return Job(
        "starfm", {"coarse_target": source(target, "2020-04-02"), "references": (pair,)}, output
    )


def errors(job):
    return [(item.place, item.sentence) for item in inspect(job)[1] if item.level == ERROR]


def osr_points(wkt, target_wkt, points):
    """Transformed by GDAL itself, as a second opinion."""
    one, other = osr.SpatialReference(wkt), osr.SpatialReference(target_wkt)
    for reference in (one, other):
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return np.array(osr.CoordinateTransformation(one, other).TransformPoints(points))[:, :2]


def test_images_on_one_grid_have_no_errors_and_full_information(make, tmp_path):
    fine = make("fine.tif", bands=2, nodata=-9999)
    coarse = make("coarse.tif", 2, 3, 2, geotransform=(500_000, 300, 0, 5_000_000, 0, -300))
    job = starfm(coarse, coarse, fine, str(tmp_path / "out.tif"))
    infos, findings = inspect(job)
    assert [item for item in findings if item.level == ERROR] == []
    info = infos["fine 1"]
    assert (info.width, info.height, info.bands, info.dtype) == (30, 20, 2, "int16")
    assert (info.crs, info.nodata, info.same_crs) == ("EPSG:32633", -9999, True)
    assert info.transform == (30, 0, 500_000, 0, -30, 5_000_000)
    assert info.extent == (500_000, 4_999_400, 500_900, 5_000_000)
    assert infos["coarse_target"].pixel == (300, 300)


def test_sinusoidal_modis_is_placed_in_utm_as_gdal_places_it(make, tmp_path):
    # A MODIS tile's corner at 15 degrees east, 45 degrees north, cells of 463.3 m.
    size = 463.3127165
    x, y = osr_points(crs_wkt(32633), crs_wkt(SINUSOIDAL), [(500_000, 5_000_000)])[0]
    origin = (x - 5 * size, size, 0, y + 5 * size, 0, -size)
    coarse = make("MOD.tif", 40, 50, geotransform=origin, crs=SINUSOIDAL)
    fine = make("fine.tif")
    infos, findings = inspect(starfm(coarse, coarse, fine, str(tmp_path / "out.tif")))
    info = infos["coarse_target"]

    cols, rows = np.meshgrid(np.linspace(0, 50, 501), np.linspace(0, 40, 401))
    every = np.stack([origin[0] + cols.ravel() * size, origin[3] - rows.ravel() * size], axis=1)
    every = osr_points(crs_wkt(SINUSOIDAL), crs_wkt(32633), every.tolist())
    box = [*every.min(axis=0), *every.max(axis=0)]
    # Curved sides bulge between the points that are transformed; far below a fine pixel here.
    assert info.extent == pytest.approx(box, abs=1.0)

    centre = [(origin[0] + (25 + i) * size, origin[3] - (20 + j) * size)
              for i, j in ((0, 0), (1, 0), (0, 1))]  # fmt: skip
    corner, right, below = osr_points(crs_wkt(SINUSOIDAL), crs_wkt(32633), centre)
    assert info.pixel == pytest.approx(
        (math.dist(corner, right), math.dist(corner, below)), abs=0.01
    )
    assert info.pixel[0] == pytest.approx(size, rel=0.01)  # along a parallel
    assert info.pixel[1] > 1.01 * info.pixel[0]  # meridians are slanted here
    assert not info.same_crs
    assert not any(item.level == ERROR for item in findings)
    assert any(item.level == INFO and "on the fly" in item.sentence for item in findings)


def test_a_rotated_image_has_its_true_pixel_size_and_box(make, tmp_path):
    fine = make("fine.tif", geotransform=ROTATED)
    info = inspect(starfm(fine, fine, fine, str(tmp_path / "o.tif")))[0]["fine 1"]
    assert info.pixel == pytest.approx((30, 30))
    assert info.extent == pytest.approx((500_000, 4_999_520, 501_080, 5_000_540))


def test_the_same_crs_written_differently_is_the_same(make, tmp_path):
    fine = make("fine.tif")
    coarse = make("coarse.img", driver="ENVI")  # writes its WKT in ESRI's words
    infos, _ = inspect(starfm(coarse, coarse, fine, str(tmp_path / "out.tif")))
    assert infos["coarse_target"].same_crs
    assert infos["coarse_target"].extent == infos["fine 1"].extent


def test_an_image_without_crs_keeps_its_own_coordinates(make, tmp_path):
    coarse = make("coarse.tif", 2, 3, geotransform=None, crs=None)
    infos, findings = inspect(starfm(coarse, coarse, make("fine.tif"), str(tmp_path / "o.tif")))
    info = infos["coarse_target"]
    assert (info.crs, info.extent, info.pixel, info.same_crs) == ("", (0, 0, 3, 2), (1, 1), True)
    assert any("coarse.tif has no CRS" in item.sentence for item in findings)


def test_an_image_that_has_no_place_in_the_crs_of_the_fine_one_is_an_error(make, tmp_path):
    fine = make("fine.tif", crs="+proj=gnom +lat_0=90 +lon_0=0 +datum=WGS84")
    south = make("south.tif", geotransform=(0, 0.01, 0, -70, 0, -0.01), crs=4326)
    job = starfm(south, south, fine, str(tmp_path / "out.tif"))
    assert inspect(job)[0]["coarse_target"].extent is None
    assert any(
        place == "coarse_target" and "south.tif cannot be transformed from EPSG:4326" in sentence
        for place, sentence in errors(job)
    )


def test_a_stated_nodata_counts_before_the_files_own(make, tmp_path):
    path = make("fine.tif", nodata=-9999)
    job = starfm(RasterSource(path, nodata=0.0), path, path, str(tmp_path / "out.tif"))
    infos, _ = inspect(job)
    assert (infos["coarse_target"].nodata, infos["fine 1"].nodata) == (0, -9999)


@pytest.mark.parametrize("exceptions", [False, True], ids=["quiet-gdal", "gdal-raises"])
def test_every_file_that_cannot_be_opened_is_one_error_at_its_place(
    make, tmp_path, exceptions, capfd
):
    fine = make("fine.tif")
    text = tmp_path / "notes.tif"
    text.write_text("no raster")
    missing = str(tmp_path / "missing.tif")
    if exceptions:
        gdal.UseExceptions()
    try:
        found = errors(starfm(missing, str(text), fine, str(tmp_path / "out.tif")))
        assert bool(gdal.GetUseExceptions()) is exceptions
    finally:
        gdal.DontUseExceptions()
    assert [place for place, _ in found] == ["coarse_target", "references"]
    assert found[0][1] == f"missing.tif does not exist ({missing}). Choose another file."
    assert found[1][1].startswith("notes.tif cannot be opened (")
    assert found[1][1].endswith("Check that the file is a raster, complete, and opens in QGIS.")
    assert "ERROR" not in capfd.readouterr().err  # nothing goes to a console nobody sees


@pytest.mark.parametrize(
    ("driver", "name", "share"), [("GTiff", "x.tif", 0.5), ("ENVI", "x.img", 0.9)]
)
@pytest.mark.parametrize("exceptions", [False, True], ids=["quiet-gdal", "gdal-raises"])
def test_a_truncated_file_is_an_error_before_it_runs(
    make, tmp_path, driver, name, share, exceptions
):
    fine = make("fine.tif")
    cut = make(name, bands=4, driver=driver)
    os.truncate(cut, int(os.path.getsize(cut) * share))
    if exceptions:
        gdal.UseExceptions()
    try:
        found = errors(starfm(cut, fine, fine, str(tmp_path / "out.tif")))
    finally:
        gdal.DontUseExceptions()
    assert ("coarse_target", f"{name} is damaged") in [(p, s.split(":")[0]) for p, s in found]
    assert all("Copy or download it again." in s for _, s in found if "damaged" in s)


def test_a_file_that_is_mended_is_seen_at_once(make, tmp_path):
    fine = make("fine.tif")
    other = make("other.tif")
    whole = tmp_path / "copy.tif"
    shutil.copy(other, whole)
    os.truncate(whole, 150)
    job = starfm(other, other, str(whole), str(tmp_path / "out.tif"))
    assert [place for place, _ in errors(job)] == ["references"]
    shutil.copy(fine, whole)
    assert errors(job) == []


def test_a_container_of_images_is_refused_with_their_names(make, tmp_path):
    path = str(tmp_path / "two.tif")
    for append in ("NO", "YES"):
        gdal.Translate(path, make("one.tif"), creationOptions=[f"APPEND_SUBDATASET={append}"])
    fine = make("fine.tif")
    archive = tmp_path / "tables.gpkg"
    # A GeoPackage with two rasters has no image of its own.
    for name, how in (("first", []), ("second", ["APPEND_SUBDATASET=YES"])):
        gdal.Translate(
            str(archive), make("b.tif", dtype="uint8"), format="GPKG",
            creationOptions=[f"RASTER_TABLE={name}", *how],
        )  # fmt: skip
    found = errors(starfm(str(archive), fine, fine, str(tmp_path / "out.tif")))
    assert found[0][0] == "coarse_target"
    assert "tables.gpkg is a container of 2 images. Choose one of them" in found[0][1]
    assert f"GPKG:{archive}:first" in found[0][1]
    one = starfm(f"GPKG:{archive}:first", fine, fine, str(tmp_path / "out.tif"))
    assert inspect(one)[0]["coarse_target"].width == 30


def test_complex_values_are_refused_with_advice(make, tmp_path):
    fine = make("fine.tif")
    found = errors(starfm(make("slc.tif", dtype="complex64"), fine, fine, str(tmp_path / "o.tif")))
    assert found[0][0] == "coarse_target"
    assert "slc.tif has complex values (cfloat32). Compute their amplitude first" in found[0][1]


def test_an_unknown_method_and_an_empty_job_are_findings_not_exceptions(qgis_app):
    assert "no method 'magic'" in errors(Job("magic", {}, "out.tif"))[0][1]
    places = [place for place, _ in errors(Job("starfm", {}, "out.tif"))]
    assert places[:2] == ["coarse_target", "references"]


def test_one_image_in_two_places_is_reported_once_per_place(make, tmp_path):
    missing = str(tmp_path / "missing.tif")
    found = errors(starfm(missing, missing, missing, str(tmp_path / "out.tif")))
    assert [place for place, _ in found] == ["coarse_target", "references"]


def test_dimensions_come_from_the_geotransform_not_from_the_map(make, tmp_path):
    # QGIS shows rotated images through a warp with other rows and columns.
    fine = make("fine.tif", geotransform=ROTATED)
    assert UTM33 != ROTATED
    info = inspect(starfm(fine, fine, fine, str(tmp_path / "o.tif")))[0]["fine 1"]
    assert (info.width, info.height) == (30, 20)
