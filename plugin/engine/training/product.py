"""The model file that a training ends with, and what its card says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from typing import Any

from ....models.model_file import ModelCard
from ....models.spatiotemporal.gated_network import GatedNetwork
from ....models.weights import save_model
from ...training_job import TrainingJob
from .series import Series

_SPAN = 1.5  # factor beyond the images' own ratio and pixel size up to which a model is meant


def save(
    job: TrainingJob, network: GatedNetwork, report: Mapping[str, Any], series: Series | None
) -> None:
    """Write the model file.

    Raises:
        OutputError: It cannot be written.
    """
    # Half the size, and a thousandth of what the weights differ by from seed to seed.
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    save_model(job.output, _card(job, network, report, series), tensors)


def _card(
    job: TrainingJob, network: GatedNetwork, report: Mapping[str, Any], series: Series | None
) -> ModelCard:
    told = report["verdict"] if series else ""  # simulated scenes tell little of real ones
    names = sorted({os.path.basename(pair.fine.path) for pair in job.pairs})
    return ModelCard(
        id=job.model_id,
        name=job.name,
        method=job.method,
        created=date.today().isoformat(),
        bands=(f"{series.bands}",) if series else (),
        wavelengths=job.wavelengths,
        scale=_around(series.metres) if series and series.metres else None,
        dates=tuple(sorted({pair.date for pair in job.pairs if pair.date})),
        ratio=_around(series.ratio) if series else None,
        data=_data(job, names, report["start"]),
        licence=job.licence,
        seed=job.seed,
        minutes=round(report["seconds"] / 60, 1),
        metrics=report["metrics"],
        network=network.settings,
        notes=" ".join(text for text in (job.notes, told) if text),
    )


def _around(value: float) -> tuple[float, float]:
    return value / _SPAN, value * _SPAN


def _data(job: TrainingJob, names: list[str], start: str | None) -> str:
    parts = []
    if names:
        few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        parts.append(f"{len(job.pairs)} pairs of images ({few})")
    if job.simulate or not names:
        parts.append("simulated scenes")
    return " and ".join(parts) + (f", beginning with {start}" if start else "")
