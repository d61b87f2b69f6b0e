"""The report as a user reads it, and its numbers."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from qgis.PyQt.QtWidgets import QTextBrowser
from rasterfuse.plugin.layers.report import is_better, number, report_html, report_numbers

REPORT = {
    "model": "starfm", "name": "STARFM", "version": "0.1.0", "path": "/tmp/fused.tif",
    "device": "cpu", "backend": "numba",
    "seconds": {"open": 0.1234567, "compute": 12.345678, "total": 15.5},
    "peak_memory_mb": 512.34, "nodata_share": 0.0123456,
    "grid": {"rows": 400, "cols": 400, "bands": 2, "crs": "EPSG:32633", "pixel": [30.0, 30.0],
             "ratio": [16.0, 16.0]},
    "harmonisation": {
        "mode": "auto", "applied": True, "reason": "The units differ by a factor of 10000.",
        "bands": [{"band": 1, "gain": 10012.3456, "offset": -0.00012345, "correlation": 0.98765,
                   "rmse_before": 1234.5678, "rmse_after": 12.345678}],
    },
    "observation": [
        {"image": "coarse_target", "pair": 1, "sigma": 7.654, "sigma_cells": 0.4784,
         "shift": [4.5, -15.75], "shift_cells": [0.28125, -0.984375], "correlation": 0.9316,
         "unshifted_correlation": 0.8571, "plain_correlation": None, "reliable": True,
         "moved": False},
    ],
    "trust": {
        "cells": 625, "seen_through": "observation model",
        "answers": [
            {"id": "result", "name": "This result", "rmse": [60.1234, 70.5678], "mean": 65.3456},
            {"id": "copy_fine", "name": "Copy", "rmse": [100.0, 120.0], "mean": 110.0},
            {"id": "fine_plus_change", "name": "Plus change", "rmse": [70.0, None], "mean": 70.0},
        ],
        "verdict": "The result agrees better than every simple answer.",
    },
    "warnings": ["3 values were clipped."], "notes": ["Window of 51 pixels."],
    "job": {
        "model": "starfm", "output": "/tmp/fused.tif", "harmonise": "auto",
        "coregister": "never", "extent": None,
        "parameters": {"window": 51, "spatial_weight": None},
        "inputs": {
            "coarse_target": {"path": "/d/target.tif", "name": "", "date": "2020-04-02",
                              "bands": [3, 4]},
            "references": [{"coarse": {"path": "/d/c.tif", "date": "2020-03-08"},
                            "fine": {"path": "/d/f.tif", "name": "Landsat", "bands": []}}],
        },
    },
}  # fmt: skip


class Strict(HTMLParser):
    """Fails where tags do not close in order; lists addresses and scripts."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def plain(qtbot, report):
    browser = QTextBrowser()
    qtbot.addWidget(browser)
    browser.setHtml(report_html(report))
    return browser.toPlainText()


def test_the_verdict_comes_first_and_all_parts_follow(qgis_app, qtbot):
    text = plain(qtbot, REPORT)
    assert text.index("✔ The result agrees better") < text.index("Trust check")
    for expected in (
        "3 values were clipped.", "Window of 51 pixels.", "Fine", "The units differ", "10012",
        "0.9877", "1235", "12.35", "EPSG:32633", "1.235 %", "625",
        "-0.9844", "0.4784", "0.9316", "as the coarse sensor sees them", "coregister",
        "Landsat", "target.tif", "2020-04-02", "3, 4", "automatic", "12.35", "numba",
    ):  # fmt: skip
        assert expected.lower() in text.lower(), expected


def test_a_simple_answer_that_is_as_good_is_a_warning(qgis_app, qtbot):
    answers = [dict(item) for item in REPORT["trust"]["answers"]]
    answers[2]["mean"] = 65.5
    report = {**REPORT, "trust": {**REPORT["trust"], "answers": answers, "verdict": "As good."}}
    assert "⚠ As good." in plain(qtbot, report)
    assert is_better(REPORT) and not is_better(report)


def test_a_simple_answer_is_not_compared_with_itself(qgis_app):
    answers = [dict(item) for item in REPORT["trust"]["answers"]]
    answers[2]["mean"] = answers[0]["mean"]
    report = {**REPORT, "trust": {**REPORT["trust"], "answers": answers}}
    assert not is_better(report)
    assert is_better({**report, "model": "fine_plus_change"})


def test_the_page_is_well_formed_and_needs_no_other_file(qgis_app):
    parser = Strict()
    parser.feed(report_html(REPORT))
    assert parser.open == []
    assert parser.addresses == []
    assert "script" not in parser.tags
    # No colour of text or ground is set, so light and dark themes both fit.
    assert "background" not in report_html(REPORT) and " color:" not in report_html(REPORT)


def test_whatever_a_user_or_a_file_says_is_escaped(qgis_app, qtbot):
    evil = "<script>alert('x')</script>&amp;"
    report = {
        **REPORT, "name": evil, "path": evil, "device": evil, "backend": evil, "version": evil,
        "warnings": [evil], "notes": [evil], "seconds": {evil: 1.0},
        "grid": {**REPORT["grid"], "crs": evil},
        "harmonisation": {"applied": False, "reason": evil, "bands": [{"band": evil}]},
        "observation": [{"image": evil, "pair": evil}],
        "trust": {"cells": 1, "verdict": evil,
                  "answers": [{"id": "result", "name": evil, "rmse": [1.0], "mean": 1.0}]},
        "job": {"parameters": {evil: evil}, "harmonise": evil,
                "inputs": {evil: {"path": evil, "name": evil, "date": evil, "bands": [evil]}}},
    }  # fmt: skip
    page = report_html(report)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 15
    assert plain(qtbot, report).count(evil) > 15


@pytest.mark.parametrize(
    "report",
    [{}, {"trust": None, "harmonisation": None}, {"trust": {"answers": []}, "job": {"inputs": {}}}],
)
def test_a_poor_report_is_still_a_page(qgis_app, qtbot, report):
    assert "could not be compared" in plain(qtbot, report)
    assert report_numbers(report) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0, "0"), (7, "7"), (12.0, "12"), (1234.5678, "1235"), (12.345678, "12.35"),
        (0.00123456, "0.001235"), (-0.5, "-0.5000"), (99999.6, "100000"), (1.23456e-7, "1.235e-07"),
        (12345678.9, "1.235e+07"), (None, "–"), (float("nan"), "–"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value, text):
    assert number(value) == text


def test_the_numbers_for_processing_have_their_names():
    assert report_numbers(REPORT) == {
        "RMSE_RESULT": 65.3456, "RMSE_COPY_FINE": 110.0, "RMSE_FINE_PLUS_CHANGE": 70.0,
        "SECONDS": 15.5, "NODATA_SHARE": 0.0123456,
    }  # fmt: skip


def test_numbers_that_are_not_known_are_left_out():
    report = {"trust": {"answers": [{"id": "interpolated", "mean": None}]}, "nodata_share": 0.0}
    assert report_numbers(report) == {"NODATA_SHARE": 0.0}
