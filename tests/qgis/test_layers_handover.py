"""Formats that QGIS opens and the worker does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from layers_rasters import SINUSOIDAL, UTM33, ramp, write_raster
from osgeo import gdal
from qgis.core import QgsRasterLayer
from rasterfuse.models.errors import CancelledError, OutputError, RasterReadError
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair
from rasterfuse.plugin.layers.handover import hand_over
from rasterfuse.plugin.layers.header import read_header
from rasterfuse.plugin.layers.request import Image, source_of

# What rasterio's wheel reads, as far as these tests go.
DRIVERS = ["GTiff", "VRT", "ENVI", "HFA", "JP2OpenJPEG", "netCDF", "HDF5", "HDF5Image"]


@pytest.fixture
def hdf4(qgis_app, tmp_path):
    if gdal.GetDriverByName("HDF4Image") is None:
        pytest.skip("this GDAL has no HDF4")

    def make(name="MOD09.A2020068.hdf", values=None, **how):
        values = ramp(3) if values is None else values
        return write_raster(tmp_path / name, values, driver="HDF4Image", **how)

    return make


def job_of(*sources, extra=None):
    inputs = {"coarse_target": sources[0]}
    if len(sources) > 1:
        inputs["references"] = (ReferencePair(*sources[1:3]),)
    return Job("starfm", inputs, "out.tif", parameters=extra or {})


def test_hdf4_becomes_a_geotiff_with_the_same_pixels_and_place(hdf4, tmp_path):
    source = RasterSource(hdf4(nodata=-28672, crs=SINUSOIDAL), date="2020-03-08")
    swapped = hand_over(job_of(source), DRIVERS, str(tmp_path / "work")).sources["coarse_target"]
    header = read_header(swapped.path)
    assert header.driver == "GTiff"
    assert header.transform == (30, 0, 500_000, 0, -30, 5_000_000)
    assert "Sinusoidal" in header.wkt and "6371007.181" in header.wkt
    assert header.nodata == (-28672, -28672, -28672)
    assert header.dtype == "int16"
    assert np.array_equal(gdal.Open(swapped.path).ReadAsArray(), ramp(3))
    assert (swapped.date, swapped.label) == ("2020-03-08", "MOD09.A2020068.hdf")


def test_a_subdataset_of_hdf4_is_handed_over_by_its_own_name(hdf4, tmp_path):
    path = hdf4(options=["RANK=2"], nodata=-28672)  # every band a data set of its own, as in MODIS
    container = gdal.Open(path)
    inside = [name for name, _ in container.GetSubDatasets()]
    assert len(inside) == 3
    layer = QgsRasterLayer(inside[1], "sur_refl_b02")
    assert layer.isValid()
    source = source_of(Image(layer))
    assert (source.path, source.date) == (inside[1], "2020-03-08")
    swapped = hand_over(job_of(source), DRIVERS, str(tmp_path / "work")).sources["coarse_target"]
    assert np.array_equal(gdal.Open(swapped.path).ReadAsArray(), ramp(3)[1])
    assert swapped.label == "sur_refl_b02"


def test_only_the_chosen_bands_are_copied_in_their_order(hdf4, tmp_path):
    source = RasterSource(hdf4(), bands=(3, 1))
    swapped = hand_over(job_of(source), DRIVERS, str(tmp_path)).sources["coarse_target"]
    assert swapped.bands == ()
    assert np.array_equal(gdal.Open(swapped.path).ReadAsArray(), ramp(3)[[2, 0]])


def test_nan_scale_offset_names_and_rotation_survive(tmp_path):
    values = ramp(2, dtype="float32")
    values[:, 3, 4] = np.nan
    path = write_raster(
        tmp_path / "x.pix", values, driver="GTiff", scale=0.0001, offset=-0.1, nodata=np.nan,
        geotransform=(500_000.0, 24.0, 18.0, 5_000_000.0, 18.0, -24.0), names=["red", "nir"],
    )  # fmt: skip
    # A worker without any GeoTIFF does not exist; it makes every detail pass through the copy.
    swapped = hand_over(job_of(RasterSource(path)), ["ENVI"], str(tmp_path / "w"))
    dataset = gdal.Open(swapped.sources["coarse_target"].path)
    assert dataset.GetGeoTransform() == (500_000, 24, 18, 5_000_000, 18, -24)
    for number, name in ((1, "red"), (2, "nir")):
        band = dataset.GetRasterBand(number)
        assert (band.GetScale(), band.GetOffset(), band.GetDescription()) == (0.0001, -0.1, name)
        assert np.isnan(band.GetNoDataValue())
    assert np.array_equal(dataset.ReadAsArray(), values, equal_nan=True)


def test_four_bands_of_bytes_do_not_turn_into_colours_with_a_mask(hdf4, tmp_path):
    path = hdf4(values=ramp(4, 8, 8, "uint8"))
    swapped = hand_over(job_of(RasterSource(path)), DRIVERS, str(tmp_path / "w"))
    dataset = gdal.Open(swapped.sources["coarse_target"].path)
    band = dataset.GetRasterBand(1)
    assert dataset.GetRasterBand(4).GetColorInterpretation() != gdal.GCI_AlphaBand
    assert band.GetMaskFlags() == gdal.GMF_ALL_VALID


def test_what_the_worker_can_open_is_left_alone(tmp_path):
    job = job_of(RasterSource(write_raster(tmp_path / "x.tif", ramp(1))))
    assert hand_over(job, DRIVERS, str(tmp_path / "work")) is job
    assert not (tmp_path / "work").exists()
    assert hand_over(job, [], str(tmp_path / "work")) is job  # a worker that did not say


def test_everything_else_of_the_job_stays(hdf4, tmp_path):
    fine = RasterSource(write_raster(tmp_path / "fine.tif", ramp(3)))
    coarse = RasterSource(hdf4(), scale=0.5, offset=1, nodata=7, cell_size=500, name="MODIS")
    job = job_of(coarse, coarse, fine, extra={"window": 31})
    swapped = hand_over(job, DRIVERS, str(tmp_path / "work"))
    assert swapped.references[0].fine == fine
    first = swapped.sources["coarse_target"]
    assert (first.scale, first.offset, first.nodata, first.cell_size) == (0.5, 1, 7, 500)
    assert first.name == "MODIS"
    assert swapped.references[0].coarse == first  # the same image is copied once
    assert [path.name for path in (tmp_path / "work").glob("*.tif")] == ["image_1.tif"]
    assert (swapped.parameters, swapped.output) == (job.parameters, job.output)


def test_a_vrt_that_points_to_hdf4_is_copied_too(hdf4, tmp_path):
    vrt = str(tmp_path / "stack.vrt")
    gdal.Translate(vrt, hdf4(), format="VRT")
    swapped = hand_over(job_of(RasterSource(vrt)), DRIVERS, str(tmp_path / "work"))
    assert np.array_equal(gdal.Open(swapped.sources["coarse_target"].path).ReadAsArray(), ramp(3))
    plain = str(tmp_path / "plain.vrt")
    gdal.Translate(plain, write_raster(tmp_path / "x.tif", ramp(1)), format="VRT")
    job = job_of(RasterSource(plain))
    assert hand_over(job, DRIVERS, str(tmp_path / "work")) is job


def test_another_driver_for_the_same_format_is_no_reason_to_copy(tmp_path):
    if gdal.GetDriverByName("JP2OpenJPEG") is None:
        pytest.skip("this GDAL has no JPEG 2000")
    path = str(tmp_path / "x.jp2")
    gdal.Translate(path, write_raster(tmp_path / "x.tif", ramp(1)), format="JP2OpenJPEG")
    job = job_of(RasterSource(path))
    assert hand_over(job, ["GTiff", "JP2KAK"], str(tmp_path / "w")) is job


@pytest.mark.parametrize("exceptions", [False, True], ids=["quiet-gdal", "gdal-raises"])
def test_a_damaged_image_is_one_sentence_and_leaves_nothing(tmp_path, exceptions):
    path = write_raster(tmp_path / "cut.tif", ramp(4, 100, 100))
    os.truncate(path, os.path.getsize(path) // 2)
    if exceptions:
        gdal.UseExceptions()
    try:
        with pytest.raises(
            RasterReadError, match=r"cut.tif \(GTiff\) cannot be copied .* complete"
        ):
            hand_over(job_of(RasterSource(path)), ["ENVI"], str(tmp_path / "work"))
    finally:
        gdal.DontUseExceptions()
    assert os.listdir(tmp_path / "work") == []


def test_a_truncated_hdf4_is_left_to_the_worker_which_names_it(hdf4, tmp_path):
    path = hdf4()
    os.truncate(path, os.path.getsize(path) // 2)
    job = job_of(RasterSource(path))
    assert hand_over(job, DRIVERS, str(tmp_path / "work")) is job


def test_a_band_that_does_not_exist_is_named(hdf4, tmp_path):
    with pytest.raises(RasterReadError, match=r"has 3 bands, not a band 7. Choose others"):
        hand_over(job_of(RasterSource(hdf4(), bands=(7,))), DRIVERS, str(tmp_path / "work"))


def test_a_cancel_stops_the_copy_and_leaves_nothing(hdf4, tmp_path):
    with pytest.raises(CancelledError, match=r"cancelled. Nothing was written"):
        hand_over(job_of(RasterSource(hdf4())), DRIVERS, str(tmp_path / "work"), lambda: True)
    assert os.listdir(tmp_path / "work") == []


def test_a_folder_that_cannot_be_made_is_named(hdf4, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OutputError, match=r"folder .*file.work cannot be made"):
        hand_over(job_of(RasterSource(hdf4())), DRIVERS, str(blocked / "work"))


def test_the_copy_is_tiled_and_compressed(tmp_path):
    values = np.zeros((1, 1024, 1024), dtype="int16")
    path = write_raster(tmp_path / "zeros.tif", values, geotransform=UTM33)
    swapped = hand_over(job_of(RasterSource(path)), ["ENVI"], str(tmp_path / "w"))
    copy = swapped.sources["coarse_target"].path
    assert gdal.Open(copy).GetRasterBand(1).GetBlockSize() == [256, 256]
    assert os.path.getsize(copy) < 100_000


def test_the_real_worker_reads_what_is_handed_over(hdf4, tmp_path):
    python = os.path.join(os.path.dirname(__file__), "..", "..", "build", "worker", "bin", "python")
    if not os.path.exists(python):
        pytest.skip("the worker's environment is not installed")
    script = (
        "import sys, json, rasterio\n"
        "from rasterio.env import Env\n"
        "with Env() as env: drivers = sorted(env.drivers())\n"
        "found = None\n"
        "if len(sys.argv) > 1:\n"
        "    with rasterio.open(sys.argv[1]) as f:\n"
        "        found = [f.count, f.nodata, f.crs.to_epsg(), int(f.read(3).sum())]\n"
        "print(json.dumps([drivers, found]))\n"
    )

    def worker(*paths):
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GDAL", "PROJ"))
        }
        out = subprocess.run(
            [python, "-E", "-c", script, *paths], capture_output=True, check=True, env=clean,
            timeout=120,
        )  # fmt: skip
        return json.loads(out.stdout)

    drivers, _ = worker()
    assert "HDF4Image" not in drivers
    job = hand_over(job_of(RasterSource(hdf4(nodata=-9))), drivers, str(tmp_path / "w"))
    _, found = worker(job.sources["coarse_target"].path)
    assert found == [3, -9, 32633, int(ramp(3)[2].sum())]
    assert sys.executable != python
