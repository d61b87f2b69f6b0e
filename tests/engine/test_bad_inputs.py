"""Whatever is wrong gets one sentence; neither a result nor a part of one is left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from rasterfuse.models.errors import FusionError, InputError, OutputError, RasterReadError
from rasterfuse.plugin.job import Limits

SIZE = 64


@pytest.fixture
def scene(rasters, rng):
    """Paths of a sound scene: coarse target and reference of 16 pixels, fine of 64."""
    fine = rng.random((2, SIZE, SIZE)).astype("float32")
    coarse = fine.reshape(2, 16, 4, 16, 4).mean(axis=(2, 4))
    grid = rasters.grid(120.0)
    return {
        "t": rasters.write("t", coarse + 0.1, grid),
        "c": rasters.write("c", coarse, grid),
        "f": rasters.write("f", fine),
    }


def job_of(rasters, scene, **options):
    return rasters.spatiotemporal(scene["t"], (scene["c"], scene["f"]), **options)


def content(path):
    return Path(path).read_bytes()


def assert_refused(rasters, job, kind, match):
    """One sentence of the kind, and nothing left of the result."""
    with pytest.raises(kind, match=match) as caught:
        rasters.fuse(job)
    assert_sentence(caught.value)
    assert rasters.leftovers() == []


def assert_sentence(error):
    text = str(error)
    assert text == error.sentence
    assert text.endswith((".", ")", "…"))
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text.split()) >= 6
    assert error.code in {"input", "read", "write", "cancelled", "out_of_memory"}


def test_the_scene_is_sound(rasters, scene):
    result, _ = rasters.fuse(job_of(rasters, scene))
    assert np.isfinite(result).all()


# --- inputs that do not fit together ---


def test_images_that_do_not_overlap(rasters, scene):
    far = rasters.write("t", np.ones((2, 16, 16)), rasters.grid(120.0, x=700_000.0))
    job = job_of(rasters, {**scene, "t": far})
    assert_refused(rasters, job, InputError, r"t\.tif does not overlap f\.tif")


def test_images_on_other_sides_of_the_earth(rasters, scene):
    far = rasters.write("t", np.ones((2, 16, 16)), rasters.grid(0.001, -60.0, -30.0),
                        crs="EPSG:4326")  # fmt: skip
    assert_refused(rasters, job_of(rasters, {**scene, "t": far}), InputError, r"t\.tif")


def test_images_that_only_touch(rasters, scene):
    beside = rasters.grid(120.0, x=500_000.0 + SIZE * 30)
    far = rasters.write("t", np.ones((2, 16, 16)), beside)
    job = job_of(rasters, {**scene, "t": far})
    assert_refused(rasters, job, InputError, "does not overlap")


LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def test_a_crs_that_cannot_be_transformed(rasters, scene):
    lost = rasters.write("t", np.ones((2, 16, 16)), rasters.grid(120.0), crs=LOCAL)
    job = job_of(rasters, {**scene, "t": lost})
    assert_refused(rasters, job, InputError, r"t\.tif cannot be transformed .*Reproject")


def test_images_of_one_unknown_crs_are_fused(rasters, scene):
    for name, path in scene.items():
        with rasterio.open(path) as file:
            values, transform = file.read(), file.transform
        scene[name] = rasters.write(name, values, transform, crs=LOCAL)
    result, _ = rasters.fuse(job_of(rasters, scene))
    assert np.isfinite(result).all()
    with rasterio.open(rasters.output) as fused, rasterio.open(scene["f"]) as fine:
        assert fused.crs == fine.crs


def test_pixels_without_area(rasters, scene):
    flat = rasters.write("t", np.ones((2, 16, 16)), rasterio.Affine(30, 30, 5e5, 30, 30, 5.3e6))
    job = job_of(rasters, {**scene, "t": flat})
    assert_refused(rasters, job, FusionError, "area")


@pytest.mark.parametrize("role", ["t", "c", "f"])
def test_band_counts_that_differ(rasters, scene, role):
    with rasterio.open(scene[role]) as file:
        one = rasters.write(role, file.read(1), file.transform)
    job = job_of(rasters, {**scene, role: one})
    assert_refused(rasters, job, InputError, r"has [12] bands?, .* has [12]")


def test_a_band_that_does_not_exist(rasters, scene):
    job = job_of(rasters, {**scene, "t": {"path": scene["t"], "bands": (1, 7)}})
    assert_refused(rasters, job, InputError, r"t\.tif has 2 bands, not a band 7")


def test_coarse_and_fine_swapped(rasters, scene):
    job = rasters.spatiotemporal(scene["f"], (scene["f"], scene["c"]))
    assert_refused(rasters, job, InputError, r"smaller than those .*ratio 0\.25.*Swap")


def test_an_extent_beside_the_image(rasters, scene):
    job = job_of(rasters, scene, extent=(0.0, 0.0, 10.0, 10.0))
    assert_refused(rasters, job, InputError, "extent .* outside the fine image")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "cuda:17"}, "no device 'cuda:17'"),
        ({"backend": "fortran"}, "no back-end 'fortran'"),
        ({"model": "starfn"}, "no method 'starfn'.*starfm"),
        ({"parameters": {"window": 50}}, "odd"),
        ({"parameters": {"window": "wide"}}, "whole number"),
        ({"parameters": {"windov": 51}}, "no parameter windov"),
        ({"parameters": {"classes": 0}}, "from 1 to 100"),
        ({"parameters": {"uncertainty_fine": float("inf")}}, "number"),
        ({"parameters": {"window": 10**400}}, "Search window"),
    ],
    ids=str,
)
def test_settings_that_are_wrong(rasters, scene, options, match):
    job = job_of(rasters, scene, **{"model": "starfm", **options})
    assert_refused(rasters, job, InputError, match)


@pytest.mark.parametrize("cell_size", [-300.0, 0.0, float("nan"), float("inf")])
def test_a_cell_size_that_is_none(rasters, scene, cell_size):
    job = job_of(rasters, {**scene, "t": {"path": scene["t"], "cell_size": cell_size}})
    assert_refused(rasters, job, InputError, r"cell size of t\.tif")


def test_a_missing_role(rasters, scene):
    job = rasters.spatiotemporal(scene["t"], (scene["c"], scene["f"]))
    assert_refused(rasters, rasters._job("starfm", {"references": job.references}, {}), InputError,
                   "Coarse image at the target date is missing")  # fmt: skip


def test_no_pairs(rasters, scene):
    assert_refused(rasters, rasters.spatiotemporal(scene["t"]), InputError, "at least 1 reference")


# --- nothing valid ---


@pytest.mark.parametrize("role", ["t", "c", "f"])
def test_an_image_of_nothing_but_nodata(rasters, scene, role):
    with rasterio.open(scene[role]) as file:
        empty = rasters.write(role, np.full(file.read().shape, -9), file.transform, nodata=-9)
    job = job_of(rasters, {**scene, role: empty})
    assert_refused(rasters, job, InputError, rf"{role}\.tif has no valid pixel .*nodata")


def test_clouds_that_leave_no_common_pixel(rasters, scene, rng):
    with rasterio.open(scene["f"]) as file:
        values = file.read()
    values[:, :, :32] = np.nan
    fine = rasters.write("f", values)
    coarse = rng.random((2, 16, 16))
    coarse[:, :, 8:] = np.nan
    target = rasters.write("t", coarse, rasters.grid(120.0))
    job = job_of(rasters, {**scene, "t": target, "f": fine})
    assert_refused(rasters, job, InputError, "No pixel is valid in all images")


# --- files that cannot be read ---


def test_a_file_that_is_not_there(rasters, scene):
    job = job_of(rasters, {**scene, "t": str(rasters.folder / "gone.tif")})
    assert_refused(rasters, job, RasterReadError, r"gone\.tif cannot be read")


@pytest.mark.parametrize("junk", [b"", b"II*\0", b"This is no image.\n" * 50, bytes(4096)])
def test_a_file_that_is_no_image(rasters, scene, junk):
    path = rasters.folder / "broken.tif"
    path.write_bytes(junk)
    job = job_of(rasters, {**scene, "t": path})
    assert_refused(rasters, job, RasterReadError, r"broken\.tif cannot be read")


def test_a_folder_instead_of_a_file(rasters, scene):
    (rasters.folder / "images").mkdir()
    job = job_of(rasters, {**scene, "c": rasters.folder / "images"})
    assert_refused(rasters, job, RasterReadError, "images cannot be read")


def test_a_container_of_several_images(rasters, scene):
    """A GeoPackage with two images has no bands of its own; nor has many a netCDF or HDF file."""
    path = str(rasters.folder / "maps.gpkg")
    for table in ("spring", "summer"):
        with rasterio.open(
            path, "w", driver="GPKG", width=8, height=8, count=1, dtype="uint8",
            crs="EPSG:32633", transform=rasters.grid(120.0), raster_table=table,
            append_subdataset=table == "summer",
        ) as file:  # fmt: skip
            file.write(np.ones((1, 8, 8), "uint8"))
    job = job_of(rasters, {**scene, "t": path})
    assert_refused(rasters, job, RasterReadError, r"maps\.gpkg holds no bands .*spring.*Choose one")


def test_a_vrt_whose_images_are_gone(rasters, scene):
    path = rasters.folder / "stack.vrt"
    rasterio.shutil.copy(scene["t"], path, driver="VRT")
    os.rename(scene["t"], rasters.folder / "elsewhere.tif")
    job = job_of(rasters, {**scene, "t": path})
    assert_refused(rasters, job, RasterReadError, r"stack\.vrt cannot be read")


LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "strips": {"tiled": False},
    "strips, packed": {"tiled": False, "compress": "lzw"},
}


@pytest.mark.parametrize("role", ["coarse", "fine"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.002, 0.02, 0.3, 0.5, 0.8, 0.99])
def test_a_truncated_file_never_passes_for_an_image(rasters, rng, layout, share, role):
    size = 256 if role == "fine" else 200  # a coarse image read by interpolation, a fine one as is
    rasters.write("whole", rng.random((2, size, size)), rasters.grid(40.0 if size == 200 else 30.0),
                  **LAYOUTS[layout])  # fmt: skip
    whole, cut = rasters.folder / "whole.tif", rasters.folder / "cut.tif"
    cut.write_bytes(content(whole)[: int(share * len(content(whole)))])
    fine = cut if role == "fine" else rasters.write("f", rng.random((2, 256, 256)))
    coarse = rasters.write("c", rng.random((2, 200, 200)), rasters.grid(40.0))
    target = cut if role == "coarse" else coarse
    job = rasters.spatiotemporal(target, (coarse, fine))
    assert_refused(rasters, job, RasterReadError, r"cut\.tif cannot be read .*complete")


# --- the output ---


def test_an_output_folder_that_does_not_exist(rasters, scene):
    job = job_of(rasters, scene, output=str(rasters.folder / "new" / "result.tif"))
    assert_refused(rasters, job, InputError, r"new does not exist")


def test_an_output_below_a_file(rasters, scene):
    job = job_of(rasters, scene, output=scene["f"] + "/result.tif")
    assert_refused(rasters, job, InputError, r"f\.tif does not exist")


def test_an_output_that_is_a_folder(rasters, scene):
    (rasters.folder / "there").mkdir()
    job = job_of(rasters, scene, output=str(rasters.folder / "there"))
    assert_refused(rasters, job, InputError, "is a folder")


def test_a_name_too_long_for_the_file_system(rasters, scene):
    job = job_of(rasters, scene, output=str(rasters.folder / ("result" + "x" * 300 + ".tif")))
    assert_refused(rasters, job, OutputError, "cannot be written")


def test_a_read_only_output_folder(rasters, scene, mounted):
    place = mounted("size=1m", "ro")
    job = job_of(rasters, scene, output=str(place / "result.tif"))
    with pytest.raises(FusionError, match=r"mount0 is read-only|cannot be written") as caught:
        rasters.fuse(job)
    assert_sentence(caught.value)
    assert os.listdir(place) == []


def big_scene(rasters, rng):
    """A scene whose result takes 2 MB, which noise keeps from being packed."""
    fine = rng.random((2, 512, 512)).astype("float32")
    coarse = fine.reshape(2, 64, 8, 64, 8).mean(axis=(2, 4))
    grid = rasters.grid(240.0)
    pair = rasters.write("c", coarse, grid), rasters.write("f", fine)
    return rasters.write("t", coarse + 0.1, grid), pair


@pytest.mark.parametrize("size", ["4k", "16k", "256k", "1m", "1700k"])
def test_a_full_disk(rasters, rng, mounted, size):
    target, pair = big_scene(rasters, rng)
    place = mounted(f"size={size}")
    job = rasters.spatiotemporal(target, pair, output=str(place / "result.tif"))
    with pytest.raises(OutputError, match=r"result\.tif cannot be written .*MB are free") as caught:
        rasters.fuse(job)
    assert_sentence(caught.value)
    assert os.listdir(place) == []


def test_a_disk_that_is_just_large_enough(rasters, rng, mounted):
    target, pair = big_scene(rasters, rng)
    place = mounted("size=4m")
    job = rasters.spatiotemporal(target, pair, output=str(place / "result.tif"))
    result, _ = rasters.fuse(job)
    assert np.isfinite(result).all()
    assert os.listdir(place) == ["result.tif"]


def test_output_equal_to_an_input(rasters, scene):
    before = {name: content(path) for name, path in scene.items()}
    os.symlink(scene["f"], rasters.folder / "link.tif")
    os.link(scene["c"], rasters.folder / "hard.tif")
    (rasters.folder / "inner").mkdir()
    os.symlink(rasters.folder, rasters.folder / "inner" / "folder")
    outputs = [
        scene["t"],
        str(rasters.folder / "link.tif"),
        str(rasters.folder / "hard.tif"),
        str(rasters.folder / "inner" / "folder" / "f.tif"),
        str(rasters.folder / "inner" / ".." / "c.tif"),
        os.path.relpath(scene["f"]),
    ]
    for output in outputs:
        with pytest.raises(InputError, match=r"is also the input [tcf]\.tif") as caught:
            rasters.fuse(job_of(rasters, scene, output=output))
        assert_sentence(caught.value)
    assert {name: content(path) for name, path in scene.items()} == before
    assert not list(rasters.folder.glob("*.part"))


def test_output_equal_to_a_file_inside_an_input(rasters, scene):
    """A VRT and its image: overwriting the image would destroy the input."""
    rasterio.shutil.copy(scene["t"], rasters.folder / "stack.vrt", driver="VRT")
    vrt = str(rasters.folder / "stack.vrt")
    with pytest.raises(InputError, match=r"is also .*stack\.vrt"):
        rasters.fuse(job_of(rasters, {**scene, "t": vrt}, output=scene["t"]))


def test_a_failed_run_leaves_an_older_result_as_it_was(rasters, scene):
    rasters.fuse(job_of(rasters, scene))
    before = content(rasters.output)
    broken = rasters.write("t", np.full((2, 16, 16), np.nan), rasters.grid(120.0))
    with pytest.raises(InputError):
        rasters.fuse(job_of(rasters, {**scene, "t": broken}))
    assert content(rasters.output) == before
    assert rasters.leftovers() == ["result.tif"]


def test_a_new_result_does_not_keep_the_overviews_and_statistics_of_the_old_one(rasters, scene):
    rasters.fuse(job_of(rasters, scene))
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(rasters.output, "r+") as file:
        file.build_overviews([2, 4])
    for suffix in (".ovr", ".aux.xml", ".msk"):
        path = rasters.output + suffix
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write("<PAMDataset></PAMDataset>")
    shifted = rasters.write("t", rasters.read(scene["t"]) + 50, rasters.grid(120.0))
    rasters.fuse(job_of(rasters, {**scene, "t": shifted}, harmonise="never"))
    assert rasters.leftovers() == ["result.tif"]
    with rasterio.open(rasters.output) as file:
        small = file.read(1, out_shape=(16, 16))
    assert small.min() > 40


@pytest.mark.parametrize(
    "name", ["Fläche (1) #2", "50 % & more", "what?!", "a,b;c='d'", 'a "quoted" <name>', "~x$y"]
)
def test_names_with_odd_characters_are_no_problem(rasters, scene, name):
    folder = rasters.folder / name
    folder.mkdir()
    odd = {}
    for role, path in scene.items():
        odd[role] = str(folder / f"{role} {name}.tif")
        shutil.copy(path, odd[role])
    output = str(folder / f"out {name}.tif")
    result, report = rasters.fuse(job_of(rasters, odd, output=output))
    assert np.isfinite(result).all()
    assert report["path"] == output


@pytest.mark.parametrize("tile", [1, 7, 10**9])
def test_any_tile_size_gives_the_same_result(rasters, scene, tile):
    usual, _ = rasters.fuse(job_of(rasters, scene))
    small = {"extent": (500_000, 5_300_000 - 900, 500_900, 5_300_000)} if tile < 7 else {}
    result, _ = rasters.fuse(job_of(rasters, scene, limits=Limits(tile=tile), **small))
    usual = usual[:, :30, :30] if small else usual
    np.testing.assert_allclose(result, usual, atol=1e-5)


def test_the_thread_limit_of_a_job_ends_with_it(rasters, scene):
    usual = torch.get_num_threads()
    other = 1 if usual > 1 else 2
    rasters.fuse(job_of(rasters, scene, limits=Limits(threads=other)))
    assert torch.get_num_threads() == min(other, os.cpu_count())
    rasters.fuse(job_of(rasters, scene))
    assert torch.get_num_threads() == usual


def test_a_huge_thread_limit_is_no_problem(rasters, scene):
    result, _ = rasters.fuse(job_of(rasters, scene, limits=Limits(threads=10**12)))
    assert np.isfinite(result).all()
