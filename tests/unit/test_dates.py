"""Days in the names of images."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterfuse.plugin.layers.dates import FIRST_YEAR, LAST_YEAR, date_in_name

DAYS = st.dates(date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31))
# Letters around a date that cannot be part of one, nor of a product name.
PADDING = st.text("bcxyz_- ()", max_size=12)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("LC08_L1TP_195025_20130707_20170503_01_T1_B1.TIF", date(2013, 7, 7)),
        ("LC08_L2SP_167055_20170308_20200904_02_T1_SR_B4.TIF", date(2017, 3, 8)),
        ("LE07_L1TP_195025_20010730_20170204_01_T1", date(2001, 7, 30)),
        ("LC08_CU_029006_20190804_20190821_C01_V01_SR.tar", date(2019, 8, 4)),
        ("LT51950251986123KIS00", date(1986, 5, 3)),
        ("LC80440342014077LGN00_B4.TIF", date(2014, 3, 18)),
        ("LC80440342014077-SC20150101123456.tif", date(2014, 3, 18)),
        ("LC080440342014031801T1-SC20181010123456", date(2014, 3, 18)),
        ("MOD09GA.A2020068.h18v04.061.2020070031205.hdf", date(2020, 3, 8)),
        ("MCD43A4.A2012366.h18v04.006.2016123456789.hdf", date(2012, 12, 31)),
        ("VNP09GA.A2020068.h18v04.001.h5", date(2020, 3, 8)),
        ("MOD09GA.061_sur_refl_b01_1_doy2020068_aid0001.tif", date(2020, 3, 8)),
        ("2020068_191-28.tif_filled_kranj.tif", date(2020, 3, 8)),
        ("2020093_18-04_kranj.tif", date(2020, 4, 2)),
        ("TERRA_MODIS_012010_NDVI_2013-09-14.jp2", date(2013, 9, 14)),
        ("T33UUB_20170527T101031_B04_10m.jp2", date(2017, 5, 27)),
        ("S2A_MSIL1C_20170527T101031_N0205_R022_T33UUB_20170528T000000", date(2017, 5, 27)),
        (
            "S2A_OPER_PRD_MSIL1C_PDMC_20160606T053412_R022_V20160604T101031_20160604T101031",
            date(2016, 6, 4),
        ),
        ("S3A_OL_1_EFR____20200308T093012_20200308T093312_20200309T135521", date(2020, 3, 8)),
        ("HLS.L30.T18TYN.2016092T153123.v2.0.B04.tif", date(2016, 4, 1)),
        ("20180606_143317_0f15_3B_AnalyticMS.tif", date(2018, 6, 6)),
        ("SVDNB_npp_d20130107_t0012345", date(2013, 1, 7)),
        ("scene 2001.07.11 fine", date(2001, 7, 11)),
        ("20180606143317.tif", date(2018, 6, 6)),
    ],
)
def test_the_day_of_the_image_is_found_in_real_product_names(name, day):
    assert date_in_name(name) == day


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tm0711",
        "modis0524",
        "LC08_L1TP_195025_B1.TIF",  # path and row only
        "MOD09GA.h18v04.061.hdf",  # tile only
        "TERRA_MODIS_012010_NDVI",
        "20201332_x.tif",  # no month 13
        "2019366_x.tif",  # 2019 had no day 366
        "2020000.tif",
        "4996500_366975.tif",  # a northing and an easting
        "19691231.tif",
        "2020070031205",  # a time of processing, not a day
        "id_120200308.tif",
        "2001-7-1",
        "2001-07_11",
    ],
)
def test_numbers_that_are_no_days_are_left_alone(name):
    assert date_in_name(name) is None


def test_a_number_that_is_no_day_does_not_hide_the_day_after_it():
    assert date_in_name("tile_20209999_20200308.tif") == date(2020, 3, 8)


@given(DAYS, PADDING, PADDING, st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y%j"]))
def test_every_day_is_found_in_every_notation(day, before, after, notation):
    assert date_in_name(f"{before}{day.strftime(notation)}{after}") == day


@given(DAYS, DAYS, st.integers(1, 233), st.integers(1, 248))
def test_path_row_and_processing_date_never_win_over_the_landsat_date(day, later, path, row):
    name = f"LC09_L2SP_{path:03}{row:03}_{day:%Y%m%d}_{later:%Y%m%d}_02_T1_SR_B5.TIF"
    assert date_in_name(name) == day


@given(DAYS, DAYS, st.integers(0, 35), st.integers(0, 17))
def test_tile_and_production_time_never_win_over_the_modis_date(day, later, column, row):
    name = f"MYD09A1.A{day:%Y%j}.h{column:02}v{row:02}.061.{later:%Y%j}031205.hdf"
    assert date_in_name(name) == day


@given(DAYS, st.integers(1, 233), st.integers(1, 248), st.sampled_from(["LT5", "LE7", "LC8"]))
def test_old_landsat_scene_ids_are_read_behind_path_and_row(day, path, row, sensor):
    assert date_in_name(f"{sensor}{path:03}{row:03}{day:%Y%j}EDC00") == day


@given(st.text(max_size=60))
def test_any_text_gives_a_plausible_day_or_none(text):
    found = date_in_name(text)
    assert found is None or FIRST_YEAR <= found.year <= LAST_YEAR
