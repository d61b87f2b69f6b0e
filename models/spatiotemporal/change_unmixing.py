"""Change unmixing: one change for every soft class of the fine image, from the coarse change."""

from __future__ import annotations

from .change_fusion import ChangeFusion
from .change_model import Bank, Unmixing, unmix
from .reduced_pair import ReducedPair


class ChangeUnmixing(ChangeFusion):
    """Unmixing of the coarse change over soft classes of the fine image, our own method.

    Every fine pixel belongs to all classes, more to those it is like. Shares of the classes are
    smoothed to what coarse pixels see, and least squares over the whole scene give the change of
    every class, pulled towards the mean change. A fine pixel changes as its classes do; what they
    leave of the coarse change is smoothed and added. Pairs are weighted by the inverse of their
    predicted change.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where every fine reference has nodata.

    Raises:
        InputError: The images of a pair and the target are nowhere known together.

    Source: this project; the idea is that of Zhukov, Oertel, Lanzl & Reinhäckel (1999),
        doi:10.1109/36.763276.
    """

    @property
    def classes(self) -> int:
        return self.parameters["classes"]

    def learn(self, bank: Bank, pair: ReducedPair) -> Unmixing:
        """The changes of the classes of one pair."""
        return unmix(bank, pair, self.parameters["ridge"], self.parameters["smoothing"])
