"""The scene: all images of a job on one target grid, window by window."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date

import numpy as np
import torch
from rasterio.io import DatasetReader
from torch import Tensor

from ...models.base import ObservationModel, Progress, Tile
from ...models.cards import CLASS_LAYER, Card
from ...models.errors import InputError
from ...models.spatiotemporal.pairs import nearest_pair
from ..checks import INFO, WARNING, check_job, coarse_ratio, first_error
from ..grid import Window, shift, window_of
from ..job import Job, parse_date
from ..paths import same_file
from .alignment import TARGET, Sight, coregister, footprint, moves, offsets, sights
from .cells import (
    CellGrid,
    CellMeans,
    block_cells,
    native_cells,
    native_values,
)
from .detail import swapped_pairs
from .observation import CellViews, Observation
from .radiometry import Harmonisation, harmonise
from .raster import Grid, Raster, info_of, open_dataset, placed_transform, transform_of
from .reduce import reduced
from .survey import SAMPLE, Kinds, survey
from .tiles import BLOCK, sample_windows, tile_windows, with_halo

_USUAL_RATIO = 16  # MODIS against Landsat: assumed where the coarse cell size cannot be found


class Scene:
    """The images of a job. Use as a context manager; it closes the files.

    Fulfils ``models.base.SceneReader``. Not thread-safe: one thread reads at a time.

    Raises:
        InputError: The inputs do not fit together.
        RasterReadError: An image cannot be read.
    """

    def __init__(self, job: Job, card: Card) -> None:
        self.job = job
        self.card = card
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.harmonisation: Harmonisation | None = None
        self._files = ExitStack()
        self._means: dict[str, Tensor] = {}
        self._cells: dict[str, Tensor] = {}
        self._samples: dict[str, Tensor] = {}
        self.sights: dict[str, Sight] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._files.close()

    # --- what the images are -------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.rows, self.grid.cols

    @property
    def main_coarse(self) -> str:
        """The role whose cells the result has to agree with."""
        return "coarse_target" if self.card.family == "spatiotemporal" else "multispectral"

    @property
    def bands(self) -> int:
        """Bands of the result."""
        return len(self.rasters[self.main_coarse].bands)

    @property
    def days(self) -> tuple[float, ...]:
        target = self._target_day()
        pairs = [parse_date(pair.date) for pair in self.job.references]
        if target is None or not any(pairs):
            return ()
        known = [abs((day - target).days) for day in pairs if day]
        usual = sum(known) / len(known)
        return tuple(float((day - target).days) if day else usual for day in pairs)

    @property
    def pairs(self) -> int:
        return len(self.job.references)

    @property
    def nearest_pair(self) -> int:
        """Index of the reference pair nearest in time to the target."""
        return nearest_pair(self.days)

    @property
    def template(self) -> Raster:
        """The image whose type, scale, nodata and band names the result takes."""
        return self.rasters["fine 1" if self.job.references else self.main_coarse]

    def label(self, role: str) -> str | None:
        """What the user calls the image of a role; None where none was given."""
        return self.rasters[role].source.label if role in self.rasters else None

    def _target_day(self) -> date | None:
        source = self.job.sources.get("coarse_target")
        return parse_date(source.date) if source else None

    # --- opening ------------------------------------------------------------------------------

    def _open(self) -> None:
        sources = self.job.sources
        fine_name = self.job.grid_source(self.card.grid_role)
        if fine_name not in sources:
            raise InputError(first_error(check_job(self.job, self.card, {})) or "No fine image.")
        opened = {}
        for name, source in sources.items():
            opened[name] = self._files.enter_context(open_dataset(source))
        fine = opened[fine_name]
        infos = {name: info_of(sources[name], data, fine) for name, data in opened.items()}
        findings = check_job(self.job, self.card, infos)
        sentence = first_error(findings)
        if sentence is not None:
            raise InputError(sentence)
        self._keep_files(opened)
        self.warnings += [item.sentence for item in findings if item.level == WARNING]
        self.notes += [item.sentence for item in findings if item.level == INFO]
        self.grid = self._target_grid(fine)
        self.rasters: dict[str, Raster] = {}
        for name, data in opened.items():
            placed = placed_transform(sources[name], data, sources[fine_name], fine)
            source, resampling = sources[name], self.card.resampling
            if name == CLASS_LAYER:  # codes are taken as they are stored
                source, resampling = replace(source, scale=1.0, offset=0.0), "nearest"
            raster = Raster(source, data, self.grid, placed, resampling)
            self.rasters[name] = self._files.enter_context(_closing(raster))
        ratio_x, ratio_y = coarse_ratio(
            self.job, self.main_coarse, infos[self.main_coarse], infos[fine_name]
        )
        self._set_cells(ratio_x, ratio_y)

    def _keep_files(self, opened: Mapping[str, DatasetReader]) -> None:
        """Refuse to overwrite a file that an input consists of, such as an image in a VRT."""
        for name, data in opened.items():
            for output in self.job.outputs:
                if any(same_file(path, output) for path in data.files):
                    raise InputError(
                        f"The output {output} is also a part of the input "
                        f"{self.job.sources[name].label}. Choose another name."
                    )

    def _target_grid(self, fine: DatasetReader) -> Grid:
        transform = transform_of(fine)
        window = Window(0, 0, fine.height, fine.width)
        if self.job.extent is not None:
            window = window_of(self.job.extent, transform, fine.width, fine.height)
        start = shift(transform, window.row, window.col)
        return Grid(start, window.rows, window.cols, fine.crs)

    def _set_cells(self, ratio_x: float, ratio_y: float) -> None:
        """Find the coarse cells: the file's own pixels, or those it was resampled from."""
        coarse = self.rasters[self.main_coarse]
        self.ratio = (ratio_x + ratio_y) / 2
        stated = coarse.source.cell_size is not None
        if not stated and (self.card.family != "spatiotemporal" or self.ratio >= 1.5):
            self.cells: CellGrid = native_cells(self.grid, coarse.transform, coarse.crs)
        else:
            if not stated:
                ratio_x = ratio_y = self.ratio = self._found_ratio()
            self.cells = block_cells(self.grid, ratio_x, ratio_y)
        if self.cells.step > 1:
            step = self.cells.step
            self.notes.append(
                f"The trust check takes {step} x {step} coarse cells together, since there are "
                "very many."
            )

    def _found_ratio(self) -> int:
        """Side of the original cells in fine pixels, found or assumed, with a note which."""
        label, found = self.rasters[self.main_coarse].source.label, self._block_size()
        self.notes.append(
            f"{label} consists of blocks of {found} x {found} fine pixels; they are taken for its "
            "original cells."
            if found
            else f"The original cell size of {label} is not known; cells of {_USUAL_RATIO} x "
            f"{_USUAL_RATIO} fine pixels are assumed. State the cell size if it is another."
        )
        return found or _USUAL_RATIO

    def _block_size(self) -> int | None:
        """Side of the blocks of equal values in a coarse image resampled by nearest neighbour."""
        window = Window(0, 0, min(self.grid.rows, 512), min(self.grid.cols, 512))
        values = np.nan_to_num(self.rasters[self.main_coarse].read(window))
        changes = (values[..., 1:] != values[..., :-1]).any(axis=(0, 1)).nonzero()[0]
        gaps = [int(gap) for gap in changes[1:] - changes[:-1]]
        if len(gaps) < 3:
            return None
        side = max(set(gaps), key=gaps.count)
        return side if side > 1 and gaps.count(side) > 0.8 * len(gaps) else None

    # --- learning from the whole scene ---------------------------------------------------------

    def learn(self, progress: Progress) -> None:
        """Band means, cell means and harmonisation, from one pass over a sample of the scene.

        Raises:
            InputError: An image has no valid pixel on the target grid.
        """
        if self.job.references:
            self._align()
        kinds = Kinds(
            native=[name for name, raster in self.rasters.items() if self._is_native(raster)],
            resampled=self._coarse_names if self.cells.native is None else [],
            codes=[CLASS_LAYER],
        )
        found = survey(self.rasters, self.cells, kinds, self._measured, progress)
        self._means, self._cells, self._samples = found.means, found.cells, found.samples
        if self.job.references:
            self._harmonise()
            if self.cells.native is None:
                self.warnings += swapped_pairs(self.rasters, self.pairs)

    def _align(self) -> None:
        """See where the coarse images lie, and move them if that is wished."""
        self.sights = sights(self.rasters, self.cells, self.pairs, self.ratio)
        if self.job.coregister == "auto":
            self.sights = coregister(self.sights, self.rasters, self.ratio)
            target = self.rasters[TARGET]
            if self.cells.native is not None and self.sights[TARGET].moved:
                self.cells = native_cells(self.grid, target.transform, target.crs)
        self.notes += moves(self.sights, self.rasters, self.ratio)
        self.warnings += offsets(self.sights, self.rasters, self.ratio)

    def _measured(self, name: str, window: Window) -> Tensor:
        """A window of an image, without the values that a moved one repeats beyond its edge."""
        values = torch.from_numpy(self.rasters[name].read(window))
        if name not in self.sights or not self.sights[name].moved:
            return values
        return values.masked_fill(footprint(self.rasters[name]).index(window) < 0, torch.nan)

    def _is_native(self, raster: Raster) -> bool:
        """Whether the coarse cells are this file's own pixels."""
        main = self.rasters[self.main_coarse]
        own = (raster.transform, raster.crs) == (main.transform, main.crs)
        return own and self.cells.native is not None

    def _harmonise(self) -> None:
        pairs = range(1, len(self.job.references) + 1)
        coarse = torch.cat([self.cell_values(f"coarse {k}").flatten(1) for k in pairs], dim=1)
        fine = torch.cat([self.cell_values(f"fine {k}").flatten(1) for k in pairs], dim=1)
        self.harmonisation = harmonise(self.job.harmonise, coarse, fine)
        found = self.harmonisation
        failed = found.mode == "always" and not found.applied
        if found.applied or failed or any(fit.other_units for fit in found.fits):
            self.warnings.append(self.harmonisation.reason)
        for name in self._coarse_names:
            means = self._means[name][:, None, None]
            self._means[name] = self.harmonisation.apply(means)[:, 0, 0]
            for values in (self._cells, self._samples):
                if name in values:
                    values[name] = self.harmonisation.apply(values[name])

    @property
    def _coarse_names(self) -> list[str]:
        return [name for name in self.rasters if name.startswith("coarse")]

    def cell_values(self, name: str) -> Tensor:
        """(bands, cell_rows, cell_cols): an image over the coarse cells, NaN for nodata.

        The file's own values for a coarse image, means of a sample of the scene for others.
        ``name`` is a role, or ``coarse 1``, ``fine 1`` … for a reference pair.
        """
        if name not in self._cells:
            values = native_values(self.rasters[name], self.cells)
            if self.harmonisation is not None and name in self._coarse_names:
                return self.harmonisation.apply(values)
            return values
        return self._cells[name]

    def cell_samples(self, name: str) -> Tensor:
        """(bands, cell_rows, cell_cols): what the cells saw, NaN for nodata.

        As ``cell_values``, but of a coarse image that was resampled to the fine grid beforehand the
        values at the cells' centres: means over the cells would be blurred once more.
        """
        return self._samples[name] if name in self._samples else self.cell_values(name)

    def cell_centres(self) -> Tensor:
        """(2, cells) row and column of the cells' centres in fine pixels, the corner at 0."""
        return self.cells.centres().flatten(1)

    def cell_positions(self, tile: Tile, shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """(2, rows, cols): where a tile's pixels lie among the cells, as row and column."""
        rows, cols = next(iter(tile.arrays.values())).shape[-2:]
        window = Window(tile.row, tile.col, rows, cols)
        places = np.broadcast_arrays(*self.cells.positions(window, shift))
        return torch.from_numpy(np.stack(places)).float()

    def observation(self, pair: int) -> Observation:
        """Width of the PSF and shift of a pair's coarse image against its fine one."""
        view = self.sights[f"coarse {pair + 1}"].rest
        # Cells may be several coarse pixels taken together.
        more = self.ratio**2 * (self.cells.step**2 - 1) / 12
        return replace(view, sigma=math.sqrt(view.sigma**2 + more))

    def observe(
        self, image: Callable[[Tile], tuple[Tensor, Tensor]], halo: int,
        observation: ObservationModel, progress: Progress,
    ) -> Tensor:  # fmt: skip
        """(bands, cell_rows, cell_cols): what the cells see of an image made from every tile."""
        views = CellViews(self.cell_centres(), observation)
        windows = tile_windows(*self.shape, BLOCK // 2)
        for done, window in enumerate(windows, 1):
            values, known = image(self.tile(with_halo(window, halo), self._detailed))
            core = slice(halo, -halo or None)
            views.add([values[:, core, core]], known[None, core, core], window.row, window.col)
            progress(done / len(windows))
        return views.means()[0].reshape(-1, self.cells.rows, self.cells.cols)

    def average(self, image: Callable[[Tile], Tensor], progress: Progress) -> Tensor:
        """(bands, cell_rows, cell_cols): means over cells of an image made from every tile."""
        windows = tile_windows(*self.shape, 2 * BLOCK)
        means: CellMeans | None = None
        for done, window in enumerate(windows, 1):
            values = image(self.tile(window, self._detailed))
            means = means or CellMeans(self.cells, len(values))
            means.add(values, window)
            progress(done / len(windows))
        if means is None:
            raise InputError("The scene has no pixels. Choose another extent.")
        return means.means(0.5)

    def reduced(
        self, image: Callable[[Tile], Tensor], pair: int, step: int, progress: Progress
    ) -> Tensor:
        """(bands, rows / step, cols / step): block means of an image made from a pair's tiles."""
        images = [f"coarse {pair + 1}", f"fine {pair + 1}", TARGET]
        return reduced(lambda at: self.tile(at, images), self.shape, image, step, progress)

    # --- windows ------------------------------------------------------------------------------

    def sample(self, max_pixels: int = SAMPLE) -> Iterator[Tile]:
        """Tiles without halo and coarse images, spread evenly; all of a scene that is small."""
        for window in sample_windows(*self.shape, max_pixels):
            yield self.tile(window, self._detailed)

    @property
    def _detailed(self) -> list[str]:
        """The images that are no coarse ones."""
        return [name for name in self.rasters if name not in self._coarse_names]

    def tile(self, window: Window, images: Collection[str] | None = None) -> Tile:
        """Images in a window of the target grid, all or those named, nodata filled and masked."""
        arrays: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for name in self.rasters if images is None else images:
            arrays[name], masks[name] = self._filled(name, window)
        for kind in ("coarse", "fine"):
            names = [name for name in arrays if name.startswith(f"{kind} ")]
            if not names:
                continue
            arrays[f"{kind}_references"] = torch.stack([arrays.pop(name) for name in names])
            masks[f"{kind}_references"] = torch.stack([masks.pop(name) for name in names])
        return Tile(arrays, masks, window.row, window.col)

    def _filled(self, name: str, window: Window) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(self.rasters[name].read(window))
        if self.harmonisation is not None and name in self._coarse_names:
            values = self.harmonisation.apply(values)
        valid = torch.isfinite(values)
        if not valid.all():
            values = values.where(valid, self._means[name][:, None, None])
        return values, valid


@contextmanager
def _closing(raster: Raster) -> Iterator[Raster]:
    try:
        yield raster
    finally:
        raster.close()
