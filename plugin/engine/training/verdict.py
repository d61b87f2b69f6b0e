"""What a training has brought, in a sentence for whom it was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LEAST = 0.01  # share by which an error must be lower to count as lower


@dataclass(frozen=True)
class Verdict:
    """Whether to use a model.

    Attributes:
        better: Than what it began with and than every trivial answer, as a day shows that was not
            learnt from.
        sentence: Why, with the errors on what was kept aside, and what to do.
    """

    better: bool
    sentence: str


def judge(
    metrics: Mapping[str, Mapping[str, float]], start: str | None, other_day: bool
) -> Verdict:
    """Judge a model by its errors.

    Args:
        metrics: By answer, as the report has them.
        start: Name of the model that it began with; None for random weights.
        other_day: Whether what was kept aside is of a day that was not learnt from.
    """
    errors = {name: figures["rmse"] for name, figures in metrics.items()}
    own, before = errors.pop("model"), errors.pop("model_before")
    answer = min(errors, key=lambda name: errors[name])
    beats = _lower(own, errors[answer])
    learnt = start is None or _lower(own, before)
    sentences = [_gain(before, own)] if start is not None else []
    sentences.append(_beside(own, answer.replace("_", " "), errors[answer]))
    if beats and not learnt:
        sentences.append(f"Use {start} as it was.")
    if beats and learnt and not other_day:
        sentences.append(
            "This was measured on the days that were learnt from; on another day it may be worse. "
            "Train on three days or more to know."
        )
    return Verdict(beats and learnt and other_day, " ".join(sentences))


def _gain(before: float, own: float) -> str:
    if _lower(own, before):
        return (
            f"The error on what was kept aside fell from {before:.4g} to {own:.4g} "
            f"({1 - own / before:.0%})."
        )
    return (
        f"The training brought no gain: the error on what was kept aside was {before:.4g} before "
        f"and is {own:.4g} now."
    )


def _beside(own: float, answer: str, least: float) -> str:
    if _lower(own, least):
        return (
            f"The error of {own:.4g} is {1 - own / least:.0%} below that of the best simple "
            f"answer ({answer}, {least:.4g})."
        )
    return (
        f"The model ({own:.4g}) is no better than the simple answer {answer} ({least:.4g}): use "
        "that, or train on more days."
    )


def _lower(one: float, other: float) -> bool:
    return one < (1 - _LEAST) * other
