"""The help on error codes in a window, open at the code of an error."""

from __future__ import annotations

from html import escape

from qgis.PyQt.QtWidgets import QWidget

from ...models.catalogue import ALWAYS, CATALOGUE, parts
from .text_window import TextWindow


class ErrorHelp(TextWindow):
    """Explains every code; nothing is loaded from the network."""

    def __init__(self, code: str, parent: QWidget | None = None) -> None:
        code = code if code in CATALOGUE else "internal"
        super().__init__("RasterFuseErrorHelp", "", _html(code), parent)
        self.setWindowTitle(self.tr("RasterFuse: error codes"))
        self.diagnostics = self.add_button(self.tr("Diagnostics …"))
        self._code = code

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self.browser.scrollToAnchor(self._code)  # only now is it known where that is


def _html(shown: str) -> str:
    lines = [f"<p>{escape(ALWAYS)}</p>"]
    for part, codes in parts().items():
        lines.append(f"<h2>{escape(part)}</h2>")
        for code in codes:
            failure = CATALOGUE[code]
            mark = " style='background-color: palette(midlight)'" if code == shown else ""
            lines.append(
                f"<h3{mark}><a name='{code}'>{code}</a></h3><p>{escape(failure.meaning)}</p>"
                f"<p><b>Next:</b> {escape(failure.advice)}</p>"
            )
    return "".join(lines)
