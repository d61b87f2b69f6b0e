"""Model files: what a trained model says of itself, read without loading it.

A model file is one ``.safetensors`` file: the length of its header (8 bytes), the header (JSON:
type, shape and place of every tensor), the numbers. Under the key ``rasterfuse`` of the header's
metadata lies the model card. Reading it executes nothing. Standard library only: QGIS and the
worker both import this.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, BinaryIO

from .errors import ModelFileError, shown

FORMAT = 1
SUFFIX = ".safetensors"
KEY = "rasterfuse"
_HEADER_LIMIT = 4 * 2**20  # bytes; that of a network with ten thousand tensors is below 1.5 MB
_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
_ID = re.compile(r"[a-z][a-z0-9_]{0,59}")
_UNSAFE = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it",
    b"\x80": "a Python pickle, as torch.save writes it",
}


@dataclass(frozen=True)
class ModelCard:
    """What a trained model is, beside its weights.

    Attributes:
        id: Names it in jobs and algorithms: small letters, digits and underscores.
        name: For users.
        method: Id of the method whose weights these are.
        created: Day, YYYY-MM-DD.
        sensors: Of the images it was trained on, in words.
        bands: Of these images, in words.
        wavelengths: Centres of these bands in nanometres; empty: not known.
        scale: Smallest and largest pixel size in metres of fine images that it is made for; None:
            of any size.
        dates: Days of the images, YYYY-MM-DD.
        ratio: The same of the ratio of pixel sizes.
        data: On what it was trained, in words.
        licence: Of the weights.
        seed: Of all random numbers.
        minutes: How long the training took.
        metrics: By answer (``model`` and the ids of the trivial ones) its figures by name.
        network: Arguments of the network's constructor.
        notes: What else its author wants to say.
    """

    id: str
    name: str
    method: str
    created: str = ""
    sensors: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    scale: tuple[float, float] | None = None
    dates: tuple[str, ...] = ()
    ratio: tuple[float, float] | None = None
    data: str = ""
    licence: str = ""
    seed: int = 0
    minutes: float = 0.0
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    format: int = FORMAT

    def to_json(self) -> str:
        """What ``from_json`` reads.

        Raises:
            ValueError: A number is not finite, or ``network`` holds what JSON does not know.
        """
        return json.dumps(asdict(self), allow_nan=False, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> ModelCard:
        """Read a model card; fields that are left out take their defaults.

        Raises:
            ModelFileError: It is of a newer format, or a field is missing or of the wrong type.
        """
        raw = _json(text, "The model card")
        if not isinstance(raw, dict):
            raise ModelFileError(f"The model card is {shown(raw)}, not an object.")
        made = raw.get("format", 0)
        if type(made) is int and made > FORMAT:
            raise ModelFileError(
                f"The model has format {shown(made)}, this RasterFuse reads {FORMAT}. Update "
                "RasterFuse."
            )
        kinds = {item.name: _READERS[str(item.type)] for item in fields(ModelCard)}
        unknown = sorted(set(raw) - set(kinds))
        if unknown:
            raise ModelFileError(f"The model card has the unknown field {shown(unknown[0])}.")
        missing = [key for key in ("format", "id", "name", "method") if key not in raw]
        if missing:
            raise ModelFileError(f"The model card lacks {', '.join(missing)}.")
        card = ModelCard(**{key: _read(kinds[key], raw[key], key) for key in raw})
        for key, value in (("id", card.id), ("method", card.method)):
            if not is_model_id(value):
                raise ModelFileError(f"The model card's {key} is {shown(value)}, no id.")
        return card


def is_model_id(text: str) -> bool:
    """Whether a text can name a model in jobs and algorithms."""
    return _ID.fullmatch(text) is not None


def id_of_name(name: str) -> str:
    """An id that looks like a name: ``Étang, été 2024`` becomes ``etang_ete_2024``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:50]
    return found if is_model_id(found) else f"model_{found}".rstrip("_")


def read_model_card(path: str | os.PathLike[str]) -> ModelCard:
    """The model card of a model file; the tensors are not loaded, only their places checked.

    Raises:
        ModelFileError: It is missing, damaged, foreign, too new, or could execute code.
    """
    name = os.path.basename(os.fspath(path))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # who opens a pipe may wait for ever
            raise ModelFileError("It is no file. Choose a file.")
        with open(path, "rb") as file:
            header = _header(file)
            _check_places(header, os.fstat(file.fileno()).st_size - file.tell())
        metadata = header.get("__metadata__")
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise ModelFileError(
                "It holds weights, but no model card of RasterFuse. Choose a model that RasterFuse "
                "has exported."
            )
        return ModelCard.from_json(text)
    except ModelFileError as error:
        sentence = f"The model file {name} cannot be used. {error.sentence}"
        raise ModelFileError(sentence, detail=os.fspath(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"The model file {name} cannot be read ({reason}). Choose another file.",
            detail=os.fspath(path),
        ) from error


def _header(file: BinaryIO) -> dict[str, Any]:
    start = file.read(8)
    if len(start) < 8:
        raise ModelFileError(f"It has only {len(start)} bytes. Get it anew.")
    (length,) = struct.unpack("<Q", start)
    if length > _HEADER_LIMIT:
        for magic, what in _UNSAFE.items():
            if start.startswith(magic):
                raise ModelFileError(
                    f"It is {what}, which can execute code; it was not loaded. Ask its author for "
                    f"a model that RasterFuse has exported ({SUFFIX})."
                )
        raise ModelFileError(
            f"Its header would have {length} bytes (at most {_HEADER_LIMIT} are read): it is no "
            "model of RasterFuse, or damaged."
        )
    text = file.read(length)
    if len(text) < length:
        raise ModelFileError(
            f"It is cut off: {len(text)} of the {length} bytes of its header are there. Get it "
            "anew."
        )
    header = _json(text, "Its header")
    if not isinstance(header, dict):
        raise ModelFileError("Its header is no object: it is no model of RasterFuse, or damaged.")
    return header


def _check_places(header: dict[str, Any], size: int) -> None:
    """The tensors fill all of the file behind the header, without gap or overlap."""
    places = []
    for name, tensor in header.items():
        if name != "__metadata__":
            places.append((*_place(name, tensor), name))
    end = 0
    for begin, stop, name in sorted(places):
        if begin != end:
            raise ModelFileError(
                f"Its tensor {shown(name)} begins at byte {begin} instead of {end}: it is damaged. "
                "Get it anew."
            )
        end = stop
    if end > size:
        raise ModelFileError(f"It is cut off: {end - size} bytes are missing. Get it anew.")
    if end < size:
        raise ModelFileError(f"It has {size - end} bytes too many: it is damaged. Get it anew.")


def _place(name: str, tensor: Any) -> tuple[int, int]:
    raw = tensor if isinstance(tensor, dict) else {}
    shape, place = _counts(raw.get("shape")), _counts(raw.get("data_offsets"))
    size = _SIZES.get(str(raw.get("dtype")))
    if shape is not None and place is not None and size is not None and len(place) == 2:
        begin, end = place
        if end - begin == math.prod(shape) * size:
            return begin, end
    raise ModelFileError(f"Its tensor {shown(name)} is damaged ({shown(tensor)}). Get it anew.")


def _counts(value: Any) -> list[int] | None:
    if not isinstance(value, list):
        return None
    good = all(type(item) is int and 0 <= item < 2**48 for item in value)
    return value if good else None


def _json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{what} is no JSON: it is no model of RasterFuse, or damaged.", detail=repr(error)
        ) from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON.")


def _read(kind: Any, value: Any, key: str) -> Any:
    """A field of the card, when the value is of its kind."""
    found = kind(value)
    if found is None and value is not None:
        raise ModelFileError(f"The model card's {key} is {shown(value)}, which is of another type.")
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) < 10_000 else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _number(value: Any) -> float | None:
    good = type(value) in (int, float) and abs(value) < 1e300
    return float(value) if good else None


def _texts(value: Any) -> tuple[str, ...] | None:
    good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if good else None


def _numbers(value: Any) -> tuple[float, ...] | None:
    found = [_number(item) for item in value] if isinstance(value, list) else [None]
    return None if None in found else tuple(item for item in found if item is not None)


def _range(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = _number(value[0]), _number(value[1])
    return (low, high) if low is not None and high is not None and low <= high else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _figures(value: Any) -> dict[str, dict[str, float]] | None:
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        return None
    numbers = [number for item in value.values() for number in item.values()]
    return None if any(_number(number) is None for number in numbers) else value


_READERS = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "tuple[str, ...]": _texts,
    "tuple[float, ...]": _numbers,
    "tuple[float, float] | None": _range,
    "Mapping[str, Any]": _object,
    "Mapping[str, Mapping[str, float]]": _figures,
}
