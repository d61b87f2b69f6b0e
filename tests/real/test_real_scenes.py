"""Real scenes: accuracy beside other programs, grids that do not fit, units that differ."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from boreas import BOREAS, BOREAS_BORDER, boreas_job
from rasterio.warp import Resampling, reproject
from tasks import DATA, read, run

pytestmark = pytest.mark.usefixtures("data")

# Mean band RMSE of the best of the C++ peers at its defaults, in stored values (reflectance x
# 10000), 32 pixels of border left out: imagefusion's STARFM, measured on this scene.
PEER = {("0524", "0711"): 108.9, ("0711", "0812"): 62.6}
KRANJ = DATA / "spatiotemporal" / "imagefusion_kranj_2020"


def path_of(place):
    if not place.exists():
        pytest.skip(f"{place} is missing.")
    return str(place)


# --- BOREAS ---


@pytest.fixture(scope="module", params=list(PEER), ids=" to ".join)
def task(request):
    return request.param


def boreas_error(path, after):
    truth = read(BOREAS / f"tm{after}", BOREAS_BORDER)
    error = read(path, BOREAS_BORDER) - truth
    return float(np.sqrt(np.nanmean(error**2, axis=(1, 2))).mean())


@pytest.fixture(scope="module")
def boreas(task, tmp_path_factory):
    """Errors of STARFM at its defaults, of its baseline and of a copy; the report of STARFM."""
    path_of(BOREAS / f"tm{task[0]}")
    folder = tmp_path_factory.mktemp("boreas")
    errors, reports = {"copy": boreas_error(BOREAS / f"tm{task[0]}", task[1])}, {}
    for model in ("starfm", "fine_plus_change"):
        output = folder / f"{model}.tif"
        reports[model] = run(boreas_job(model, *task, output))
        errors[model] = boreas_error(output, task[1])
    return errors, reports["starfm"]


def test_starfm_at_its_defaults_is_as_good_as_the_best_peer(boreas, task):
    errors, _ = boreas
    assert errors["starfm"] <= PEER[task]


def test_starfm_is_better_than_the_trivial_answers(boreas):
    errors, _ = boreas
    assert errors["starfm"] < errors["fine_plus_change"] < errors["copy"]


def test_boreas_is_fused_as_it_lies_there(boreas):
    """No CRS, whole numbers, small negative values: nothing is lost and nothing is invented."""
    _, report = boreas
    assert report["nodata_share"] == 0
    assert not report["harmonisation"]["applied"]
    with rasterio.open(report["path"]) as fused:
        assert fused.dtypes == ("int16",) * 3
        assert fused.crs is None
        assert fused.shape == (400, 400)
    answers = {answer["id"]: answer["mean"] for answer in report["trust"]["answers"]}
    assert answers["result"] < answers["copy_fine"]


# --- Kranj: coarse 0 to 1 against fine 0 to 10000, sinusoidal pixels of 29.9 x 30 m, gaps ---


def kranj_job(folder, model, fine_day, target_day):
    fine = KRANJ / "landsat" / "unfilled" / f"{fine_day}_191-28_kranj.tif"
    modis = KRANJ / "modis" / "filled"
    coarse, target = (modis / f"{day}_18-04_kranj.tif" for day in (fine_day, target_day))

    def source(place):
        return {"path": path_of(place), "date": None}

    return {
        "model": model,
        "inputs": {
            "coarse_target": source(target),
            "references": [{"coarse": source(coarse), "fine": source(fine)}],
        },
        "output": str(folder / "result.tif"),
    }


@pytest.fixture(scope="module", params=["starfm", "fine_plus_change"])
def kranj(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kranj")
    job = kranj_job(folder, request.param, "2020068", "2020077")
    return run(job), job["inputs"]["references"][0]["fine"]["path"]


def test_kranj_units_that_differ_are_noticed(kranj):
    report, _ = kranj
    assert report["harmonisation"]["applied"]
    assert "10000" in report["harmonisation"]["reason"]
    assert len(report["harmonisation"]["bands"]) == 6


def test_kranj_comes_out_exactly_where_the_fine_image_lies(kranj):
    report, fine_path = kranj
    with rasterio.open(report["path"]) as fused, rasterio.open(fine_path) as fine:
        assert tuple(fused.transform) == tuple(fine.transform)
        assert fused.crs == fine.crs
        assert fused.shape == fine.shape
        assert fused.dtypes == fine.dtypes
        assert fused.nodata == fine.nodata
        assert fused.res[0] != fused.res[1]  # 29.9 x 30 m


def test_kranj_gaps_stay_gaps_and_no_nodata_leaks(kranj):
    report, fine_path = kranj
    fused, fine = read(report["path"]), read(fine_path)
    assert np.isnan(fine).any()
    np.testing.assert_array_equal(np.isnan(fused), np.isnan(fine))
    assert np.nanmin(fused) > -2000
    assert np.nanmax(fused) < 16000


def test_kranj_keeps_the_detail_of_the_fine_image_in_its_place(kranj):
    """Nine days apart the detail hardly changes; a shift by one pixel would show."""
    report, fine_path = kranj
    fused, fine = read(report["path"])[3], read(fine_path)[3]
    here = correlation(fused, fine)
    assert here > 0.9
    for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert (
            correlation(np.roll(fused, shift, (0, 1))[1:-1, 1:-1], fine[1:-1, 1:-1]) < here - 0.02
        )


def correlation(one, other):
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[both], other[both])[0, 1])


# --- Landsat-8: grids that are off by fractions of a pixel ---

LANDSAT = {
    "pamplona": ("landsat8_pamplona", "ms_example.tif", "pan_example.tif"),
    "istanbul": ("landsat8_istanbul", "ms.tif", "pan.tif"),
}


@pytest.fixture(scope="module", params=list(LANDSAT))
def landsat(request, tmp_path_factory):
    folder, ms, pan = LANDSAT[request.param]
    place = DATA / "pansharpening" / folder
    return path_of(place / ms), path_of(place / pan), tmp_path_factory.mktemp(request.param)


def shift_between(one, other):
    """(rows, cols) by which ``one`` lies after ``other``, by phase correlation.

    The peak is sought among shifts of hundredths of a pixel (Guizar-Sicairos et al. 2008,
    doi:10.1364/OL.33.000156), up to two pixels away.
    """
    window = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    cross = np.fft.fft2(one * window) * np.conj(np.fft.fft2(other * window))
    cross /= np.maximum(np.abs(cross), 1e-12 * np.abs(cross).max())
    shifts = np.arange(-200, 201) / 100
    rows, cols = (np.exp(2j * np.pi * np.outer(shifts, np.fft.fftfreq(size))) for size in one.shape)
    peak = (rows @ cross @ cols.T).real
    at = np.unravel_index(peak.argmax(), peak.shape)
    return shifts[at[0]], shifts[at[1]]


def detail(image):
    """An image without what a box of 9 pixels keeps, scaled to unit spread; gaps are flat."""
    filled = np.where(np.isfinite(image), image, np.nanmean(image))
    padded = np.pad(filled, 4, mode="edge")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    box = (sums[9:, 9:] - sums[:-9, 9:] - sums[9:, :-9] + sums[:-9, :-9]) / 81
    return (filled - box) / (filled - box).std()


def test_the_ruler_of_these_tests_measures_right(landsat):
    """Pan shifted by known amounts, with noise."""
    fine = read(landsat[1])[0, 20:-20, 20:-20]
    rows, cols = np.fft.fftfreq(fine.shape[0])[:, None], np.fft.fftfreq(fine.shape[1])[None]
    for shift in ((0.0, 0.0), (0.3, -0.45), (-1.1, 0.08)):
        phase = np.exp(-2j * np.pi * (shift[0] * rows + shift[1] * cols))
        moved = np.fft.ifft2(np.fft.fft2(fine) * phase).real
        moved += 0.1 * fine.std() * np.random.default_rng(3).standard_normal(fine.shape)
        found = shift_between(detail(moved), detail(fine))
        np.testing.assert_allclose(found, shift, atol=0.03)


@pytest.mark.parametrize("model", ["gsa", "brovey"])
def test_the_sharpened_bands_are_aligned_with_pan_to_a_tenth_of_a_pixel(landsat, model):
    ms, pan, folder = landsat
    inputs = {"multispectral": {"path": ms}, "panchromatic": {"path": pan}}
    output = folder / f"{model}.tif"
    report = run({"model": model, "inputs": inputs, "output": str(output)})
    assert report["grid"]["ratio"] == pytest.approx(2, abs=0.01)
    with rasterio.open(output) as fused, rasterio.open(pan) as fine:
        assert tuple(fused.transform) == tuple(fine.transform)
        assert fused.shape == fine.shape
    fused, fine = read(output)[:, 20:-20, 20:-20], read(pan)[0, 20:-20, 20:-20]
    for band in fused[:3]:  # pan does not see the near infrared
        assert np.abs(shift_between(detail(band), detail(fine))).max() < 0.1


def averaged(path, like):
    """An image averaged over the pixels of another, by their georeferences."""
    with rasterio.open(path) as file, rasterio.open(like) as coarse:
        out = np.full((file.count, *coarse.shape), np.nan)
        reproject(
            file.read().astype("float64"), out, src_transform=file.transform, src_crs=file.crs,
            src_nodata=file.nodata, dst_transform=coarse.transform, dst_crs=coarse.crs,
            dst_nodata=np.nan, resampling=Resampling.average,
        )  # fmt: skip
    return out[:, 10:-12, 10:-12]


@pytest.mark.parametrize("model", ["gsa", "brovey"])
@pytest.mark.parametrize("landsat", ["istanbul"], indirect=True)
def test_the_colours_are_aligned_with_the_multispectral_image(landsat, model):
    """Averaged over multispectral pixels, the result is that image again.

    Not so for Pamplona, whose files place the colours 0.4 to 0.5 pixels of 30 m beside pan.
    """
    ms, pan, folder = landsat
    inputs = {"multispectral": {"path": ms}, "panchromatic": {"path": pan}}
    output = folder / f"{model}_ms.tif"
    run({"model": model, "inputs": inputs, "output": str(output)})
    for band, truth in zip(averaged(output, ms), read(ms)[:, 10:-12, 10:-12]):
        assert np.isfinite(band).all()
        assert correlation(band, truth) > 0.97
        # Half a pan pixel is a quarter of these: a mistake of it would show.
        assert np.abs(shift_between(detail(band), detail(truth))).max() < 0.1


def test_gsa_adds_detail_that_interpolation_lacks(landsat):
    ms, pan, folder = landsat
    inputs = {"multispectral": {"path": ms}, "panchromatic": {"path": pan}}
    output = folder / "gsa_detail.tif"
    report = run({"model": "gsa", "inputs": inputs, "output": str(output)})
    fused, fine = read(output)[:3, 20:-20, 20:-20], read(pan)[0, 20:-20, 20:-20]
    for band in fused:
        assert correlation(detail(band), detail(fine)) > 0.8
    assert report["trust"]["answers"][0]["id"] == "result"
