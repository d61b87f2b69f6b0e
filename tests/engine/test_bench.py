"""The benchmarks run and add up; what they measure on tiny images means nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rasterfuse.models.cards import load_cards

ROOT = Path(__file__).resolve().parents[2]


def bench(*words):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "bench"), *map(str, words)],
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


def table(page, heading):
    """Rows of the table below a heading: cells by name of the row."""
    part = page.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def number(cell):
    return float(cell.split()[0])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "docs" / "benchmarks.md"
    done = bench("--quick", path)
    assert done.returncode == 0, done.stderr
    return path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_method_is_measured_alone_and_with_its_start_up(page):
    names = {card.name for card in load_cards().values()}
    engine = table(page, "### The engine, start-up apart")
    whole = table(page, "### Whole processes, start-up included")
    assert names <= set(engine)
    assert names <= set(whole)
    for name in names:
        assert 0 < number(engine[name][1]) < number(whole[name][0])
        assert 0 < number(engine[name][2]) < number(whole[name][2])
        assert number(whole[name][3]) > 100  # MiB: torch alone takes that


@pytest.mark.slow
def test_rates_are_pixels_and_bands_over_seconds(page):
    rows = table(page, "## Image size")
    assert list(rows) == ["64 x 64", "128 x 128", "320 x 320"]
    for name, (seconds, cpu, rate, speed, _) in rows.items():
        amount = int(name.split()[0]) ** 2 * 2 / 1e6
        # Three digits of a small number are shown.
        assert amount / number(cpu) == pytest.approx(number(rate), rel=0.05, abs=0.001)
        assert amount / number(seconds) == pytest.approx(number(speed), rel=0.05, abs=0.001)


@pytest.mark.slow
def test_the_page_says_what_machine_it_was_and_that_a_quick_run_means_nothing(page):
    assert f"{os.cpu_count()} cores" in page
    assert f"torch {torch.__version__}" in page
    assert re.search(r"Load at the start: \d+\.\d\d per core", page)
    assert "these figures mean nothing" in page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_one_sentence_and_no_page(tmp_path):
    done = bench("--gpu", tmp_path / "benchmarks.md")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Torch sees no CUDA GPU here")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "benchmarks.md").exists()
