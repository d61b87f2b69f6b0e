"""Checks of a job: every problem is found, put beside its field, and said in one sentence."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
from rasterfuse.models.cards import find_card
from rasterfuse.models.model_file import ModelCard
from rasterfuse.plugin.checks import (
    ERROR,
    INFO,
    WARNING,
    check_job,
    coarse_ratio,
    first_error,
    place_of,
)
from rasterfuse.plugin.grid import RasterInfo, bounds, corners, pixel_size, scale, shift
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair

UTM = (30.0, 0.0, 600000.0, 0.0, -30.0, 5400000.0)
COARSE_GRID = scale(UTM, 16, 16)


def info(transform=UTM, width=320, height=320, bands=4, label="image.tif", **more) -> RasterInfo:
    return RasterInfo(
        label=label, width=width, height=height, bands=bands, transform=transform,
        crs=more.pop("crs", "EPSG:32633"), dtype="int16", nodata=-9999,
        extent=more.pop("extent", bounds(corners(transform, width, height))),
        pixel=more.pop("pixel", pixel_size(transform)), **more,
    )  # fmt: skip


FINE = info(label="f1.tif")
COARSE = info(COARSE_GRID, 20, 20, label="c.tif")


@pytest.fixture
def fusion(tmp_path):
    """A sound spatiotemporal job and what is known of its images; both may be changed."""
    pair = ReferencePair(
        RasterSource("/data/c1.tif", date="2024-05-12"),
        RasterSource("/data/f1.tif", date="2024-05-12"),
    )
    job = Job(
        "starfm",
        {"coarse_target": RasterSource("/data/c.tif", date="2024-07-15"), "references": (pair,)},
        str(tmp_path / "out.tif"),
    )
    return job, {"coarse_target": COARSE, "coarse 1": COARSE, "fine 1": FINE}


def model_of_red_and_green():
    model = ModelCard("fields", "Fields", "starfm", wavelengths=(560.0, 655.0))
    return replace(find_card("starfm"), name="Fields", trained=model)


@pytest.mark.parametrize(
    ("wavelengths", "others"),
    [((482.0, 655.0, 865.0), "482, 865 nm"), ((545.0, 690.0, None), ""), ((), "")],
)
def test_bands_that_a_model_has_not_seen_are_named(fusion, wavelengths, others):
    job, infos = fusion
    infos["fine 1"] = replace(FINE, wavelengths=wavelengths)
    said = [found.sentence for found in check_job(job, model_of_red_and_green(), infos)]
    expected = f"f1.tif has bands at {others}; Fields was trained on bands at 560, 655 nm."
    assert any(expected in sentence for sentence in said) == bool(others)
    assert any("trained on bands" in sentence for sentence in said) == bool(others)


@pytest.fixture
def sharpening(tmp_path):
    inputs = {
        "multispectral": RasterSource("/data/ms.tif"),
        "panchromatic": RasterSource("/data/pan.tif", bands=(1,)),
    }
    infos = {
        "multispectral": info(scale(UTM, 4, 4), 80, 80, label="ms.tif"),
        "panchromatic": info(bands=1, label="pan.tif"),
    }
    return Job("gsa", inputs, str(tmp_path / "out.tif")), infos


def findings(job, infos):
    return check_job(job, find_card(job.model), infos)


def said(job, infos, level, place, sentence):
    """Whether exactly this is said at this place, and ends as a sentence does."""
    found = [f.sentence for f in findings(job, infos) if (f.level, f.place) == (level, place)]
    assert all(text.endswith(".") for text in found)
    return any(sentence in text for text in found)


def with_target(job, **changes):
    target = replace(job.inputs["coarse_target"], **changes)
    return replace(job, inputs={**job.inputs, "coarse_target": target})


def with_pairs(job, *days):
    """Pairs of these days: a day for both images, or (coarse, fine)."""
    both = [day if isinstance(day, tuple) else (day, day) for day in days]
    pairs = tuple(
        ReferencePair(
            RasterSource("/data/c1.tif", date=coarse), RasterSource("/data/f1.tif", date=fine)
        )
        for coarse, fine in both
    )
    return replace(job, inputs={**job.inputs, "references": pairs})


def test_a_sound_job_gives_no_findings(fusion, sharpening):
    assert findings(*fusion) == []
    assert findings(*sharpening) == []
    assert first_error([]) is None


def test_an_empty_job_is_told_what_is_missing(tmp_path):
    job = Job("starfm", {}, str(tmp_path / "out.tif"))
    assert said(job, {}, ERROR, "coarse_target", "Coarse image at the target date is missing.")
    assert said(job, {}, ERROR, "references", "needs at least 1 reference pair, got 0")
    assert first_error(findings(job, {})).startswith("Coarse image")


def test_an_input_the_method_does_not_take_is_refused(sharpening):
    job, infos = sharpening
    job = replace(job, inputs={**job.inputs, "sar": RasterSource("/data/s.tif")})
    assert said(job, infos, ERROR, "sar", "has no input 'sar'")


def test_more_pairs_than_the_method_takes_are_refused(fusion):
    job, infos = fusion
    job = with_pairs(job, "2024-05-12", "2024-06-12")
    card = find_card("starfm")
    only_one = replace(card, inputs=tuple(replace(spec, max_pairs=1) for spec in card.inputs))
    found = [f.sentence for f in check_job(job, only_one, infos) if f.level == ERROR]
    assert any("takes at most 1 reference pairs, got 2. Remove some." in text for text in found)


def test_a_parameter_out_of_range_is_put_beside_its_field(fusion):
    job, infos = fusion
    job = replace(job, parameters={"window": 2, "colour": 1})
    assert said(job, infos, ERROR, "parameter:window", "Search window is 2")
    assert said(job, infos, ERROR, "parameters", "no parameter colour")


def test_bands_that_do_not_exist_or_differ_in_number_are_refused(fusion):
    job, infos = fusion
    assert said(
        with_target(job, bands=(1, 9)), infos, ERROR, "coarse_target",
        "c.tif has 4 bands, not a band 9",
    )  # fmt: skip
    assert said(
        with_target(job, bands=(1, 2)), infos, ERROR, "references",
        "f1.tif has 4 bands, c.tif has 2",
    )  # fmt: skip


def test_the_number_of_bands_must_suit_the_method(sharpening):
    job, infos = sharpening
    infos["panchromatic"] = replace(infos["panchromatic"], bands=3)
    wide = replace(
        job, inputs={**job.inputs, "panchromatic": RasterSource("/data/pan.tif", bands=(1, 2))}
    )
    assert said(wide, infos, ERROR, "panchromatic", "takes 1 band of pan.tif, 2 are chosen")
    brovey = replace(job, model="brovey")
    infos["multispectral"] = replace(infos["multispectral"], bands=1)
    assert said(brovey, infos, ERROR, "multispectral", "needs at least 2 bands, ms.tif has 1")


def test_a_missing_target_date_is_a_warning_only(fusion):
    job, infos = fusion
    undated = with_target(job, date=None)
    assert said(undated, infos, WARNING, "date", "The target date is not known.")
    assert first_error(findings(undated, infos)) is None


@pytest.mark.parametrize(
    ("days", "place", "sentence"),
    [
        ([None], "references", "The date of pair 1 is not known."),
        (["2024-07-15"], "references", "Pair 1 has the target date 2024-07-15."),
        ([("2024-05-10", "2024-05-12")], "references", "pair 1 are 2 days apart"),
        (["2024-05-12", "2024-05-12"], "references", "Two pairs have the date 2024-05-12."),
        (["2024-05-12", "2024-06-01"], "date", "lies outside the pairs (2024-05-12 to 2024-06-01)"),
    ],
    ids=["missing", "target", "apart", "twice", "outside"],
)
def test_odd_dates_are_warnings_with_the_dates(fusion, days, place, sentence):
    job, infos = fusion
    job = with_pairs(job, *days)
    assert said(job, infos, WARNING, place, sentence)
    assert first_error(findings(job, infos)) is None


def test_a_target_between_two_pairs_needs_no_warning(fusion):
    job, infos = fusion
    assert findings(with_pairs(job, "2024-05-12", "2024-08-12"), infos) == []


def test_images_that_do_not_overlap_are_refused(fusion):
    job, infos = fusion
    infos["coarse_target"] = replace(COARSE, extent=(0.0, 0.0, 1000.0, 1000.0))
    assert said(job, infos, ERROR, "coarse_target", "c.tif does not overlap f1.tif")


def test_images_that_overlap_in_part_are_a_warning_with_the_share(fusion):
    job, infos = fusion
    half = shift(COARSE_GRID, 0, 10)
    infos["coarse_target"] = info(half, 20, 20, label="c.tif")
    assert said(job, infos, WARNING, "coarse_target", "c.tif covers 50% of f1.tif")


def test_another_crs_is_told_and_done(fusion):
    job, infos = fusion
    infos["coarse_target"] = replace(COARSE, crs="sinusoidal", same_crs=False)
    assert said(
        job, infos, INFO, "coarse_target", "reprojected from sinusoidal to EPSG:32633 on the fly"
    )


def test_a_crs_that_cannot_be_transformed_is_refused(fusion):
    job, infos = fusion
    infos["coarse_target"] = replace(COARSE, crs="Mars", same_crs=False, extent=None)
    assert said(job, infos, ERROR, "coarse_target", "cannot be transformed from Mars to EPSG:32633")


def test_an_image_without_crs_is_placed_or_refused(fusion):
    job, infos = fusion
    lost = info((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 20, 20, label="c.tif", crs="")
    infos["coarse_target"] = lost
    assert said(
        job, infos, WARNING, "coarse_target",
        "c.tif has no CRS. c.tif is taken to cover the same area as f1.tif.",
    )  # fmt: skip
    infos["coarse_target"] = replace(lost, width=33)
    assert said(job, infos, ERROR, "coarse_target", "33 x 20 pixels do not cover")


def test_swapped_images_are_refused_with_the_ratio(sharpening):
    job, infos = sharpening
    infos["multispectral"], infos["panchromatic"] = (
        replace(infos["panchromatic"], bands=4),
        replace(infos["multispectral"], bands=1),
    )
    assert said(job, infos, ERROR, "multispectral", "(ratio 0.25). Swap")


@pytest.mark.parametrize("number", [1, 2])
def test_a_pair_whose_images_are_swapped_is_refused_with_its_number(fusion, number):
    job, infos = fusion
    job = with_pairs(job, "2024-05-12", "2024-08-12")
    infos.update({"coarse 2": replace(COARSE, label="c2.tif"), "fine 2": info(label="f2.tif")})
    assert findings(job, infos) == []
    coarse, fine = f"coarse {number}", f"fine {number}"
    infos[coarse], infos[fine] = infos[fine], infos[coarse]
    sentence = (
        f"The coarse image {infos[coarse].label} of pair {number} has smaller pixels than its "
        f"fine {infos[fine].label} (ratio 0.06). Swap them."
    )
    assert first_error(findings(job, infos)) == sentence
    assert said(job, infos, ERROR, "references", sentence)


def test_a_pair_of_other_units_of_length_is_not_taken_for_swapped(fusion):
    job, infos = fusion
    # Degrees: numerically much smaller pixels, but 480 m wide in the CRS of the fine image.
    geographic = scale(UTM, 16 / 111_000, 16 / 111_000)
    infos["coarse 1"] = info(
        geographic, 20, 20, crs="EPSG:4326", same_crs=False, pixel=(480.0, 480.0),
        extent=COARSE.extent, label="c.tif",
    )  # fmt: skip
    assert first_error(findings(job, infos)) is None


def test_a_window_larger_than_the_image_is_told_beside_its_field(fusion):
    job, infos = fusion
    wide = replace(job, parameters={"window": 301})
    assert findings(wide, infos) == []
    infos["fine 1"] = info(width=320, height=300, label="f1.tif")
    sentence = (
        "Search window is 301 fine pixels, but the image has only 300 on one side. What lies "
        "beyond its border is left out; a smaller window is faster."
    )
    assert said(wide, infos, INFO, "parameter:window", sentence)
    left, bottom, right, _ = infos["fine 1"].extent
    strip = replace(job, extent=(left, bottom, right, bottom + 10 * 30))
    assert said(strip, infos, INFO, "parameter:window", "is 51 fine pixels, but the image has only")


def test_fewer_pairs_than_a_method_needs_are_refused_with_both_numbers(fusion):
    job, infos = fusion
    job = with_pairs(replace(job, model="estarfm"), "2024-05-12")
    sentence = (
        "ESTARFM needs at least 2 reference pairs, got 1. Add a coarse and a fine image of the "
        "same day."
    )
    assert first_error(findings(job, infos)) == sentence
    assert said(job, infos, ERROR, "references", sentence)


def test_a_ratio_the_method_is_not_made_for_is_a_warning(sharpening):
    job, infos = sharpening
    infos["multispectral"] = info(scale(UTM, 16, 16), 20, 20, label="ms.tif")
    assert said(job, infos, WARNING, "multispectral", "16.0 times as large as the fine ones")


def test_coarse_pixels_of_fine_size_ask_for_the_cell_size(fusion):
    job, infos = fusion
    infos["coarse_target"] = replace(FINE, label="c.tif")
    assert said(job, infos, WARNING, "coarse_target", "the size of its original cells is not known")
    stated = with_target(job, cell_size=480.0)
    assert findings(stated, infos) == []
    assert coarse_ratio(stated, "coarse_target", infos["coarse_target"], FINE) == (16, 16)


def test_an_extent_outside_the_fine_image_is_refused(fusion):
    job, infos = fusion
    job = replace(job, extent=(0.0, 0.0, 1.0, 1.0))
    assert said(job, infos, ERROR, "extent", "lies outside the fine image")


def test_an_output_that_is_an_input_is_refused_also_by_another_name(fusion, tmp_path):
    job, infos = fusion
    fine = tmp_path / "fine.tif"
    fine.write_bytes(b"pixels")
    (tmp_path / "alias.tif").symlink_to(fine)
    for output in (fine, tmp_path / "alias.tif", tmp_path / "." / "fine.tif"):
        spoilt = with_target(replace(job, output=str(output)), path=str(fine))
        assert said(spoilt, infos, ERROR, "output", "is also the input fine.tif")


def test_an_output_that_cannot_be_written_is_refused(fusion, tmp_path):
    job, infos = fusion
    nowhere = replace(job, output=str(tmp_path / "no" / "out.tif"))
    assert said(nowhere, infos, ERROR, "output", f"The folder {tmp_path / 'no'} does not exist.")
    folder = replace(job, output=str(tmp_path))
    assert said(folder, infos, ERROR, "output", "is a folder. Give a file name.")


def test_a_standard_error_that_cannot_be_written_is_refused(fusion, tmp_path):
    job, infos = fusion

    def said_of(path, model="rasterfuse_net"):
        asked = replace(job, model=model, parameters={}, error_output=str(path))
        return [f.sentence for f in findings(asked, infos) if f.place == "error_output"]

    assert said_of(tmp_path / "error.tif") == []
    assert said_of(tmp_path / "error.tif", "starfm")[0].startswith("STARFM cannot tell the stand")
    assert "does not exist" in said_of(tmp_path / "no" / "error.tif")[0]
    assert "is a folder" in said_of(tmp_path)[0]
    for path in (job.output, tmp_path / "." / os.path.basename(job.output), job.part):
        assert "would overwrite the result" in said_of(path)[0]


@pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter on Windows")
def test_a_read_only_folder_is_refused(fusion):
    job, infos = fusion
    job = replace(job, output="/usr/out.tif")
    found = without_rights(lambda: first_error(findings(job, infos)))
    assert found == "The folder /usr is read-only. Choose another for the output."


def without_rights(ask) -> str:
    """The answer that a user without root's rights gets; root's own child steps down."""
    if os.geteuid() != 0:
        return ask()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            os.write(writer, str(ask()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_a_full_disk_is_foreseen(fusion):
    job, infos = fusion
    vast = info(width=10**8, height=10**8, label="f1.tif")
    coarse = info(COARSE_GRID, 10**8 // 16, 10**8 // 16, label="c.tif")
    infos = {"coarse_target": coarse, "coarse 1": coarse, "fine 1": vast}
    assert said(job, infos, WARNING, "output", "MB free. Free some space")


def test_an_image_that_could_not_be_opened_does_not_stop_the_other_checks(fusion):
    job, infos = fusion
    del infos["fine 1"]
    job = replace(job, parameters={"window": 2})
    assert said(job, infos, ERROR, "parameter:window", "Search window is 2")


def test_names_of_sources_belong_to_the_fields_of_the_form():
    assert place_of("coarse 2") == place_of("fine 1") == "references"
    assert place_of("coarse_target") == "coarse_target"


# --- optional inputs ------------------------------------------------------------------------------


def with_classes(job, infos, **more):
    """The job as one of FSDAF with a class layer of one band, and what is known of the layer."""
    layer = RasterSource("/data/k.tif")
    job = replace(job, model="fsdaf", inputs={**job.inputs, "class_layer": layer})
    return job, {**infos, "class_layer": info(**{"label": "k.tif", "bands": 1, **more})}


def test_an_optional_input_may_be_missing_or_have_fewer_bands(fusion):
    job, infos = fusion
    assert first_error(findings(replace(job, model="fsdaf"), infos)) is None
    assert not [f for f in findings(*with_classes(job, infos)) if f.place == "class_layer"]


def test_an_optional_input_is_checked_like_others(fusion):
    job, infos = fusion
    sentence = "FSDAF takes 1 band of k.tif, 3 are chosen. Choose fewer."
    assert said(*with_classes(job, infos, bands=3), ERROR, "class_layer", sentence)
    away = with_classes(job, infos, extent=(0.0, 0.0, 1.0, 1.0))
    assert said(*away, ERROR, "class_layer", "k.tif does not overlap f1.tif")
    unknown = with_classes(job, infos, extent=None, same_crs=False)
    assert said(*unknown, ERROR, "class_layer", "k.tif cannot be transformed")


def test_where_the_class_layer_ends_classes_are_guessed_and_nothing_is_lost(fusion):
    job, infos = with_classes(*fusion, height=160)
    sentence = "k.tif covers 50% of f1.tif. The classes of the rest are guessed from the fine image"
    assert said(job, infos, WARNING, "class_layer", sentence)
