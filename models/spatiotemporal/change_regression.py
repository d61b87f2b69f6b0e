"""Change regression: the coarse change as a line of all fine bands, the same in all the scene."""

from __future__ import annotations

from .change_fusion import ChangeFusion
from .change_model import Bank, Regression, regress
from .reduced_pair import ReducedPair


class ChangeRegression(ChangeFusion):
    """Ridge regression of the coarse change on all bands of the fine image, our own method.

    Change and fine reference are smoothed to what coarse pixels see, and a line from all bands to
    the change of each is fitted over the whole scene, pulled towards the mean change. It is applied
    to the fine pixels; what it leaves of the coarse change is smoothed and added. Pairs are
    weighted by the inverse of their predicted change.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where every fine reference has nodata.

    Raises:
        InputError: The images of a pair and the target are nowhere known together.

    Source: this project; the idea is that of Hoerl & Kennard (1970),
        doi:10.1080/00401706.1970.10488634.
    """

    def learn(self, bank: Bank, pair: ReducedPair) -> Regression:
        """The line of one pair."""
        return regress(bank, self.parameters["ridge"], self.parameters["smoothing"])
