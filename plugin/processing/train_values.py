"""What a user gave to the training algorithm, read back as a training job."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import QgsProcessing, QgsProcessingOutputLayerDefinition

from ...models.errors import InputError
from ...models.model_file import SUFFIX
from ..checks import WARNING, Finding
from ..layers.request import Image
from ..layers.training import build_training_job, images_in, match_dates
from ..training_job import TrainingJob
from .given import Given, band_numbers
from .parameters import OUTPUT

_NUMBERS = {"MINUTES": float, "VALIDATION": float, "SIMULATE": float,
            "STEPS": int, "PATCH": int, "BATCH": int, "SEED": int}  # fmt: skip


class TrainValues(Given):
    """The values of one call of the training algorithm."""

    def job(self) -> tuple[TrainingJob, list[Finding]]:
        """The training job, and why images are left out of it.

        Raises:
            InputError: A value cannot be understood, or there are no images.
        """
        matches = match_dates(
            self._images("FINE"), self._images("COARSE"), int(self.number("TOLERANCE") or 0)
        )
        left_out = [Finding(WARNING, "job", item.sentence) for item in matches if item.sentence]
        resume = self.value("RESUME")
        settings: dict[str, Any] = {
            name.lower(): kind(number)
            for name, kind in _NUMBERS.items()
            if (number := self.number(name)) is not None
        }
        job = build_training_job(
            self._method(),
            matches,
            self.text("NAME"),
            self._output(),
            start_from=self.text("START_FROM") or None,
            device=self._algorithm.parameterAsEnumString(self._given, "DEVICE", self._context),
            resume=True if resume is None else bool(resume),
            licence=self.text("LICENCE"),
            notes=self.text("NOTES"),
            **settings,
        )
        return job, left_out

    def _method(self) -> str:
        return self._algorithm.parameterAsEnumString(self._given, "METHOD", self._context)

    def _images(self, prefix: str) -> list[Image]:
        """Those of the folder and those of the list, each with the bands that were given."""
        folder = self.text(f"{prefix}_FOLDER")
        images = [Image(layer) for layer in self.layers(f"{prefix}_IMAGES")]
        if folder:
            images = [*images_in(os.path.expanduser(folder)), *images]
        if not images and not self._only_simulated():
            raise InputError(
                f"There are no {prefix.lower()} images. Give {prefix}_FOLDER or {prefix}_IMAGES."
            )
        bands = band_numbers(f"{prefix}_BANDS", self.value(f"{prefix}_BANDS"))
        cell = self.number("COARSE_CELL_SIZE") if prefix == "COARSE" else None
        return [Image(image.layer, bands, cell_size=cell) for image in images]

    def _only_simulated(self) -> bool:
        return self.number("SIMULATE") == 1

    def _output(self) -> str | None:
        """The model file; None for one in the user's folder."""
        wanted = self.value(OUTPUT)
        if isinstance(wanted, QgsProcessingOutputLayerDefinition):
            wanted = wanted.sink.staticValue()
        path = str(wanted or "")
        if not path:
            return None
        if path == QgsProcessing.TEMPORARY_OUTPUT:
            return self._algorithm.parameterAsFileOutput(self._given, OUTPUT, self._context)
        return path if path.lower().endswith(SUFFIX) else path + SUFFIX
