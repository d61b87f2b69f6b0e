"""The networks of ``rasterfuse_net``: how far to believe each expert, at every place.

Every band of a scene is one sample, so their number and order do not matter; bands meet only in
means over the scene's bands. They work on half the resolution, look at the pixels next to each, and
add detail where the fine image has some. Looking farther was tried and gained nothing: experts
know the cells around, and fields the patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network_inputs import CHANNELS, EXPERTS, PLACE, SCALARS, doubled

ALIGNED = 2  # fine pixels to which a window must be aligned in the scene
HALO = 8  # fine pixels that a pixel's answer depends on, at most, from the planes
QUIETEST, LOUDEST = -8.0, 2.0  # logarithms of the variance

_LINEAR = ("mismatch", "wide mismatch", "missed")
_TRUST = 1.5  # of an untrained network in D2, before the softmax over all experts
_QUICK = 4.0  # by which the gates learn faster than the other layers
# Share of the process in an answer where it foretells all of the change, and the power by which
# that falls. Chosen on simulated land that the evaluation does not use.
_SHARE, _FALL = 0.55, 3
_FORETOLD = SCALARS.index("foretold by the process")


class _Block(nn.Module):
    """Adds to every pixel what it and the mean of the scene's bands tell; nothing untrained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 1)
        self.own = _zeroed(nn.Conv2d(width, width, 1))
        self.shared = _zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, bands: int | None) -> Tensor:
        hidden = functional.gelu(self.first(x))
        # Linear, so the mean may come last: OpenVINO cannot add a single image to all bands in a
        # convolution.
        return x + self.own(hidden) + _mean_of_bands(self.shared(hidden), bands)


class _Member(nn.Module):
    """One network: weights of experts, corrections and log-variance."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(len(CHANNELS) + len(SCALARS), width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.gate = _zeroed(nn.Conv2d(width, len(EXPERTS) + len(_LINEAR) + 2, 1))
        self.fine = _zeroed(nn.Conv2d(width, 8, 3, padding=1))
        with torch.no_grad():
            trust = torch.zeros(self.gate.out_channels)
            trust[EXPERTS.index("D2")] = _TRUST / _QUICK
            self.gate.bias = nn.Parameter(trust)

    def forward(self, planes: Tensor, scalars: Tensor, bands: int | None) -> Tensor:
        everywhere = scalars[:, :, None, None].expand(-1, -1, planes.shape[2], planes.shape[3])
        x = self.stem(torch.cat([planes, everywhere], dim=1))
        for block in self.blocks:
            x = block(x, bands)
        x = functional.gelu(x)
        gates, fine = self.gate(x).float(), self.fine(x).float()
        return self._answer(planes.float(), gates, functional.pixel_shuffle(fine, 2))

    def _answer(self, planes: Tensor, gates: Tensor, fine: Tensor) -> Tensor:
        count = len(EXPERTS)
        shares = (_QUICK * gates[:, :count]).softmax(dim=1)
        believed = (shares * experts(planes)).sum(dim=1, keepdim=True)
        for number, name in enumerate(_LINEAR):
            place = PLACE[name]
            believed = believed + gates[:, count + number, None] * planes[:, place, None]
        own, others = gates[:, -2, None], gates[:, -1, None]
        detail = _detail(planes[:, 0:4])
        theirs = planes[:, 4:8]
        # What the half resolution cannot show is the detail of the fine image, own or explained.
        fill = own * detail + others * theirs
        change = doubled(believed) + functional.pixel_shuffle(fill, 2) + fine[:, 0:1]
        return torch.cat([change, fine[:, 1:2].clamp(QUIETEST, LOUDEST)], dim=1)


class GatedNetwork(nn.Module):
    """Change and its log-variance for all bands of one or several scenes.

    Members learn the same from other beginnings; in use their mean answers, and the process has a
    share of its own in that. How well it does, the scene itself shows, on any land; what members
    have learnt of that on simulated land holds elsewhere less. They err in other places.

    Args:
        width: Channels inside a member.
        blocks: How many in a member.
        members: How many.
    """

    calibration: Tensor
    channels, scalars = len(CHANNELS), len(SCALARS)

    def __init__(self, width: int = 32, blocks: int = 3, members: int = 2) -> None:
        super().__init__()
        self.settings = {"width": width, "blocks": blocks, "members": members}
        self.members = nn.ModuleList(_Member(width, blocks) for _ in range(members))
        # Added to the log-variance, found on scenes that were kept aside.
        self.register_buffer("calibration", torch.zeros(()))

    def forward(self, planes: Tensor, scalars: Tensor, bands: int | None = None) -> Tensor:
        """Change and its log-variance.

        Args:
            planes: (samples, channels, rows / 2, cols / 2), see ``network_inputs``.
            scalars: (samples, scalars).
            bands: Successive samples that are the bands of one scene; None: all are.

        Returns:
            (samples, 2, rows, cols), in standard deviations of the fine reference.
        """
        answers = self.alone(planes, scalars, bands)
        change, doubt = (sum(answers[1:], answers[0]) / len(answers)).split(1, dim=1)
        share = _SHARE * scalars[:, _FORETOLD].clamp(min=0) ** _FALL
        change = torch.lerp(change, _of_process(planes.float()), share[:, None, None, None])
        return torch.cat([change, doubt + self.calibration], dim=1)

    def alone(self, planes: Tensor, scalars: Tensor, bands: int | None = None) -> list[Tensor]:
        """The answer of every member, as it is to learn: as of ``forward``."""
        return [member(planes, scalars, bands) for member in self.members]


def _of_process(planes: Tensor) -> Tensor:
    """(samples, 1, rows, cols) the change that the process alone tells."""
    mean = planes[:, PLACE["process"], None] + planes[:, PLACE["D2"], None]
    return doubled(mean) + functional.pixel_shuffle(planes[:, 4:8], 2)


def experts(planes: Tensor) -> Tensor:
    """(samples, experts, rows, cols) answers of all experts, from the planes of a network."""
    middle = planes[:, PLACE["D2"], None]
    first = PLACE[EXPERTS[0]]
    others = planes[:, first : first + len(EXPERTS) - 2] + middle
    return torch.cat([others, middle, torch.zeros_like(middle)], dim=1)


def _detail(quarters: Tensor) -> Tensor:
    """(samples, 4, rows, cols) what four pixels show beyond the doubled mean of four."""
    mean = quarters.mean(dim=1, keepdim=True)
    return quarters - functional.pixel_unshuffle(doubled(mean), 2)


def _mean_of_bands(x: Tensor, bands: int | None) -> Tensor:
    if bands is None:
        return x.mean(dim=0, keepdim=True)
    means = x.reshape(-1, bands, *x.shape[1:]).mean(dim=1)
    return means.repeat_interleave(bands, dim=0)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
