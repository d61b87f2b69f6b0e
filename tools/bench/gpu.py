"""The benchmarks on a GPU: kernels alone, then jobs from disk to disk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scenes
from measure import Result, repeat, run_job
from plan import Plan, cases, starfm, table

if TYPE_CHECKING:
    import torch
    from rasterfuse.models.kernels.similar import Candidates

WINDOW, NEIGHBOURS, FEATURES = 51, 20, 6
NO_GPU = (
    "Torch sees no CUDA GPU here, so there is nothing to measure. Run it on a machine with one, "
    "with a torch that was built for CUDA."
)


def jobs(plan: Plan, folder: Path) -> str:
    """Every spatiotemporal method on the GPU, and a whole Landsat scene.

    Call it before ``kernels``: after that this process holds torch and the GPU.
    """
    standard = scenes.standard(plan.size, plan.bands)
    found = [
        (
            f"{case.name}, {plan.size} x {plan.size} x {plan.bands}",
            repeat(
                f"{case.name}, GPU",
                lambda case=case: run_job(case.job(standard, "cuda"), folder),  # type: ignore[misc]
                plan.repeats,
                plan.warm_up,
            ),
        )
        for case in cases("spatiotemporal")
    ]
    full = scenes.large(plan.full, plan.bands)
    title = f"STARFM, {plan.full} x {plan.full} x {plan.bands}"
    result = repeat(title, lambda: run_job(starfm().job(full, "cuda"), folder), 1, plan.warm_up)
    return f"""### Disk to disk

Median of {plan.repeats}, of the full scene one run. Read, compute and write overlap.

{_jobs_table([*found, (title, result)])}
"""


def _jobs_table(found: list[tuple[str, Result]]) -> str:
    rows = []
    for name, result in found:
        stages = result.samples[0].report["seconds"]
        parts = " / ".join(f"{stages[key]:.2f}" for key in ("prepare", "read", "compute", "write"))
        rows.append([
            name, result.backend, f"{result.median('engine_seconds'):.2f}", parts,
            f"{result.median('engine_speed'):.1f}", f"{result.median('wall'):.2f}",
            f"{result.samples[0].report['peak_memory_mb']:.0f}",
        ])  # fmt: skip
    return table(
        ["Job", "Back-end", "Engine, seconds", "prepare / read / compute / write",
         "Mpx·band / second", "Whole process, seconds", "Peak memory, host + GPU, MiB"],
        rows,
    )  # fmt: skip


def kernels(plan: Plan) -> str:
    """The two searches on data that lie in the GPU's memory."""
    import torch

    device = torch.device("cuda")
    searches = {
        f"`similar_sums`, window {WINDOW}": (_sums(plan, device), 1),
        f"`find_neighbours`, window {WINDOW}, {NEIGHBOURS} of {FEATURES} features": (
            _neighbours(plan, device), FEATURES,
        ),
    }  # fmt: skip
    rows = []
    for name, (search, bands) in searches.items():
        for backend in ("triton", "torch"):
            seconds = _timed(lambda: search(backend), plan.repeats)  # noqa: B023
            amount = plan.kernel**2 * bands / 1e6
            rows.append([name, backend, f"{1000 * seconds:.1f}", f"{amount / seconds:.1f}"])
    return f"""### Kernels alone

{plan.kernel} x {plan.kernel} pixels in the memory of the {torch.cuda.get_device_name(device)};
in `similar_sums` about a third of the pixels of a window count. After one run that compiles, median
of {plan.repeats}, synchronised. A search over the features of all bands counts as that many bands.

{table(["Kernel", "Back-end", "Milliseconds", "Mpx·band / second"], rows)}
"""


def _timed(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call on the GPU, after one that is not counted."""
    import torch

    seconds = []
    for number in range(repeats + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if number:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _sums(plan: Plan, device: torch.device) -> Callable[[str], Any]:
    import torch
    from rasterfuse.models.kernels.similar import similar_sums

    candidates = example(plan.kernel + WINDOW - 1, device)
    kernel = torch.ones(WINDOW, WINDOW, device=device)
    return lambda backend: similar_sums(candidates, kernel, backend)


def example(side: int, device: torch.device) -> Candidates:
    """Seeded smooth fields, of which a third passes the tests of ``similar_sums``."""
    import torch
    from rasterfuse.models.kernels.similar import Candidates

    feature, spectral, temporal, value = smooth_fields(4, side, device)
    limit = torch.full_like(feature, 0.8)
    return Candidates(
        feature=1.5 * feature, spectral=spectral.abs(), temporal=temporal.abs(),
        weight=torch.ones_like(feature), value=value, spectral_limit=2 * limit,
        temporal_limit=2 * limit,
    )  # fmt: skip


def _neighbours(plan: Plan, device: torch.device) -> Callable[[str], Any]:
    import torch
    from rasterfuse.models.kernels.neighbours import find_neighbours
    from rasterfuse.models.kernels.window import search_window

    features = smooth_fields(FEATURES, plan.kernel + WINDOW - 1, device)
    usable = torch.ones_like(features[0], dtype=torch.bool)
    window = search_window(WINDOW // 2)
    return lambda backend: find_neighbours(
        features, usable, window, NEIGHBOURS, float("inf"), backend
    )


def smooth_fields(count: int, side: int, device: torch.device) -> torch.Tensor:
    """(count, side, side) seeded fields of mean 0 and deviation 1 with patches of some pixels."""
    import torch
    from torch.nn.functional import avg_pool2d

    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, 1, side, side, generator=generator)
    fields = avg_pool2d(noise, 9, stride=1, padding=4)[:, 0]
    return ((fields - fields.mean()) / fields.std()).to(device)
