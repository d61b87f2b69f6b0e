"""The benchmarks on the CPU, section by section; each gives its Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import desktop
import scenes
from measure import Result, repeat, run_job
from plan import Case, Plan, cases, starfm, table


def methods(plan: Plan, folder: Path) -> str:
    """All methods on the standard scene: the engine alone, then whole processes."""
    inputs = {
        "spatiotemporal": scenes.standard(plan.size, plan.bands),
        "pansharpening": scenes.sharp(plan.size, plan.bands),
    }
    found = [
        (case, family, _measured(plan, folder, case.name, case.job(inputs[family])))
        for family in inputs
        for case in cases(family)
    ]
    ratios = [_against_eager(plan, folder, *item, inputs[item[1]]) for item in found]
    whole = [(case.name, result) for case, _, result in found]
    through_qgis, note = _through_qgis(plan, folder, inputs["spatiotemporal"])
    warm_up = " One run before them is not counted." if plan.warm_up else ""
    return f"""## Methods

Simulated scene of {plan.size} x {plan.size} pixels and {plan.bands} bands, int16, ratio
{scenes.RATIO}; one pair, two for ESTARFM. For pansharpening {_bands(found)} bands at a quarter of
the resolution. Methods at their defaults unless the name says else, all cores, from disk to disk.
Median of {plan.repeats}, the best in brackets.{warm_up}

### The engine, start-up apart

{_engine_table(found, ratios)}

"x eager" is the rate per core-second over that of the fallback in eager torch, both on the same
{plan.crop} x {plan.crop} pixels, one run each; "–" where a method has no compiled kernel.

### Whole processes, start-up included

{_process_table(whole + through_qgis)}

{note}"""


def _bands(found: list[tuple[Case, str, Result]]) -> int:
    last = found[-1][2].samples[0].report["grid"]
    return int(last["bands"])


def _measured(plan: Plan, folder: Path, title: str, job: dict[str, Any]) -> Result:
    return repeat(title, lambda: run_job(job, folder), plan.repeats, plan.warm_up)


def _against_eager(
    plan: Plan, folder: Path, case: Case, family: str, result: Result, inputs: dict[str, Any]
) -> str:
    """How many times faster than eager torch the method is, per core-second."""
    if result.backend == "torch":
        return "–"
    extent = scenes.corner(plan.crop)
    ours, eager = (
        repeat(
            f"{case.name}, {backend}, crop",
            lambda backend=backend: run_job(  # type: ignore[misc]
                case.job(inputs, extent=extent, backend=backend), folder
            ),
            times=1,
            warm_up=False,
        )
        for backend in ("auto", "torch")
    )
    return f"{ours.median('engine_rate') / eager.median('engine_rate'):.1f}"


def _engine_table(found: list[tuple[Case, str, Result]], ratios: list[str]) -> str:
    rows = [
        [
            case.name, result.backend, _spread(result, "engine_seconds", 2),
            _spread(result, "engine_cpu", 2), _spread(result, "engine_rate", 3),
            _spread(result, "engine_speed", 3), ratio,
        ]
        for (case, _, result), ratio in zip(found, ratios)
    ]  # fmt: skip
    return table(
        ["Method", "Back-end", "Seconds", "CPU seconds", "Mpx·band / core-second",
         "Mpx·band / second", "x eager"],
        rows,
    )  # fmt: skip


def _process_table(named: list[tuple[str, Result]]) -> str:
    rows = [
        [
            name, _spread(result, "wall", 2), f"{result.median('start_up'):.2f}",
            _spread(result, "cpu", 2), f"{result.median('peak_mb'):.0f}",
            _spread(result, "rate", 3), _spread(result, "speed", 3),
        ]
        for name, result in named
    ]  # fmt: skip
    return table(
        ["Method", "Seconds", "of it start-up", "CPU seconds", "Peak memory, MiB",
         "Mpx·band / core-second", "Mpx·band / second"],
        rows,
    )  # fmt: skip


def _spread(result: Result, name: str, digits: int) -> str:
    return f"{result.median(name):.{digits}f} ({result.best(name):.{digits}f})"


def _through_qgis(
    plan: Plan, folder: Path, inputs: dict[str, Any]
) -> tuple[list[tuple[str, Result]], str]:
    """The row of STARFM through qgis_process, and what is to be said of it."""
    if not desktop.IS_THERE:
        return [], "STARFM was not run through QGIS: there is no qgis_process here, or no Linux.\n"
    name = "STARFM through `qgis_process`"
    result = repeat(name, lambda: desktop.run_in_qgis(inputs, folder), plan.repeats, plan.warm_up)
    return [
        (name, result)
    ], "Through QGIS, it and its worker count together; peak memory is the larger one's.\n"


def sizes(plan: Plan, folder: Path) -> str:
    """STARFM on larger and larger parts of a large image, and once on all of it."""
    inputs = scenes.large(plan.large, plan.large_bands)
    title = f"STARFM, {plan.large} x {plan.large} x {plan.large_bands}"
    result = repeat(title, lambda: run_job(starfm().job(inputs), folder), 1, warm_up=False)
    found = [
        _scaled(plan, folder, f"{size} x {size}", inputs, extent=scenes.corner(size))
        for size in plan.sizes
    ]
    return f"""## Image size

STARFM at its defaults on parts of one scene of {plan.large} x {plan.large} pixels and
{plan.large_bands} bands, int16, which repeats a smaller simulated one; the last row is all
of it, run once. Peak memory is that of the whole process.

{_scaling_table("Pixels", [*found, (f"{plan.large} x {plan.large}", result)])}
"""


def windows(plan: Plan, folder: Path) -> str:
    """STARFM with larger and larger windows."""
    inputs = scenes.standard(plan.size, plan.bands)
    found = [
        _scaled(plan, folder, str(window), inputs, parameters={"window": window})
        for window in plan.windows
    ]
    return f"## Window\n\nSTARFM on the standard scene.\n\n{_scaling_table('Window', found)}\n"


def cores(plan: Plan, folder: Path) -> str:
    """STARFM on more and more cores."""
    inputs = scenes.standard(plan.size, plan.bands)
    found = [
        _scaled(plan, folder, str(threads), inputs, limits={"threads": threads})
        for threads in plan.threads
    ]
    return f"""## Cores

STARFM at its defaults on the standard scene with a limit of threads; reading and writing have a
thread of their own each.

{_scaling_table("Threads", found)}
"""


def _scaled(
    plan: Plan, folder: Path, title: str, inputs: dict[str, Any], **more: Any
) -> tuple[str, Result]:
    return title, _measured(plan, folder, f"STARFM, {title}", starfm().job(inputs, **more))


def _scaling_table(head: str, found: list[tuple[str, Result]]) -> str:
    rows = [
        [
            title, _spread(result, "engine_seconds", 2), _spread(result, "engine_cpu", 2),
            _spread(result, "engine_rate", 3), _spread(result, "engine_speed", 3),
            f"{result.median('peak_mb'):.0f}",
        ]
        for title, result in found
    ]  # fmt: skip
    return table(
        [head, "Engine, seconds", "CPU seconds", "Mpx·band / core-second", "Mpx·band / second",
         "Peak memory, MiB"],
        rows,
    )  # fmt: skip
