"""Checks of a job before it runs: the same sentences in the dialog, in Processing and the worker.

Only plain data is needed, so both sides import this file. What needs pixels (all-nodata images,
units that differ) is found by the engine when it opens the scene.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..models.cards import CLASS_LAYER, Card
from ..models.errors import InputError
from ..models.trained import misfits
from .grid import RasterInfo, Window, overlap, pixel_size, placement, window_of
from .job import Job, RasterSource, parse_date
from .outputs import error_fault, fault_of

ERROR, WARNING, INFO = "error", "warning", "info"
_GUESSED = "The classes of the rest are guessed from the fine image"
BEYOND = "The rest of the result will be nodata"  # where an image ends before the fine one
_BYTES = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float64": 8}


@dataclass(frozen=True)
class Finding:
    """One sentence on a job.

    Attributes:
        level: ``error`` (cannot be fused), ``warning`` or ``info`` (what will be done about it).
        place: The field it belongs to: a role, ``references``, ``date``, ``parameter:NAME``,
            ``extent``, ``output`` or ``error_output``.
        sentence: What is the matter and what to do.
    """

    level: str
    place: str
    sentence: str


def check_job(job: Job, card: Card, infos: Mapping[str, RasterInfo]) -> list[Finding]:
    """Everything that can be said of a job without reading pixels.

    Args:
        job: May be incomplete; what is missing is an error.
        card: The card of ``job.model``.
        infos: By the names of ``job.sources``; an image that could not be opened is left out (who
            opened it has said so).
    """
    found = list(_roles(job, card))
    found += _parameters(job, card)
    found += _numbers(job)
    found += _bands(job, card, infos)
    found += _dates(job, card)
    found += _grids(job, card, infos)
    found += _outputs(job, card, infos)
    return found


def first_error(findings: list[Finding]) -> str | None:
    """The sentence of the first error, if any."""
    return next((item.sentence for item in findings if item.level == ERROR), None)


def place_of(name: str) -> str:
    """The form field of a name in ``job.sources``."""
    return "references" if name.startswith(("coarse ", "fine ")) else name


def _roles(job: Job, card: Card) -> Iterator[Finding]:
    for spec in card.inputs:
        if spec.role == "references":
            count = len(job.references)
            if count < spec.min_pairs:
                yield Finding(
                    ERROR, "references",
                    f"{card.name} needs at least {spec.min_pairs} reference pair"
                    f"{'s' if spec.min_pairs > 1 else ''}, got {count}. Add a coarse and a fine "
                    "image of the same day.",
                )  # fmt: skip
            if spec.max_pairs is not None and count > spec.max_pairs:
                yield Finding(
                    ERROR, "references",
                    f"{card.name} takes at most {spec.max_pairs} reference pairs, got {count}. "
                    "Remove some.",
                )  # fmt: skip
        elif spec.role not in job.inputs and not spec.optional:
            yield Finding(ERROR, spec.role, f"{spec.label} is missing. Choose a layer or file.")
    for role in job.inputs:
        if role not in {spec.role for spec in card.inputs}:
            yield Finding(ERROR, role, f"{card.name} has no input {role!r}. Leave it out.")


def _parameters(job: Job, card: Card) -> Iterator[Finding]:
    known = {spec.name: spec for spec in card.parameters}
    for name, value in job.parameters.items():
        try:
            card.check_parameters({name: value})
        except InputError as error:
            place = f"parameter:{name}" if name in known else "parameters"
            yield Finding(ERROR, place, str(error))


def _numbers(job: Job) -> Iterator[Finding]:
    """Scales, offsets and cell sizes that no image can have."""
    for name, source in job.sources.items():
        numbers = (("scale", source.scale), ("offset", source.offset))
        wrong = [(k, v) for k, v in numbers if v is not None and not math.isfinite(v)]
        if source.scale == 0:
            wrong.append(("scale", 0.0))
        size = source.cell_size
        if size is not None and not (math.isfinite(size) and size > 0):
            wrong.append(("cell size", size))
        for what, value in wrong:
            yield Finding(
                ERROR, place_of(name),
                f"The {what} of {source.label} is {value:g}. Give another number or leave it out.",
            )  # fmt: skip


def chosen_bands(source: RasterSource, info: RasterInfo) -> tuple[int, ...]:
    """The bands to read: those chosen, else all."""
    return source.bands or tuple(range(1, info.bands + 1))


def _bands(job: Job, card: Card, infos: Mapping[str, RasterInfo]) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    for name, source in job.sources.items():
        if name not in infos:
            continue
        info = infos[name]
        missing = sorted(band for band in source.bands if band > info.bands)
        if missing:
            yield Finding(
                ERROR, place_of(name),
                f"{source.label} has {info.bands} bands, not a band {missing[0]}. Choose others.",
            )  # fmt: skip
            continue
        counts[name] = len(chosen_bands(source, info))
    yield from _band_limits(job, card, counts)
    if card.family != "spatiotemporal" or "coarse_target" not in counts:
        return
    target = job.sources["coarse_target"].label
    wanted = counts["coarse_target"]
    for name, count in counts.items():
        if count != wanted and name != CLASS_LAYER:
            yield Finding(
                ERROR, place_of(name),
                f"{job.sources[name].label} has {count} bands, {target} has {wanted}. Choose as "
                "many bands in both, in the same order.",
            )  # fmt: skip


def _band_limits(job: Job, card: Card, counts: Mapping[str, int]) -> Iterator[Finding]:
    for spec in card.inputs:
        if spec.role not in counts:
            continue
        count, label = counts[spec.role], job.sources[spec.role].label
        if count < spec.min_bands:
            yield Finding(
                ERROR, spec.role,
                f"{card.name} needs at least {spec.min_bands} bands, {label} has {count}. Choose "
                "an image with more.",
            )  # fmt: skip
        if spec.max_bands is not None and count > spec.max_bands:
            yield Finding(
                ERROR, spec.role,
                f"{card.name} takes {spec.max_bands} band"
                f"{'s' if spec.max_bands > 1 else ''} of {label}, {count} are chosen. "
                "Choose fewer.",
            )  # fmt: skip


def _dates(job: Job, card: Card) -> Iterator[Finding]:
    if card.family != "spatiotemporal" or "coarse_target" not in job.sources:
        return
    target = parse_date(job.sources["coarse_target"].date)
    if target is None:
        yield Finding(
            WARNING, "date",
            "The target date is not known. The result will carry no date, and all pairs count "
            "the same; give the date to change that.",
        )  # fmt: skip
    days = []
    for number, pair in enumerate(job.references, 1):
        coarse, fine = parse_date(pair.coarse.date), parse_date(pair.fine.date)
        if coarse and fine and coarse != fine:
            yield Finding(
                WARNING, "references",
                f"The images of pair {number} are {abs((coarse - fine).days)} days apart "
                f"({coarse} and {fine}). They are taken for one day; choose images of the same "
                "day if you have them.",
            )  # fmt: skip
        day = parse_date(pair.date)
        if day is None:
            yield Finding(
                WARNING, "references",
                f"The date of pair {number} is not known. It counts like a pair at the mean "
                "distance; give its date to change that.",
            )  # fmt: skip
        elif day == target:
            yield Finding(
                WARNING, "references",
                f"Pair {number} has the target date {day}. The result will all but repeat its "
                "fine image; choose another target or pair.",
            )  # fmt: skip
        if day is not None and day in days:
            yield Finding(
                WARNING, "references",
                f"Two pairs have the date {day}. Both are used; remove one if that is a mistake.",
            )  # fmt: skip
        if day is not None:
            days.append(day)
    if target and len(days) > 1 and not min(days) <= target <= max(days):
        yield Finding(
            WARNING, "date",
            f"The target date {target} lies outside the pairs ({min(days)} to {max(days)}). "
            "The change is extrapolated; a pair on the other side would help.",
        )  # fmt: skip


def _grids(job: Job, card: Card, infos: Mapping[str, RasterInfo]) -> Iterator[Finding]:
    grid_name = job.grid_source(card.grid_role)
    fine = infos.get(grid_name)
    if fine is None:
        return
    for name, info in infos.items():
        if name != grid_name:
            rest = _GUESSED if name == CLASS_LAYER else BEYOND
            yield from _against(name, info, fine, rest)
    coarse = "coarse_target" if card.family == "spatiotemporal" else "multispectral"
    if coarse in infos and coarse in job.sources:
        yield from _ratio(job, card, coarse, infos[coarse], fine)
    for sentence in misfits(card, fine.label, fine.metres, fine.wavelengths):
        yield Finding(WARNING, "model", sentence)
    yield from _swapped(job, infos, fine)
    window = Window(0, 0, fine.height, fine.width)
    if job.extent is not None:
        try:
            window = window_of(job.extent, fine.transform, fine.width, fine.height)
        except InputError as error:
            yield Finding(ERROR, "extent", str(error))
    yield from _search_window(job, card, min(window.rows, window.cols))


def _against(name: str, info: RasterInfo, fine: RasterInfo, rest: str) -> Iterator[Finding]:
    place = place_of(name)
    try:
        placed = placement(info, fine)
    except InputError as error:
        yield Finding(ERROR, place, str(error))
        return
    if placed is not None:
        same = (info.width, info.height) == (fine.width, fine.height)
        how = "the same pixels as" if same else "the same area as"
        yield Finding(
            INFO if same else WARNING, place,
            f"{info.label if not info.crs else fine.label} has no CRS. {info.label} is taken to "
            f"cover {how} {fine.label}.",
        )  # fmt: skip
        return
    if info.extent is None and info.same_crs:
        sentence = f"The position of {info.label} is no usable one. Correct its georeference."
        yield Finding(ERROR, place, sentence)
        return
    if info.extent is None:
        yield Finding(
            ERROR, place,
            f"{info.label} cannot be transformed from {info.crs} to {fine.crs}. Reproject it "
            "first (Raster ▸ Projections ▸ Warp).",
        )  # fmt: skip
        return
    share = overlap(fine.extent, info.extent) if fine.extent else 1.0
    if share <= 0:
        yield Finding(
            ERROR, place,
            f"{info.label} does not overlap {fine.label}. Choose images of the same area, or "
            "correct the CRS of the one that lies in the wrong place.",
        )  # fmt: skip
    elif share < 0.995:
        yield Finding(
            WARNING, place,
            f"{info.label} covers {share:.0%} of {fine.label}. {rest}.",
        )  # fmt: skip
    if not info.same_crs:
        yield Finding(
            INFO, place, f"{info.label} is reprojected from {info.crs} to {fine.crs} on the fly."
        )


def coarse_ratio(job: Job, name: str, info: RasterInfo, fine: RasterInfo) -> tuple[float, float]:
    """Coarse over fine pixel size along x and y, from the stated cell size where there is one."""
    stated = job.sources[name].cell_size
    width, height = pixel_size(fine.transform)
    placed = placement(info, fine)
    size = pixel_size(placed) if placed is not None else info.pixel
    if stated:
        size = (max(stated, size[0]), max(stated, size[1]))
    return size[0] / width, size[1] / height


def _ratio(
    job: Job, card: Card, name: str, info: RasterInfo, fine: RasterInfo
) -> Iterator[Finding]:
    try:
        ratio = sum(coarse_ratio(job, name, info, fine)) / 2
    except InputError:
        return  # said by _against
    if ratio < 0.99:
        yield Finding(
            ERROR, name,
            f"The pixels of {info.label} are smaller than those of {fine.label} (ratio "
            f"{ratio:.2f}). Swap the coarse and the fine image.",
        )  # fmt: skip
    elif card.family == "spatiotemporal" and ratio < 1.5:
        yield Finding(
            WARNING, name,
            f"{info.label} is on the grid of the fine image, so the size of its original cells "
            "is not known. It is estimated; give the cell size to be sure.",
        )  # fmt: skip
    elif not card.ratio["min"] <= ratio <= card.ratio["max"]:
        yield Finding(
            WARNING, name,
            f"The coarse pixels are {ratio:.1f} times as large as the fine ones; {card.name} is "
            f"made for {card.ratio['min']:g} to {card.ratio['max']:g}. Look at the result with "
            "care.",
        )  # fmt: skip


def _swapped(job: Job, infos: Mapping[str, RasterInfo], fine: RasterInfo) -> Iterator[Finding]:
    """Pairs whose coarse image has the smaller pixels; the grid may be that of such a pair."""
    for number in range(1, len(job.references) + 1):
        names = [f"{kind} {number}" for kind in ("coarse", "fine")]
        try:
            size, other = (sum(coarse_ratio(job, name, infos[name], fine)) for name in names)
        except (KeyError, InputError):
            continue  # said by who opened the image or by _against
        if size < 0.99 * other:
            yield Finding(
                ERROR, "references",
                f"The coarse image {infos[names[0]].label} of pair {number} has smaller pixels "
                f"than its fine {infos[names[1]].label} (ratio {size / other:.2f}). Swap them.",
            )  # fmt: skip


def _search_window(job: Job, card: Card, side: int) -> Iterator[Finding]:
    for spec in card.parameters:
        size = job.parameters.get(spec.name, spec.default)
        if card.halo == {"half_of": spec.name} and isinstance(size, int) and size > side:
            yield Finding(
                INFO, f"parameter:{spec.name}",
                f"{spec.label} is {size} {spec.unit}, but the image has only {side} on one side. "
                "What lies beyond its border is left out; a smaller window is faster.",
            )  # fmt: skip


def _outputs(job: Job, card: Card, infos: Mapping[str, RasterInfo]) -> Iterator[Finding]:
    faults = {"output": fault_of(job.output, job)}
    if job.error_output is not None:
        faults["error_output"] = error_fault(job.error_output, job, card)
    for place, fault in faults.items():
        if fault is not None:
            yield Finding(ERROR, place, fault)
    if faults["output"] is None:
        yield from _space(job, card, infos, os.path.dirname(os.path.abspath(job.output)))


def _space(job: Job, card: Card, infos: Mapping[str, RasterInfo], folder: str) -> Iterator[Finding]:
    fine = infos.get(job.grid_source(card.grid_role))
    main = "coarse_target" if card.family == "spatiotemporal" else "multispectral"
    if fine is None or main not in infos or main not in job.sources:
        return
    bands = len(chosen_bands(job.sources[main], infos[main]))
    stored = _BYTES.get(fine.dtype, 4) + (0 if job.error_output is None else 4)
    need = fine.width * fine.height * bands * stored
    free = shutil.disk_usage(folder).free
    if job.extent is None and free < need:
        yield Finding(
            WARNING, "output",
            f"The output takes up to {need / 1e6:.0f} MB, {folder} has {free / 1e6:.0f} MB free. "
            "Free some space or choose another folder.",
        )  # fmt: skip
