"""The job: everything a fusion needs to know, as plain data that round-trips through JSON.

All doors build it, the worker runs it, the result carries it. Standard library only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Union

from ..models.errors import InputError, shown
from . import reading
from .paths import part_of

VERSION = 1
HARMONISE = ("auto", "always", "never")
COREGISTER = ("never", "auto")


@dataclass(frozen=True)
class RasterSource:
    """One image.

    Attributes:
        path: Anything GDAL opens.
        bands: 1-based, in the order wanted; empty for all.
        date: Day of the image as YYYY-MM-DD.
        scale: Physical value = stored value * scale + offset; None: as the file says.
        offset: See ``scale``.
        nodata: Stored value that means "no data"; None: as the file says. NaN always does.
        cell_size: For a coarse image that was resampled to the fine grid beforehand: the size of
            its original cells in units of the fine image's CRS.
        name: What to call it in messages; the file name when empty.
    """

    path: str
    bands: tuple[int, ...] = ()
    date: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    cell_size: float | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """What to call the image in messages."""
        return self.name or self.path.replace("\\", "/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class ReferencePair:
    """A coarse and a fine image of the same day."""

    coarse: RasterSource
    fine: RasterSource

    @property
    def date(self) -> str | None:
        """The day of the pair: the fine image's, else the coarse one's."""
        return self.fine.date or self.coarse.date

    def with_images(self, swap: Callable[[RasterSource], RasterSource]) -> ReferencePair:
        """The same pair with both images replaced."""
        return ReferencePair(swap(self.coarse), swap(self.fine))


@dataclass(frozen=True)
class Limits:
    """What the job may use; None lets the engine choose.

    Attributes:
        memory_mb: Memory for tiles and buffers in MiB.
        tile: Side of a tile's core in fine pixels.
        threads: CPU threads.
        resume: Keep the finished tiles of a job that does not end, and take over such tiles.
    """

    memory_mb: int | None = None
    tile: int | None = None
    threads: int | None = None
    resume: bool = True


Inputs = Mapping[str, Union[RasterSource, "tuple[ReferencePair, ...]"]]


@dataclass(frozen=True)
class Job(reading.PlainData):
    """One fusion.

    Attributes:
        model: Id of the method's card.
        inputs: Images by role; the role ``references`` holds pairs.
        output: Path of the GeoTIFF to write.
        parameters: The method's own settings; missing ones take the card's default.
        extent: (xmin, ymin, xmax, ymax) in the fine image's CRS; None for all of it. It is
            widened to whole fine pixels.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` …
        harmonise: Fit the coarse images' radiometry to the fine one's, per band: ``auto`` (only
            when the units clearly differ), ``always`` or ``never``.
        coregister: ``auto`` moves coarse images that lie off the fine ones, ``never`` does not.
        backend: What runs a method's loops (``numba``, ``torch``, ``triton``) or its network
            (``openvino``, ``torch``); ``auto`` takes the fastest that is there.
        limits: Memory, tile and thread limits.
        model_file: Path of the model file, for a model that is not part of RasterFuse.
        error_output: Path of a second GeoTIFF to write, with the standard error of the result;
            None for none. Only for methods whose card says ``tells_error``.
    """

    model: str
    inputs: Inputs
    output: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extent: tuple[float, float, float, float] | None = None
    device: str = "auto"
    harmonise: str = "auto"
    coregister: str = COREGISTER[0]
    backend: str = "auto"
    limits: Limits = field(default_factory=Limits)
    model_file: str | None = None
    error_output: str | None = None
    version: int = VERSION

    @property
    def references(self) -> tuple[ReferencePair, ...]:
        pairs = self.inputs.get("references", ())
        return pairs if isinstance(pairs, tuple) else ()

    @property
    def sources(self) -> dict[str, RasterSource]:
        """Every image under a name that says its place: ``coarse_target``, ``fine 1`` and so on."""
        found = {k: v for k, v in self.inputs.items() if isinstance(v, RasterSource)}
        for number, pair in enumerate(self.references, 1):
            found[f"coarse {number}"] = pair.coarse
            found[f"fine {number}"] = pair.fine
        return found

    def grid_source(self, grid_role: str) -> str:
        """The name in ``sources`` of the image on whose grid the result lies."""
        return "fine 1" if grid_role == "references" else grid_role

    @property
    def part(self) -> str:
        """Where the result grows until it is complete."""
        return part_of(self.output)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files to write: the result, and its standard error if that is wanted."""
        return (self.output,) if self.error_output is None else (self.output, self.error_output)

    def with_output(self, path: str) -> Job:
        """The same job with another output."""
        return replace(self, output=path)

    def with_images(self, swap: Callable[[RasterSource], RasterSource]) -> Job:
        """The same job with every image replaced."""
        inputs: dict[str, RasterSource | tuple[ReferencePair, ...]] = {}
        for role, given in self.inputs.items():
            if isinstance(given, RasterSource):
                inputs[role] = swap(given)
            else:
                inputs[role] = tuple(pair.with_images(swap) for pair in given)
        return replace(self, inputs=inputs)

    def with_absolute_paths(self) -> Job:
        """The same job for a process that works in another folder."""
        model = self.model_file and os.path.abspath(self.model_file)
        error = self.error_output and os.path.abspath(self.error_output)
        output = os.path.abspath(self.output)
        job = replace(self, output=output, error_output=error, model_file=model)
        return job.with_images(absolute)

    @staticmethod
    def from_json(text: str) -> Job:
        """Read a job.

        Raises:
            InputError: The text is no JSON, lacks a field, or a field has the wrong type.
        """
        return Job.from_dict(reading.parsed(text))

    @staticmethod
    def from_dict(raw: Any) -> Job:
        """Build a job from parsed JSON. Raises InputError as ``from_json`` does."""
        raw = reading.version(raw, VERSION)
        reading.only_known(Job, raw)
        extent = raw.get("extent")
        return Job(
            model=reading.text(raw, "model"),
            inputs=_inputs(raw.get("inputs")),
            output=reading.text(raw, "output"),
            parameters=reading.mapping(raw.get("parameters", {}), "parameters"),
            extent=None if extent is None else _extent(extent),
            device=reading.text(raw, "device", "auto"),
            harmonise=reading.choice(raw, "harmonise", HARMONISE),
            coregister=reading.choice(raw, "coregister", COREGISTER),
            backend=reading.text(raw, "backend", "auto"),
            limits=_limits(raw.get("limits", {})),
            model_file=_path(raw, "model_file"),
            error_output=_path(raw, "error_output"),
        )


def absolute(source: RasterSource) -> RasterSource:
    """The same image for a process that works in another folder."""
    # What is no file here may still be something that GDAL opens: leave it.
    if os.path.exists(source.path):
        return replace(source, path=os.path.abspath(source.path))
    return source


def parse_date(text: str | None) -> date | None:
    """The day of an ISO text, None for None.

    Raises:
        InputError: It is no date.
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InputError(f"{shown(text)} is no date. Write it as YYYY-MM-DD.") from error


def _path(raw: dict[str, Any], key: str) -> str | None:
    return None if raw.get(key) is None else reading.text(raw, key)


def _extent(value: Any) -> tuple[float, float, float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        raise InputError(f"The job's extent is {shown(value)}. Give [xmin, ymin, xmax, ymax].")
    numbers = [reading.number(item, "extent") for item in value]
    finite = [item for item in numbers if item is not None and math.isfinite(item)]
    if len(finite) != 4 or finite[0] >= finite[2] or finite[1] >= finite[3]:
        raise InputError(
            f"The job's extent {shown(value)} is empty. Give [xmin, ymin, xmax, ymax]."
        )
    return finite[0], finite[1], finite[2], finite[3]


def _limits(raw: Any) -> Limits:
    raw = reading.mapping(raw, "limits")
    reading.only_known(Limits, raw)
    reading.flag(raw, "resume", True)
    for key in sorted(set(raw) - {"resume"}):
        reading.whole(raw[key], key)
    return Limits(**raw)


def _inputs(raw: Any) -> dict[str, RasterSource | tuple[ReferencePair, ...]]:
    raw = reading.mapping(raw, "inputs")
    inputs: dict[str, RasterSource | tuple[ReferencePair, ...]] = {}
    for role, value in raw.items():
        if role == "references":
            inputs[role] = read_pairs(value, role)
        else:
            inputs[role] = _source(value, role)
    return inputs


def read_pairs(raw: Any, key: str) -> tuple[ReferencePair, ...]:
    """The reference pairs of parsed JSON; the key is what messages call them."""
    if not isinstance(raw, list):
        raise InputError(f"The job's {key} are no list. Give [{{coarse, fine}}, …].")
    return tuple(_pair(item, number) for number, item in enumerate(raw, 1))


def _pair(raw: Any, number: int) -> ReferencePair:
    where = f"reference pair {number}"
    raw = reading.mapping(raw, where)
    reading.only_known(ReferencePair, raw, f"The job's {where}")
    coarse, fine = (_source(raw.get(key), f"{key} {number}") for key in ("coarse", "fine"))
    return ReferencePair(coarse, fine)


def _source(raw: Any, role: str) -> RasterSource:
    """The image of parsed JSON; the role says which one it is in messages."""
    raw = reading.mapping(raw, role)
    reading.only_known(RasterSource, raw, f"The job's {role}")
    bands = raw.get("bands", [])
    good = isinstance(bands, list) and all(type(band) is int and band > 0 for band in bands)
    if not good:
        raise InputError(
            f"The bands of {role} are {shown(bands)}. Give numbers from 1, as in [1, 2]."
        )
    day = raw.get("date")
    if day is not None:
        day = str(parse_date(reading.text(raw, "date", where=f" of {role}")))
    name = raw.get("name", "")
    return RasterSource(
        path=reading.text(raw, "path", where=f" of {role}"),
        bands=tuple(bands),
        date=day,
        scale=reading.number(raw.get("scale"), f"scale of {role}"),
        offset=reading.number(raw.get("offset"), f"offset of {role}"),
        nodata=reading.number(raw.get("nodata"), f"nodata of {role}"),
        cell_size=reading.number(raw.get("cell_size"), f"cell size of {role}"),
        name=name if isinstance(name, str) else "",
    )
