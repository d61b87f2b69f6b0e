"""Accuracy of every method on real and simulated scenes, next to the trivial answers, as tables.

    make evaluate         or   python tools/evaluate docs/evaluation.md

Runs jobs through the engine and compares the results with images that were kept aside. The real
scenes are not part of this repository: they are looked for in ``../shared/data``, or where the
variable RASTERFUSE_DATA says. Pictures go to the folder ``evaluation`` beside the page.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import boreas
import kranj
import landsat7
import landscapes

_HEAD = """# Accuracy

Written by `make evaluate`. RMSE in stored values (reflectance x 10000), mean of the bands, smaller
is better; SSIM with a data range of 10000, 1 is best; SAM in degrees and ERGAS, 0 is best; CC is
the mean correlation with the true image, 1 is best. All methods at their defaults, some in their
fast mode too, the trivial answers among them. † marks an error above that of the best trivial
answer: there the method was not worth its time.

RasterFuse Net, the usual strengths of GPX and the rule by which FSDAF takes fewer classes were made
with a look at BOREAS and at simulated land, the network also with one at the Landsat-7 scene, so
their figures there are optimistic.
"""


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    page: Path = parser.parse_args().page
    page.parent.mkdir(parents=True, exist_ok=True)
    images = page.parent / "evaluation"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [
            _HEAD, boreas.section(folder, images), kranj.section(folder),
            landsat7.section(folder), landscapes.section(folder, images),
            landscapes.noise_section(folder),
        ]  # fmt: skip
    page.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
