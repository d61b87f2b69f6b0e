"""Train the weights that are shipped with ``rasterfuse_net``, from simulated scenes only.

    make train-net

The same seed, number of steps and versions give the same weights on one machine. What was killed
goes on when it is started again.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from typing import Any

from rasterfuse.plugin.engine import training
from rasterfuse.plugin.training_job import TrainingJob

SEED, STEPS, PATCH, BATCH = 1, 10000, 40, 96
LOOKED_AT = (
    "Trained on simulated scenes only; no pixel of a real image. BOREAS 2001 was looked at while "
    "the ranges of the simulator, the loss, the learning rate of the gates, the experts, the "
    "weights of several pairs and the width of the intervals were chosen; the experts and the loss "
    "also with a look at the simulated landscapes of the evaluation, and how the simulator draws "
    "clouds with one at its Landsat-7 scene. Shape and number of the networks, their gates and the "
    "size of the patches: by simulated scenes kept aside, then likewise. The share of the process "
    "in an answer: by simulated landscapes of other seeds and days than the evaluation's, then "
    "likewise. So all these figures are optimistic. Neither the seed nor the step was chosen: the "
    "weights are the running mean at the last step."
)


def job(output: str, seed: int, steps: int) -> TrainingJob:
    """The training of the shipped weights."""
    cores = os.cpu_count()
    return TrainingJob(
        method="rasterfuse_net",
        pairs=(),
        output=output,
        name="RasterFuse Net",
        steps=steps,
        patch=PATCH,
        batch=BATCH,
        seed=seed,
        device="auto",
        simulate=1.0,
        licence="GPL-2.0-or-later",
        notes=f"{LOOKED_AT} Made by make train-net in {steps} steps on {platform.machine()}, "
        f"{cores} cores.",
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("output", help="model file to write")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS)
    chosen = parser.parse_args()
    started = time.perf_counter()

    def told(stage: str, fraction: float, detail: dict[str, Any] | None = None) -> None:
        if detail is not None:
            seconds = time.perf_counter() - started
            print(
                f"{seconds:6.0f} s  step {detail['step']:5d}  loss {detail['train']:.4f}  "
                f"error over that of the best simple answer {detail['validation']:.4f}",
                flush=True,
            )

    report = training.run(job(chosen.output, chosen.seed, chosen.steps), told)
    for name, figures in report["metrics"].items():
        print(f"{name:14} {figures['rmse']:.4f}")
    print(f"within the 90 % interval: {report['covered_90']:.3f} before calibration")
    return 0


if __name__ == "__main__":
    sys.exit(main())
