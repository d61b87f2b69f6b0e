"""What a child process runs in Triton's interpreter, which is chosen when triton is imported."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch

if "rasterfuse" not in sys.modules:
    runpy.run_path(str(Path(__file__).resolve().parents[2] / "plugin" / "engine" / "worker.py"))

from rasterfuse.models.kernels.backend import choose_backend
from rasterfuse.models.kernels.neighbours import find_neighbours
from rasterfuse.models.kernels.similar import Candidates, similar_sums
from rasterfuse.models.kernels.window import Window
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.job import Job


def sums(planes, kernel):
    """W and S of the kernel for arrays in the order of ``Candidates``."""
    candidates = Candidates(*(torch.from_numpy(plane) for plane in planes))
    return [total.numpy() for total in similar_sums(candidates, torch.from_numpy(kernel), "triton")]


def search(features, usable, window, count, limit):
    """Places and scores, (N, rows, cols); ``window`` is a radius and places."""
    radius, places = window
    similar = find_neighbours(
        torch.from_numpy(features), torch.from_numpy(usable),
        Window(radius, ((1, radius),), torch.tensor(places)), count, limit, "triton",
    )  # fmt: skip
    return similar.place.numpy(), similar.score.numpy()


def chosen(wanted):
    """The back-end that is chosen on the CPU."""
    return choose_backend(wanted, torch.device("cpu"), [])


def fuse(job):
    """The report of a job given as JSON."""
    return pipeline.run(Job.from_json(job))
