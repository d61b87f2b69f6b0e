"""From folders or lists of dated images to a training job: the same for all doors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osgeo import gdal

from ...models.cards import find_card, trainable_cards
from ...models.errors import InputError, ModelFileError
from ..checks import BEYOND, ERROR, INFO, Finding
from ..job import Job, ReferencePair, parse_date
from ..model_store import new_model_path
from ..training_job import TrainingJob
from .bands import wavelengths_of
from .header import quiet_gdal, read_header
from .inspect import inspect
from .request import Image, guess_date, source_of, with_matched_bands

# What GDAL can open but lies beside images: metadata, overviews, georeferences.
_BESIDE = (".xml", ".ovr", ".hdr", ".txt", ".json", ".tfw", ".prj", ".msk", ".vrt.bak")
_FEW_DAYS = (
    "No day is kept aside, so it will not be known how good the model is on another day. Three "
    "days or more and an area kept aside would tell."
)
_ONE_DAY = "{0} is of the same day as {1}. Only the first is used."


@dataclass(frozen=True)
class Match:
    """A fine image and the coarse one that belongs to it.

    Attributes:
        day: Of the fine image, YYYY-MM-DD; empty when unknown.
        coarse: None when there is none within the tolerance.
        apart: Days between both.
        sentence: Why it is not used, else empty.
    """

    fine: Image
    day: str
    coarse: Image | None = None
    apart: int = 0
    sentence: str = ""


def images_in(folder: str) -> list[Image]:
    """The raster files in a folder, by name; what lies deeper is not looked at.

    Raises:
        InputError: The folder cannot be read, or holds no rasters.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be read ({error.strerror}). Choose another."
        ) from error
    paths = [os.path.join(folder, name) for name in names if not name.lower().endswith(_BESIDE)]
    with quiet_gdal():
        found = [Image(path) for path in paths if os.path.isfile(path) and _is_raster(path)]
    if not found:
        raise InputError(f"The folder {folder} has no raster files. Choose another.")
    return found


def match_dates(fine: Iterable[Image], coarse: Iterable[Image], tolerance: int = 0) -> list[Match]:
    """Give every fine image the coarse one that is nearest in time; each is used once.

    Args:
        fine: Images, whose days are guessed unless given.
        coarse: The same.
        tolerance: Days that both may be apart.

    Returns:
        One match per fine image, in order of time; those without a day last.
    """
    matches = [Match(image, _day(image)) for image in fine]
    matches.sort(key=lambda match: (not match.day, match.day))
    matches = _once_per_day(matches)
    others = [(image, parse_date(_day(image))) for image in coarse]
    near = sorted(
        (abs((parse_date(match.day) - day).days), row, column)
        for row, match in enumerate(matches)
        for column, (_, day) in enumerate(others)
        if match.day and not match.sentence and day
    )
    partners: dict[int, tuple[int, int]] = {}
    taken: set[int] = set()
    for apart, row, column in near:
        if apart <= tolerance and row not in partners and column not in taken:
            partners[row] = column, apart
            taken.add(column)
    return [
        replace(match, coarse=others[partners[row][0]][0], apart=partners[row][1])
        if row in partners
        else replace(match, sentence=match.sentence or _why_alone(match, tolerance))
        for row, match in enumerate(matches)
    ]


def build_training_job(
    method: str, matches: Sequence[Match], name: str, output: str | None = None, **settings: Any
) -> TrainingJob:
    """The training job of what was chosen.

    Args:
        method: Id of the method to train, or of a trained model to go on with.
        matches: Those without a coarse image are left out.
        name: Of the model.
        output: The model file; in the user's folder when left out.
        settings: Other fields of ``TrainingJob``.

    Raises:
        InputError: There is no such method, it has no weights, or an image cannot be handed over.
    """
    card, start = find_card(method), settings.pop("start_from", None)
    if not card.trainable:
        ids = ", ".join(other.id for other in trainable_cards()) or "none"
        raise InputError(f"{card.name} has nothing to train. Methods that can be trained: {ids}.")
    if not name.strip():
        raise InputError("The model has no name. Give it one.")
    pairs = [(match.coarse, match.fine) for match in matches if match.coarse is not None]
    if pairs:
        _, pairs = with_matched_bands({"coarse_target": pairs[0][0]}, pairs)
    sources = tuple(ReferencePair(source_of(one), source_of(other)) for one, other in pairs)
    fine = sources[0].fine if sources else None
    known = wavelengths_of(fine, read_header(fine.path, fine.label)) if fine else ()
    return TrainingJob(
        method=card.method or card.id,
        pairs=sources,
        output=os.path.abspath(output) if output else new_model_path(name),
        name=name.strip(),
        start_from=_model_path(start) if start else card.model_file,
        wavelengths=() if None in known else tuple(length for length in known if length),
        **settings,
    )


def inspect_training(job: TrainingJob) -> list[Finding]:
    """Everything that can be said of a training without reading pixels, each sentence once."""
    found: list[Finding] = []
    card = find_card(job.method)
    try:
        job.check()
        card = job.card()
    except (InputError, ModelFileError) as error:
        found.append(Finding(ERROR, "job", error.sentence))
    if job.pairs and not job.keeps_a_day:
        found.append(Finding(INFO, "job", _FEW_DAYS))
    if job.pairs:
        # As a fusion of all pairs, whose images must fit together as well.
        inputs = tuple(replace(spec, min_pairs=1, max_pairs=None) for spec in card.inputs)
        target = replace(job.pairs[0].coarse, date=None)
        probe = Job(job.method, {"coarse_target": target, "references": job.pairs}, job.output)
        places = ("references", "coarse_target", "model")
        _, findings = inspect(probe, replace(card, inputs=inputs))
        found += [item for item in findings if item.place in places]
    # An image that the training does not cover is used where it does.
    shared = "Only what they share is used"
    sentences = dict.fromkeys((item.level, item.sentence.replace(BEYOND, shared)) for item in found)
    return [Finding(level, "job", sentence) for level, sentence in sentences]


def _is_raster(path: str) -> bool:
    try:
        return gdal.IdentifyDriverEx(path, gdal.OF_RASTER) is not None
    except RuntimeError:  # QGIS or a plugin switched exceptions on
        return False


def _day(image: Image) -> str:
    return (image.date if image.date is not None else guess_date(image.layer)) or ""


def _once_per_day(matches: list[Match]) -> list[Match]:
    first: dict[str, Match] = {}
    found = []
    for match in matches:
        earlier = first.setdefault(match.day, match) if match.day else match
        again = _ONE_DAY.format(match.fine.label, earlier.fine.label)
        found.append(match if earlier is match else replace(match, sentence=again))
    return found


def _why_alone(match: Match, tolerance: int) -> str:
    if not match.day:
        return f"{match.fine.label} has no date in its name or metadata. Rename it, or give it."
    within = f" within {tolerance} days" if tolerance else ""
    return f"There is no coarse image of {match.day}{within} for {match.fine.label}."


def _model_path(model: str) -> str:
    """The model file that an id or a path names."""
    if os.path.exists(model):
        return os.path.abspath(model)
    path = (find_card(model).weights or {}).get("path")
    if not path:
        raise InputError(f"{model} has no model file to start from. Choose a trained model.")
    return str(path)
