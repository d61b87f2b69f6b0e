"""What a training has brought, in a sentence for whom it was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LEAST = 0.01  # share by which an error must be lower to count as lower


@dataclass(frozen=True)
class Verdict:
    """Whether to use a model.

    Attributes:
        better: Than what it began with, and than every trivial answer.
        sentence: Why, with the errors on what was kept aside, and what to do.
    """

    better: bool
    sentence: str


def judge(metrics: Mapping[str, Mapping[str, float]], start: str | None) -> Verdict:
    """Judge a model by its errors.

    Args:
        metrics: By answer, as the report has them.
        start: Name of the model that it began with; None for random weights.
    """
    errors = {name: figures["rmse"] for name, figures in metrics.items()}
    own, before = errors.pop("model"), errors.pop("model_before")
    answer = min(errors, key=lambda name: errors[name])
    named, least = answer.replace("_", " "), errors[answer]
    learnt = start is None or own < (1 - _LEAST) * before
    better = own < (1 - _LEAST) * least
    sentences = []
    if start is not None and learnt:
        sentences.append(
            f"The error on what was kept aside fell from {before:.4g} to {own:.4g} "
            f"({1 - own / before:.0%})."
        )
    elif start is not None:
        sentences.append(
            f"The training brought no gain: the error on what was kept aside was {before:.4g} "
            f"before and is {own:.4g} now. Use {start} as it was."
        )
    if better:
        sentences.append(
            f"It is {1 - own / least:.0%} below that of the best simple answer ({named}, "
            f"{least:.4g})."
        )
    else:
        sentences.append(
            f"The model ({own:.4g}) is no better than the simple answer {named} ({least:.4g}): "
            "use that, or train on more dates."
        )
    return Verdict(learnt and better, " ".join(sentences))
