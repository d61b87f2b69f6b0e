"""A job as text that repeats it elsewhere: in the worker, the console or a shell."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Collection, Iterator
from typing import Any

from ...models.cards import CLASS_LAYER
from ..job import COREGISTER, Job, RasterSource, ReferencePair

_SETTINGS = ("scale", "offset", "nodata", "cell_size")


def as_text(job: Job, kind: str, temporary: Collection[str] = ()) -> str:
    """The job as ``json``, ``python`` or ``qgis_process``.

    Args:
        job: What would be run.
        kind: One of the three.
        temporary: Those of its outputs that are temporary files, which each run then makes anew;
            JSON always names them, and so does Python the standard error.
    """
    if kind == "json":
        return json.dumps(json.loads(job.to_json()), indent=2, ensure_ascii=False)
    return as_python(job, temporary) if kind == "python" else as_command(job, temporary)


def as_command(job: Job, temporary: Collection[str] = ()) -> str:
    """A shell command; dates are always given, so nothing has to be guessed again."""
    words = ["qgis_process", "run", f"rasterfuse:{job.model}", "--"]
    words += [f"{name}={value}" for name, value in _processing_values(job)]
    for name, path in zip(("OUTPUT", "STANDARD_ERROR"), job.outputs):
        words.append(f"{name}={'TEMPORARY_OUTPUT' if path in temporary else path}")
    return " ".join(shlex.quote(word) for word in words)


def _processing_values(job: Job) -> list[tuple[str, Any]]:
    values: list[tuple[str, Any]] = []
    for role, source in job.inputs.items():
        if isinstance(source, RasterSource):
            values.append((role.upper(), source.path))
    target = job.inputs.get("coarse_target")
    if isinstance(target, RasterSource):
        values += _references(job)
        if target.date:
            values.append(("TARGET_DATE", target.date))
        values += _settings("COARSE", target)
        values += _settings("FINE", job.references[0].fine) if job.references else []
        classes = job.inputs.get(CLASS_LAYER)
        if isinstance(classes, RasterSource):
            values += _settings(CLASS_LAYER.upper(), classes)
        values += [("HARMONISE", job.harmonise), ("COREGISTER", job.coregister)]
    else:
        for role, source in job.inputs.items():
            if isinstance(source, RasterSource):
                values += _settings(role.upper(), source)
    values += [(n.upper(), v) for n, v in job.parameters.items() if v is not None]
    if job.extent is not None:
        xmin, ymin, xmax, ymax = job.extent
        values.append(("EXTENT", f"{xmin},{xmax},{ymin},{ymax}"))
    return [*values, ("DEVICE", job.device)]


def _references(job: Job) -> list[tuple[str, str]]:
    values = [("COARSE_REFERENCES", pair.coarse.path) for pair in job.references]
    values += [("FINE_REFERENCES", pair.fine.path) for pair in job.references]
    days = [pair.date for pair in job.references]
    if all(days):
        values.append(("REFERENCE_DATES", ",".join(str(day) for day in days)))
    return values


def _settings(prefix: str, source: RasterSource) -> list[tuple[str, Any]]:
    values: list[tuple[str, Any]] = []
    if source.bands:
        values.append((f"{prefix}_BANDS", ";".join(map(str, source.bands))))
    for name in _SETTINGS:
        value = getattr(source, name)
        if value is not None:
            values.append((f"{prefix}_{name.upper()}", value))
    return values


def as_python(job: Job, temporary: Collection[str] = ()) -> str:
    """A call for the Python console."""
    arguments = [repr(job.model)]
    arguments += [f"{name}={text}" for name, text in _keywords(job)]
    if job.output not in temporary:
        arguments.append(f"output={job.output!r}")
    if job.error_output is not None:
        arguments.append(f"error_output={job.error_output!r}")
    body = "".join(f"    {argument},\n" for argument in arguments)
    names = ["from rasterfuse import fuse"]
    if "Image(" in body:
        names.append("from rasterfuse.plugin.scripting import Image")
    return "\n".join([*names, "", f"fuse(\n{body})"])


def _keywords(job: Job) -> Iterator[tuple[str, str]]:
    for role, source in job.inputs.items():
        if isinstance(source, RasterSource):
            yield role, _image(source, bands=role == CLASS_LAYER)
    if job.references:
        yield "references", f"[{', '.join(_pair(pair) for pair in job.references)}]"
    coarse, fine = _sides(job)
    if coarse is not None and coarse.date:
        yield "target_date", repr(coarse.date)
    if coarse is not None and coarse.bands:
        yield "coarse_bands", repr(coarse.bands)
    if fine is not None and fine.bands:
        yield "fine_bands", repr(fine.bands)
    for name, value in job.parameters.items():
        if value is not None:
            yield name, repr(value)
    if job.extent is not None:
        yield "extent", repr(job.extent)
    if job.harmonise != "auto":
        yield "harmonise", repr(job.harmonise)
    if job.coregister != COREGISTER[0]:
        yield "coregister", repr(job.coregister)
    if job.device != "auto":
        yield "device", repr(job.device)


def _sides(job: Job) -> tuple[RasterSource | None, RasterSource | None]:
    """The images that stand for the coarse and the fine ones."""
    sources = job.sources
    coarse = sources.get("coarse_target") or sources.get("multispectral")
    return coarse, sources.get("fine 1") or sources.get("panchromatic")


def _pair(pair: ReferencePair) -> str:
    day = f", {pair.date!r}" if pair.date else ""
    return f"({_image(pair.coarse)}, {_image(pair.fine)}{day})"


def _image(source: RasterSource, bands: bool = False) -> str:
    """A path, or an ``Image`` when the user said more of it; most bands are said elsewhere."""
    stated = [(name, getattr(source, name)) for name in _SETTINGS]
    said = "".join(f", {name}={_literal(value)}" for name, value in stated if value is not None)
    said += f", bands={source.bands!r}" if bands and source.bands else ""
    return f"Image({source.path!r}{said})" if said else repr(source.path)


def _literal(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'float("{value}")'
