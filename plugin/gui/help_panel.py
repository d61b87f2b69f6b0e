"""The method in words: the panel at the right of the dialog."""

from __future__ import annotations

from html import escape

from qgis.PyQt.QtWidgets import QTextBrowser, QWidget

from ...models.cards import Card
from .parameter_form import default_text


class HelpPanel(QTextBrowser):
    """Summary, inputs, settings and source of a method, from its card."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setOpenExternalLinks(True)
        self.setMinimumWidth(200)
        self.setObjectName("helpPanel")

    def show_card(self, card: Card) -> None:
        """Describe a method."""
        paper = card.paper
        parts = [f"<h3>{escape(card.name)}</h3>", f"<p><b>{escape(card.summary)}</b></p>"]
        parts.append(f"<p>{escape(card.description)}</p>")
        parts.append(self._section(self.tr("Inputs"), [(i.label, i.help) for i in card.inputs]))
        settings = [
            (spec.label, f"{spec.help} {default_text(spec, self)}") for spec in card.parameters
        ]
        parts.append(self._section(self.tr("Settings"), settings))
        parts.append(f"<h4>{self.tr('Source')}</h4>")
        parts.append(
            f"<p>{escape(str(paper['authors']))} ({paper['year']}). "
            f"{escape(str(paper.get('title', '')))}. "
            f'<a href="https://doi.org/{escape(str(paper["doi"]))}">'
            f"doi:{escape(str(paper['doi']))}</a></p>"
        )
        self.setHtml("".join(parts))

    def _section(self, title: str, items: list[tuple[str, str]]) -> str:
        if not items:
            return ""
        lines = "".join(f"<p><i>{escape(name)}.</i> {escape(text)}</p>" for name, text in items)
        return f"<h4>{escape(title)}</h4>{lines}"
