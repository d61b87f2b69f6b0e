"""What ``rasterfuse_net`` sees of a reference pair and the target: experts at half the resolution.

Experts answer for means of 2 x 2 fine pixels: that halves their noise, costs a quarter, and the
network adds the detail, its own and that of the process. Everything is in standard deviations of
the fine reference.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from .change_model import bank_of
from .change_process import Process
from .experts import SCALARS as _SCALARS
from .experts import Experts, experts_of
from .filter_bank import Map
from .pairs import FEW_CELLS
from .reduced_pair import ReducedPair

# Answers that the network can choose from. All but the last two are given as differences from D2.
EXPERTS = ("change", "D1", "D3", "mean", "E4", "E5", "E6", "process", "D2", "no change")
CHANNELS = (
    *(f"fine {number}" for number in range(4)),
    *(f"detail of the process {number}" for number in range(4)),
    "component 1", "component 2", *EXPERTS[:-2],
    "D2", "mismatch", "wide mismatch", "missed", "usual miss", "texture", "known",
)  # fmt: skip
SCALARS = (*_SCALARS, "foretold by the process")
PLACE = {name: number for number, name in enumerate(CHANNELS)}
# What turns round when the whole problem, images and change, is taken negative.
SIGNED = tuple(
    number for number, name in enumerate(CHANNELS)
    if name not in ("component 1", "component 2", "usual miss", "texture", "known")
)  # fmt: skip
SIGNED_SCALAR = SCALARS.index("mean")
# What is in standard deviations, as the images are.
_MEASURED = (*SIGNED, PLACE["usual miss"], PLACE["texture"])
_MEASURED_SCALARS = tuple(SCALARS.index(name) for name in ("size", "mean"))

# Lower and upper ends of what simulated scenes hold: beyond, a network would only guess.
_HELD = (("correlation", 0.5, 1.0), ("spread", -0.4, 0.4))
_MEAN = slice(SCALARS.index("mean"), SCALARS.index("mean") + 1)
_DIFFERENT = slice(PLACE[EXPERTS[0]], PLACE[EXPERTS[0]] + len(EXPERTS) - 2)
_LARGE = 4.0  # standard deviations: a change of this size is not that much larger than the image
_SAME = 1e-3  # of its mean: a change that varies less is the same everywhere
_MOST = 12.0  # standard deviations beyond which no difference is seen
_T = TypeVar("_T")


@dataclass(frozen=True)
class Learnt:
    """What was learnt of a pair and the target; all but the process for half the resolution.

    Attributes:
        experts: E4 to E6 and the smoothed changes.
        process: What tells the change of single pixels.
        unit: (bands,) standard deviations that count as 1: more than one where a change is many
            times larger than what the fine reference shows, as on water that freezes.
        size: (bands,) root mean square of the coarse change in standard deviations.
        mean: (bands,) its mean, likewise.
        plain: (bands,) bool, where nothing but the mean can be told: the fine reference or the
            change is the same everywhere, or the cells are too few.
    """

    experts: Experts
    process: Process
    unit: Tensor
    size: Tensor
    mean: Tensor
    plain: Tensor

    @property
    def scale(self) -> Tensor:
        """(bands,) what 1 is in the fine image's unit."""
        return self.experts.look.scale * self.unit

    def to(self, device: torch.device) -> Learnt:
        """The same on another device."""
        return Learnt(
            self.experts.to(device), self.process.to(device), self.unit.to(device),
            self.size.to(device), self.mean.to(device), self.plain.to(device),
        )  # fmt: skip

    def at(
        self, fine: Tensor, valid: Tensor, change: Tensor, places: Tensor, row: int, col: int,
        wanted: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """What a network sees of a window.

        Args:
            fine: (bands, rows, cols) fine reference in its own unit, rows and columns even.
            valid: (rows, cols) bool, where the fine reference is known.
            change: (bands, rows, cols) coarse target less coarse reference on the fine grid, NaN
                where hidden.
            places: (2, rows, cols), where its pixels lie among the cells that were learnt from.
            row: Of the window's first pixel in the scene, even; may be negative, as ``col`` may.
            col: Likewise.
            wanted: Back-end, as in a job.

        Returns:
            Planes (bands, channels, rows / 2, cols / 2) and scalars (bands, scalars).
        """
        known = valid.to(fine)[None]
        scaled = self.experts.look.known(fine, valid)
        share = functional.avg_pool2d(known, 2)
        half = functional.avg_pool2d(scaled * known, 2) / share.clamp(min=0.25)
        raw = functional.avg_pool2d(change, 2)  # NaN where one of four is
        found = self.experts.at(half, raw, row // 2, col // 2)
        told = self.process.at(scaled, valid, places, row, col, wanted)
        # Of hidden pixels the process tells nothing.
        mean = functional.avg_pool2d(told * known, 2) / share.clamp(min=0.25)
        mean = torch.where(share > 0, mean, found["D2"])
        missed, usual = self.process.missed_at(functional.avg_pool2d(places, 2))
        found |= {
            "process": mean, "missed": missed, "usual miss": usual, "known": share,
            "mean": self.experts.scalars[:, _MEAN, None],
        }  # fmt: skip
        planes = fine.new_empty(len(fine), len(CHANNELS), *mean.shape[1:])
        detail = (told - doubled(mean[None])[0]) * known
        for first, image in ((0, scaled), (4, detail)):
            planes[:, first : first + 4] = functional.pixel_unshuffle(image[:, None], 2)
        for name in CHANNELS[8:]:
            planes[:, PLACE[name]] = found[name]
        planes[:, _DIFFERENT] -= found["D2"][:, None]
        scalars = torch.cat([self.experts.scalars, self.process.foretold[:, None]], dim=1)
        for name, low, high in _HELD:
            scalars[:, SCALARS.index(name)].clamp_(low, high)
        if (self.unit != 1).any():
            planes[:, _MEASURED] /= self.unit[:, None, None, None]
            scalars[:, _MEASURED_SCALARS] /= self.unit[:, None]
        return planes.clamp_(-_MOST, _MOST), scalars


def learn(pair: ReducedPair, process: Process) -> Learnt:
    """Learn the experts of a pair from reduced images of the whole scene.

    Args:
        pair: The images.
        process: Learnt from the same scene.
    """
    bank = bank_of(pair)
    mean, varied = bank.mean.flatten(), bank.change.square().mean(dim=(1, 2)).sqrt()
    size = (mean.square() + varied.square()).sqrt()
    plain = pair.look.flat | (varied <= _SAME * mean.abs())
    return Learnt(
        _thinned(experts_of(pair)), process, (size / _LARGE).clamp(min=1.0), size, mean,
        plain | (bank.cells < FEW_CELLS),
    )  # fmt: skip


def doubled(image: Tensor) -> Tensor:
    """(samples, channels, rows, cols) at twice the resolution, bilinearly."""
    return functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)


def _thinned(learnt: _T) -> _T:
    """The same with maps that count in pixels of twice the side."""
    return cast(_T, _with_halves(learnt))


def _with_halves(learnt: Any) -> Any:
    if isinstance(learnt, Map):
        return Map(learnt.values, learnt.pixel / 2)
    if isinstance(learnt, tuple):
        return tuple(_with_halves(part) for part in learnt)
    if not is_dataclass(learnt) or isinstance(learnt, type):
        return learnt
    return replace(
        learnt, **{item.name: _with_halves(getattr(learnt, item.name)) for item in fields(learnt)}
    )
