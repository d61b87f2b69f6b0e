"""What decides the pixels of a job, as one short text: the same text, the same pixels.

Of every input file count the path, the size, the times and a sample of the content. To read all of
a 10 GB file would take longer than to fuse some of its tiles again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import rasterio
import torch
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from ...job import Job
from .. import VERSION
from ..scene import Scene
from ..views import quiet

_BLOCKS, _BLOCK = 32, 2**15  # of a file: the first, the last, and others evenly between
_ENGINE = Path(__file__).resolve().parents[1]
_DECIDES = ("*.py", "*.json", "*.safetensors")  # programs, cards and weights
_CODE = (_ENGINE, _ENGINE.parents[1] / "models")


def stamp(job: Job, scene: Scene) -> str | None:
    """The stamp of a job whose images are open; None where one of them is no plain file."""
    digest = blake2b(digest_size=16)
    counts = job.to_dict()
    for indifferent in ("output", "limits"):
        del counts[indifferent]
    counts["error_output"] = job.error_output is not None  # whatever its name
    counts["inputs"] = _nameless(counts["inputs"])
    counts["engine"] = [VERSION, torch.__version__, _code()]
    digest.update(json.dumps(counts, sort_keys=True).encode("utf-8", "surrogatepass"))
    try:
        if job.model_file is not None:
            _add_file(digest, job.model_file)
        for raster in scene.rasters.values():
            for path in _files(raster.dataset):
                _add_file(digest, path)
    except (OSError, ValueError, RasterioError):
        return None
    return digest.hexdigest()


def _nameless(value: Any) -> Any:
    """Inputs without what they are called in messages."""
    if isinstance(value, dict):
        return {key: _nameless(item) for key, item in value.items() if key != "name"}
    return [_nameless(item) for item in value] if isinstance(value, list) else value


def _files(dataset: DatasetReader) -> Iterator[str]:
    """The files that an image consists of; a VRT names those of the VRTs in it only by name."""
    waiting, seen = list(dataset.files), set()
    if not waiting:
        raise ValueError(f"{dataset.name} consists of no files.")
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        if path.lower().endswith(".vrt"):
            with quiet(), rasterio.open(path) as inner:
                waiting += inner.files


def _add_file(digest: Any, path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no plain file.")
    size = status.st_size
    # The time of the last change of the file's own record cannot be set back, as the other can.
    counts = (path, size, status.st_mtime_ns, status.st_ctime_ns)
    digest.update(repr(counts).encode("utf-8", "surrogatepass"))
    with open(path, "rb") as file:
        for number in range(_BLOCKS):
            file.seek(max(size - _BLOCK, 0) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
            if size <= _BLOCK:
                break


@cache
def _code() -> str:
    """Digest of the programs: they may change while the version does not."""
    digest = blake2b(digest_size=16)
    for folder in _CODE:
        for path in sorted(item for kind in _DECIDES for item in folder.rglob(kind)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
