"""From layers and files to a job."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
import pytest
from layers_rasters import UTM33, ramp, write_raster
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsDateTimeRange,
    QgsLayerMetadata,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, Qt
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.grid import window_of
from rasterfuse.plugin.job import Job
from rasterfuse.plugin.layers import files
from rasterfuse.plugin.layers.header import read_header
from rasterfuse.plugin.layers.request import (
    Image,
    JobOptions,
    build_job,
    guess_date,
    pair_up,
    source_of,
)

MODIS = [f"sur_refl_b{number:02}_1" for number in range(1, 8)]
OLI = ["coastal", "blue", "green", "red", "nir", "swir1", "swir2"]


@pytest.fixture
def raster(qgis_app, tmp_path):
    def make(name="image.tif", bands=1, **how):
        return write_raster(tmp_path / name, ramp(bands), **how)

    return make


def moment(day: str) -> QDateTime:
    return QDateTime.fromString(f"{day}T00:00:00Z", Qt.DateFormat.ISODate)


# --- dates ----------------------------------------------------------------------------------------


def test_the_date_comes_from_the_best_source_that_knows_it(raster):
    path = raster("x_20200101.tif", tags={"DATE_ACQUIRED": "2020-02-02"})
    layer = QgsRasterLayer(path, "of 2020-05-05")
    assert guess_date(layer) == "2020-02-02"  # the file's metadata before its name

    extent = QgsLayerMetadata.Extent()
    extent.setTemporalExtents([QgsDateTimeRange(moment("2020-03-03"), moment("2020-03-19"))])
    metadata = layer.metadata()
    metadata.setExtent(extent)
    layer.setMetadata(metadata)
    assert guess_date(layer) == "2020-03-03"  # the layer's metadata before the file's

    temporal = layer.temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    temporal.setFixedTemporalRange(QgsDateTimeRange(moment("2020-04-04"), moment("2020-04-05")))
    assert guess_date(layer) == "2020-03-03"  # not while they are switched off
    temporal.setIsActive(True)
    assert guess_date(layer) == "2020-04-04"


@pytest.mark.parametrize(
    "tags",
    [
        {"start_time": "2022-07-24T10:45:26"},  # EnMAP
        {"RANGEBEGINNINGDATE": "2022-07-24"},  # MODIS
        {"PRODUCT_START_TIME": "2022-07-24T10:10:31.024Z"},  # Sentinel-2
        {"NC_GLOBAL#time_coverage_start": "20220724T000000Z"},
        {"RASTERFUSE_JOB": '{"inputs": {"coarse_target": {"date": "2022-07-24"}}}'},
    ],
)
def test_the_date_is_read_from_the_metadata_of_common_products(raster, tags):
    assert guess_date(raster("image_20010101.tif", tags=tags)) == "2022-07-24"


def test_the_day_on_which_a_file_was_written_is_not_the_day_of_the_image(raster):
    assert guess_date(raster(tags={"TIFFTAG_DATETIME": "2021:05:06 10:00:00"})) is None


def test_the_layer_name_helps_when_the_file_name_does_not(raster):
    assert guess_date(QgsRasterLayer(raster("tm0711.tif"), "Landsat 2001-07-11")) == "2001-07-11"


def test_a_folder_is_not_taken_for_a_date_but_an_archive_is(raster, tmp_path):
    folder = tmp_path / "20230101"
    folder.mkdir()
    assert guess_date(write_raster(folder / "B4.tif", ramp(1))) is None
    archive = folder / "LC08_195025_20130707.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(folder / "B4.tif", "B4.tif")
    assert guess_date(f"/vsizip/{archive}/B4.tif") == "2013-07-07"


def test_the_date_of_a_subdataset_is_that_of_its_file():
    path = 'HDF4_EOS:EOS_GRID:"/data/MOD09GA.A2020068.h18v04.hdf":MODIS_Grid_500m_2D:sur_refl_b01_1'
    assert guess_date(path) == "2020-03-08"


# --- sources --------------------------------------------------------------------------------------


def test_a_file_layer_is_handed_over_as_its_file(raster):
    path = raster("LC08_20200308.tif")
    source = source_of(Image(QgsRasterLayer(path, "March"), bands=(1,), scale=0.1, cell_size=500))
    assert source.path == path
    assert (source.label, source.date, source.bands) == ("March", "2020-03-08", (1,))
    assert (source.scale, source.cell_size) == (0.1, 500)


def test_an_empty_date_is_not_guessed_again(raster):
    assert source_of(Image(raster("LC08_20200308.tif"), date="")).date is None


def test_a_date_that_is_none_is_refused(raster):
    with pytest.raises(InputError, match=r"'8.3.2020' is no date. Write it as YYYY-MM-DD"):
        source_of(Image(raster(), date="8.3.2020"))


def test_a_relative_path_is_made_absolute_for_the_worker(raster, tmp_path, monkeypatch):
    raster("here.tif")
    monkeypatch.chdir(tmp_path)
    assert source_of(Image("here.tif")).path == str(tmp_path / "here.tif")
    assert source_of(Image(QgsRasterLayer("here.tif", "x"))).path == str(tmp_path / "here.tif")


def test_paths_inside_archives_and_files_stay_as_they_are(raster, tmp_path):
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(raster("inner.tif"), "inner.tif")
    inside = f"/vsizip/{archive}/inner.tif"
    assert source_of(Image(QgsRasterLayer(inside, "x"))).path == inside
    subdataset = f"GTIFF_DIR:1:{raster('plain.tif')}"
    assert source_of(Image(QgsRasterLayer(subdataset, "x"))).path == subdataset


def test_open_options_that_change_nothing_are_dropped(raster):
    path = raster()
    layer = QgsRasterLayer(f"{path}|option:NUM_THREADS=2", "x")
    assert layer.isValid()
    assert source_of(Image(layer)).path == path


def test_open_options_that_change_the_image_are_honoured_by_a_copy(qgis_app, tmp_path):
    path = write_raster(tmp_path / "big.tif", ramp(1, 64, 64))
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.BuildOverviews("AVERAGE", [2])
    dataset = None
    layer = QgsRasterLayer(f"{path}|option:OVERVIEW_LEVEL=0", "half")
    assert (layer.width(), layer.height()) == (32, 32)
    header = read_header(source_of(Image(layer)).path)
    assert (header.width, header.height) == (32, 32)


def test_a_layer_that_is_computed_is_exported_with_its_values_and_place(raster):
    path = raster("base.tif")
    layer = QgsRasterLayer(
        "?crs=EPSG:32633&extent=500000,4999400,500900,5000000&width=30&height=20"
        f'&formula="a@1"%20*%202&a:provider=gdal&a:uri={path}',
        "doubled",
        "virtualraster",
    )
    assert layer.isValid()
    source = source_of(Image(layer))
    dataset = gdal.Open(source.path)
    assert np.array_equal(dataset.ReadAsArray(), ramp(1)[0] * 2)
    assert dataset.GetGeoTransform() == pytest.approx(UTM33)
    assert dataset.GetSpatialRef().GetAuthorityCode(None) == "32633"
    assert source.name == "doubled"
    written = os.stat(source.path).st_mtime_ns
    assert os.stat(source_of(Image(layer)).path).st_mtime_ns == written  # not once per keystroke


def test_a_computed_layer_that_is_too_large_is_refused_with_advice(raster, monkeypatch):
    monkeypatch.setattr(files, "EXPORT_LIMIT", 599)
    layer = QgsRasterLayer(
        "?crs=EPSG:32633&extent=500000,4999400,500900,5000000&width=30&height=20"
        f'&formula="a@1"&a:provider=gdal&a:uri={raster("base.tif")}',
        "large",
        "virtualraster",
    )
    with pytest.raises(InputError, match=r"large .* 30 x 20 pixels of 1 bands .* Save it as a Geo"):
        source_of(Image(layer))


def test_a_map_service_is_refused_with_advice(qgis_app, tmp_path):
    layer = QgsRasterLayer(f"type=xyz&url=file://{tmp_path}/%7Bz%7D.png&zmax=3", "tiles", "wms")
    assert layer.isValid()
    with pytest.raises(
        InputError, match=r"tiles .* delivers pictures, not values. Choose a raster"
    ):
        source_of(Image(layer))


def test_what_is_no_usable_raster_is_refused_with_advice(raster, tmp_path):
    with pytest.raises(InputError, match=r"fields is no raster layer. Choose a raster"):
        source_of(Image(QgsVectorLayer("Point", "fields", "memory")))
    with pytest.raises(
        InputError, match=r"The layer gone is broken: .*no.tif .* Repair its source"
    ):
        source_of(Image(QgsRasterLayer(str(tmp_path / "no.tif"), "gone")))
    with pytest.raises(InputError, match=r"path of an image is empty. Choose a layer or a file"):
        source_of(Image(" "))


def test_the_crs_that_a_user_gives_to_a_layer_reaches_the_worker(raster):
    path = raster("nowhere.tif", crs=None, bands=2, nodata=-1, names=["red", "nir"], scale=0.5)
    layer = QgsRasterLayer(path, "nowhere")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    source = source_of(Image(layer))
    dataset = gdal.Open(source.path)
    assert dataset.GetSpatialRef().GetAuthorityCode(None) == "32633"
    assert dataset.GetGeoTransform() == UTM33
    band = dataset.GetRasterBand(2)
    assert (band.GetNoDataValue(), band.GetScale(), band.GetDescription()) == (-1, 0.5, "nir")
    assert np.array_equal(dataset.ReadAsArray(), ramp(2))
    assert gdal.Open(path).GetSpatialRef() is None  # the user's file is not touched


def test_a_crs_means_nothing_for_pixels_without_coordinates(raster):
    path = raster("pixels.tif", crs=None, geotransform=None)
    layer = QgsRasterLayer(path, "pixels")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    assert source_of(Image(layer)).path == path


def test_the_nodata_value_that_a_user_gives_to_a_layer_is_used(raster):
    layer = QgsRasterLayer(raster("zeros.tif"), "zeros")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0, 0)])
    assert source_of(Image(layer)).nodata == 0
    assert source_of(Image(layer, nodata=7)).nodata == 7
    own = QgsRasterLayer(raster("own.tif", nodata=-9), "own")
    own.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0, 0)])
    assert source_of(Image(own)).nodata is None  # the file's own counts


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs_are_made_by_date_in_the_order_of_the_fine_images():
    coarse = [Image(f"MOD09GA.A2020{day:03}.hdf") for day in (100, 68, 93)]
    fine = [Image("L_2020-04-02.tif"), Image("L.tif", date="2020-03-08"), Image("20200409_L.tif")]
    pairs = pair_up(coarse, fine)
    assert [one.layer for one, _ in pairs] == [
        "MOD09GA.A2020093.hdf", "MOD09GA.A2020068.hdf", "MOD09GA.A2020100.hdf",
    ]  # fmt: skip
    assert [other for _, other in pairs] == fine


def test_pairs_are_made_by_order_when_a_date_is_missing():
    coarse = [Image("b_20200409.tif"), Image("a_20200308.tif")]
    fine = [Image("x_20200308.tif"), Image("y.tif")]
    assert pair_up(coarse, fine) == list(zip(coarse, fine))


def test_unequal_numbers_of_references_are_refused():
    with pytest.raises(InputError, match=r"2 coarse and 1 fine .* Give one coarse image for every"):
        pair_up([Image("a.tif"), Image("b.tif")], [Image("c.tif")])


# --- jobs -----------------------------------------------------------------------------------------


def test_a_job_has_the_matched_bands_of_all_images(raster, tmp_path):
    target = raster("MOD09GA.A2020077.tif", 7, names=MODIS)
    coarse = raster("MOD09GA.A2020068.tif", 7, names=MODIS)
    fine = raster("L_20200308.tif", 7, names=OLI)
    other = raster("S_20200317.tif", 4, names=["nir", "red", "green", "blue"])
    job = build_job(
        "starfm",
        {"coarse_target": Image(target)},
        [(Image(coarse), Image(fine)), (Image(target), Image(fine))],
        str(tmp_path / "out.tif"),
        JobOptions(parameters={"window": 31}, device="cpu", harmonise="never", coregister="auto"),
    )
    assert job.sources["coarse_target"].bands == (3, 4, 1, 2, 6, 7)
    assert [pair.coarse.bands for pair in job.references] == [(3, 4, 1, 2, 6, 7)] * 2
    assert [pair.fine.bands for pair in job.references] == [(2, 3, 4, 5, 6, 7)] * 2
    assert job.sources["coarse_target"].date == "2020-03-17"
    assert (job.parameters, job.device) == ({"window": 31}, "cpu")
    assert (job.harmonise, job.coregister) == ("never", "auto")
    assert Job.from_json(job.to_json()) == job

    one = build_job(
        "starfm",
        {"coarse_target": Image(target, bands=(1, 2))},
        [(Image(coarse), Image(fine)), (Image(coarse), Image(other))],
        "out.tif",
        JobOptions(),
    )
    assert [source.bands for source in one.sources.values()] == [
        (1, 2), (1, 2), (4, 5), (1, 2), (2, 1),
    ]  # fmt: skip
    assert os.path.isabs(one.output)


def test_an_incomplete_job_is_built_for_the_check_to_complain_about(raster):
    job = build_job("starfm", {}, [], "out.tif", JobOptions())
    assert job.sources == {}
    job = build_job("brovey", {"panchromatic": Image("missing.tif")}, [], "out.tif", JobOptions())
    assert job.sources["panchromatic"].path == "missing.tif"


def job_with_extent(path, extent):
    images = {"multispectral": Image(path), "panchromatic": Image(path)}
    return build_job("brovey", images, [], "out.tif", JobOptions(extent=extent))


def test_an_extent_in_another_crs_is_transformed_to_that_of_the_fine_image(raster):
    path = raster()
    layer = QgsRasterLayer(path, "x")
    geographic = QgsCoordinateReferenceSystem("EPSG:4326")
    utm = QgsReferencedRectangle(layer.extent(), layer.crs())
    assert job_with_extent(path, utm).extent == (500_000, 4_999_400, 500_900, 5_000_000)
    small = QgsReferencedRectangle(QgsRectangle(15.001, 45.149, 15.002, 45.150), geographic)
    xmin, ymin, xmax, ymax = job_with_extent(path, small).extent
    # 0.001 degrees are 78.6 m of longitude and 111.1 m of latitude there.
    assert xmax - xmin == pytest.approx(78.6, abs=1)
    assert ymax - ymin == pytest.approx(111.1, abs=1)
    assert 500_000 < xmin < xmax < 500_900
    assert job_with_extent(path, None).extent is None


def test_an_extent_of_an_image_without_coordinates_covers_the_same_pixels_for_the_worker(raster):
    path = raster("pixels.tif", crs=None, geotransform=None)
    layer = QgsRasterLayer(path, "x")
    top_rows = QgsRectangle(2, layer.extent().yMaximum() - 5, 10, layer.extent().yMaximum())
    extent = job_with_extent(path, QgsReferencedRectangle(top_rows, layer.crs())).extent
    header = read_header(path)
    window = window_of(extent, header.transform, header.width, header.height)
    assert (window.row, window.col, window.rows, window.cols) == (0, 2, 5, 8)


def test_an_extent_that_has_no_place_in_the_crs_of_the_image_is_refused(raster):
    path = raster(crs="+proj=gnom +lat_0=90 +lon_0=0 +datum=WGS84")
    far = QgsReferencedRectangle(
        QgsRectangle(0, -80, 10, -70), QgsCoordinateReferenceSystem("EPSG:4326")
    )
    with pytest.raises(
        InputError, match=r"extent cannot be transformed from EPSG:4326.* Draw it in"
    ):
        job_with_extent(path, far)


def test_an_unknown_method_is_named(raster):
    with pytest.raises(InputError, match=r"no method 'magic'. Choose one of"):
        build_job("magic", {}, [], "out.tif", JobOptions())


def test_gdal_exceptions_switched_on_by_another_plugin_change_nothing(raster, tmp_path):
    truncated = tmp_path / "cut.tif"
    shutil.copy(raster("whole.tif"), truncated)
    os.truncate(truncated, 100)
    gdal.UseExceptions()
    try:
        job = job_with_extent(str(truncated), None)
        assert job.sources["panchromatic"].path == str(truncated)
        assert gdal.GetUseExceptions() == 1
    finally:
        gdal.DontUseExceptions()
