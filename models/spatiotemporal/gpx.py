"""GPX: Gaussian process of the coarse change on features of the fine image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..base import FusionModel, ObservationModel, Progress, SceneReader, Tile
from ..errors import InputError
from ..kernels.backend import can_compile
from ..kernels.bilateral import bilateral
from ..kernels.waves import Waves, change_of
from .gaussian_process import (
    FEWEST,
    MISMATCH,
    Views,
    coefficient_fields,
    random_waves,
    shrinkage,
    whitening_of,
)
from .process_strengths import PRIOR_MEAN, learn_hyperparameters
from .statistics import fine_statistics

_FEATURES = 96
_MEMBERS = ((1.0, 1.0, 0), (2.0, 0.85, 1))  # feature length, share of the PSF width, seed
_BILATERAL_RADIUS, _BILATERAL = 4, (2.5, 0.5)  # in pixels and robust standard deviations
_SMOOTH_SHARE = 0.25  # of the smoothed reference in the result
_LEARN_CELLS = 500
_SAMPLE, _STRIDE = 500_000, 4  # pixels to size a change by; of those each fourth row and column
_MARGIN = 0.25  # a result may leave the range of the inputs by this share of it


@dataclass(frozen=True)
class _Member:
    """One set of random features of one pair, and what was learnt with it."""

    waves: Waves
    fields: Tensor  # (bands, bands + features + 1, cell_rows, cell_cols)


@dataclass(frozen=True)
class _Pair:
    """What was learnt from one reference pair."""

    shift: tuple[float, float]
    range: Tensor  # (bands,) robust spread for the bilateral filter
    members: list[_Member]
    mean: Tensor  # (bands,) mean coarse change
    weight: Tensor  # (bands,)


class Gpx(FusionModel):
    """Gaussian-process change downscaling, our own method; any number of pairs.

    The coarse change is explained by features of the edge-preservingly smoothed fine reference, as
    the coarse cells see them through an estimated PSF and shift. Coefficients vary smoothly over
    the scene; applied to the features of every fine pixel they give the fine change. Two members
    with different feature lengths are averaged. Pairs are weighted by the inverse of their
    predicted change.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where every fine reference has nodata.

    Raises:
        InputError: Fewer than six coarse cells have data.

    Source: this project; the regression is that of Rasmussen & Williams (2006),
    doi:10.7551/mitpress/3206.001.0001, chapter 2.
    """

    @property
    def halo(self) -> int:
        return _BILATERAL_RADIUS

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Observation model, features and Gaussian processes of every pair."""
        self._scene = scene
        self.backend = "numba" if can_compile(self.wanted_backend, self.device) else "torch"
        self._stats = fine_statistics(scene).to(self.device)
        self._pairs = []
        for number in range(scene.pairs):

            def part(done: float, number: int = number) -> None:
                progress((number + done) / scene.pairs)

            self._pairs.append(self._learn_pair(scene, number, part))

    # --- learning -----------------------------------------------------------------------------

    def _learn_pair(self, scene: SceneReader, number: int, progress: Progress) -> _Pair:
        observation = scene.observation(number)
        change = scene.cell_samples("coarse_target") - scene.cell_samples(f"coarse {number + 1}")
        spread, middle, whitening = self._whitening(scene, number)
        known = torch.isfinite(change).all(dim=0)
        if int(known.sum()) < FEWEST:
            raise InputError(
                f"Only {int(known.sum())} coarse cells have data in both images of the change; "
                f"GPX needs at least {FEWEST}. Choose a larger extent."
            )
        mean = change[:, known].mean(dim=1)
        shrink = shrinkage(int(known.sum()))
        members: list[_Member] = []
        logs: list[Tensor] | None = None
        for order, (length, share, seed) in enumerate(_MEMBERS):

            def part(done: float, order: int = order) -> None:
                progress((order + done) / len(_MEMBERS))

            member, logs = self._learn_member(
                _Request(scene, number, observation, change - mean[:, None, None], spread, middle,
                         whitening, length, share, seed, logs), part,
            )  # fmt: skip
            members.append(member)
        to = self.device
        moved = [_Member(m.waves.to(to), (shrink * m.fields).to(to)) for m in members]
        ones = torch.ones_like(mean, device=to)
        learnt = _Pair(observation.shift, spread.to(to), moved, mean.to(to), ones)
        if scene.pairs == 1:
            return learnt
        size = self._typical_size(scene, number, learnt)
        return replace(learnt, weight=1 / (size + self._stats.floor))

    def _typical_size(self, scene: SceneReader, number: int, pair: _Pair) -> Tensor:
        """(bands,) root mean square of a pair's change over a sample of fine pixels."""
        total = torch.zeros(len(pair.mean), device=self.device)
        count, some = 0, slice(None, None, _STRIDE)
        for tile in scene.sample(_SAMPLE):
            at = tile.to(self.device)
            known = at.masks["fine_references"][number].all(dim=0)
            smooth = self._smooth(at["fine_references"][number], known, pair.range)
            places = scene.cell_positions(tile, pair.shift).to(self.device)
            change = self._change(pair, smooth[:, some, some], places[:, some, some])
            change = (change + pair.mean[:, None, None])[:, known[some, some]]
            total, count = total + change.square().sum(dim=1), count + change.shape[1]
        return (total / max(count, 1)).sqrt()

    def _whitening(self, scene: SceneReader, pair: int) -> tuple[Tensor, Tensor, Tensor]:
        """Robust spread of the fine bands, and middle and whitening matrix of the smoothed ones."""
        raw = self._sample(scene, pair, None)
        spread = 1.4826 * (raw - raw.median(dim=1, keepdim=True).values).abs().median(dim=1).values
        one = min(raw.shape[1] - 1, 1)  # a single pixel has no spread
        # Of a constant band, rounding is no variation.
        level = 1e-6 * raw.abs().amax(dim=1)
        fallback = torch.maximum(raw.std(dim=1, correction=one), level).clamp(min=1e-6)
        spread = torch.where(spread > 1e-3 * fallback, spread, fallback)
        smooth = self._sample(scene, pair, spread)
        middle = smooth.median(dim=1).values
        # Bands may be in different units; none may vanish beside another.
        scaled = (smooth / spread[:, None]).double()
        covariance = torch.cov(scaled, correction=one).reshape(len(scaled), -1)
        return spread, middle, whitening_of(covariance) / spread

    def _sample(self, scene: SceneReader, pair: int, spread: Tensor | None) -> Tensor:
        """(bands, pixels) of the fine reference over the scene, smoothed when a spread is given."""
        found = []
        for tile in scene.sample(500_000):
            fine = tile["fine_references"][pair]
            known = tile.masks["fine_references"][pair].all(dim=0)
            image = fine if spread is None else self._smooth(fine, known, spread)
            found.append(image[:, known][:, ::7])
        return torch.cat(found, dim=1)

    def _learn_member(self, ask: _Request, progress: Progress) -> tuple[_Member, list[Tensor]]:
        bands = len(ask.middle)
        waves = Waves(
            ask.middle, ask.whitening, *random_waves(bands, _FEATURES, ask.length, ask.seed)
        )

        def image(tile: Tile) -> tuple[Tensor, Tensor]:
            fine = tile["fine_references"][ask.pair]
            known = tile.masks["fine_references"][ask.pair].all(dim=0)
            return torch.cat([waves.features(self._smooth(fine, known, ask.spread)), fine]), known

        narrow = _Narrowed(ask.observation.sigma * ask.share, ask.observation.shift)
        seen = ask.scene.observe(image, _BILATERAL_RADIUS, narrow, progress)
        shape = (seen.shape[1], seen.shape[2])
        flat = seen.flatten(1).double()
        fine = flat[-bands:]
        usable = torch.isfinite(ask.change).all(dim=0).flatten() & torch.isfinite(flat[0])
        if int(usable.sum()) < FEWEST:
            raise InputError(
                f"Only {int(usable.sum())} coarse cells have data in all images; GPX needs at "
                f"least {FEWEST}. Choose a larger extent."
            )
        views = Views.of(flat[:-bands], bands, usable, shape)
        coarse = ask.scene.cell_samples(f"coarse {ask.pair + 1}").flatten(1).double()
        values = ask.change.flatten(1).double()
        noise = MISMATCH * (coarse - fine)[:, usable].var(dim=1)
        logs = ask.logs or self._logs(views, values, usable, noise)
        return _Member(waves, coefficient_fields(views, shape, values, noise, logs).fields), logs

    def _logs(self, views: Views, values: Tensor, usable: Tensor, noise: Tensor) -> list[Tensor]:
        """Hyperparameters of every band; each begins with those of the one before."""
        if self.parameters["quality"] == "fast":
            return [PRIOR_MEAN] * len(values)
        cells = usable.nonzero()[:, 0]
        order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
        some = cells[order[:_LEARN_CELLS].sort().values]
        few, logs = views.take(some), [PRIOR_MEAN]
        for band, least in zip(values[:, some], noise.tolist()):
            logs.append(learn_hyperparameters(few, band, least, logs[-1]))
        return logs[1:]

    # --- fusing -------------------------------------------------------------------------------

    def fuse(self, tile: Tile) -> Tensor:
        fine, valid = tile["fine_references"], tile.masks["fine_references"].all(dim=1)
        total = weights = torch.zeros((), device=self.device)
        for number, pair in enumerate(self._pairs):
            smooth = self._smooth(fine[number], valid[number], pair.range)
            answer = fine[number] + _SMOOTH_SHARE * (smooth - fine[number])
            places = self._scene.cell_positions(tile, pair.shift).to(self.device)
            answer = answer + self._change(pair, smooth, places) + pair.mean[:, None, None]
            weight = pair.weight[:, None, None] * valid[number]
            total, weights = total + weight * answer, weights + weight
        span = (self._stats.high - self._stats.low)[:, None, None]
        low = self._stats.low[:, None, None] - _MARGIN * span
        high = self._stats.high[:, None, None] + _MARGIN * span
        return torch.minimum(torch.maximum(total / weights, low), high)

    def _change(self, pair: _Pair, smooth: Tensor, places: Tensor) -> Tensor:
        """(bands, rows, cols): change beyond the mean, averaged over the members."""
        change = torch.zeros_like(smooth)
        for member in pair.members:
            change += change_of(member.waves, smooth, member.fields, places, self.wanted_backend)
        return change / len(pair.members)

    def _smooth(self, image: Tensor, known: Tensor, spread: Tensor) -> Tensor:
        wanted = self.wanted_backend
        return bilateral(image, known, spread, _BILATERAL_RADIUS, _BILATERAL, wanted)


@dataclass(frozen=True)
class _Request:
    """What a member is learnt from."""

    scene: SceneReader
    pair: int
    observation: ObservationModel
    change: Tensor  # (bands, cell_rows, cell_cols) without its mean
    spread: Tensor
    middle: Tensor
    whitening: Tensor
    length: float
    share: float
    seed: int
    logs: list[Tensor] | None  # hyperparameters of an earlier member


@dataclass(frozen=True)
class _Narrowed:
    """An observation model with another width."""

    sigma: float
    shift: tuple[float, float]
