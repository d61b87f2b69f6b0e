"""Whether what a job wants to write can be written. Standard library only."""

from __future__ import annotations

import os

from ..models.cards import Card
from .job import Job
from .paths import is_special, part_of, same_file


def fault_of(path: str, job: Job) -> str | None:
    """Why a job cannot write this file; None when it can."""
    target = os.path.abspath(path)
    folder = os.path.dirname(target)
    for source in job.sources.values():
        if same_file(source.path, target):
            return f"The output {path} is also the input {source.label}. Choose another name."
    if not os.path.isdir(folder):
        return f"The folder {folder} does not exist. Create it or choose another."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"The folder {folder} is read-only. Choose another for the output."
    if os.path.isdir(target) or is_special(target):
        what = "a folder" if os.path.isdir(target) else "a device or pipe"
        return f"The output {target} is {what}. Give a file name."
    return None


def error_fault(path: str, job: Job, card: Card) -> str | None:
    """Why a method's standard error cannot be written to this file; None when it can."""
    if not card.tells_error:
        return (
            f"{card.name} cannot tell the standard error of its result. Leave the output for it "
            "out, or choose a method that can."
        )
    both = [[os.path.abspath(name), part_of(os.path.abspath(name))] for name in (path, job.output)]
    if any(same_file(one, other) for one in both[0] for other in both[1]):
        return (
            f"The standard error would overwrite the result {job.output}. Choose another name for "
            "it."
        )
    return fault_of(path, job)
