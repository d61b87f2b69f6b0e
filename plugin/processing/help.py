"""Help text of an algorithm, from its card and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape as _escape

from qgis.core import QgsProcessingParameterDefinition

from ...models.cards import Card
from .parameters import tr


def help_html(card: Card, definitions: Iterable[QgsProcessingParameterDefinition]) -> str:
    """Summary, description, every parameter with its name for scripts, and the paper."""
    parts = [f"<p><b>{escape(card.summary)}</b></p>", f"<p>{escape(card.description)}</p>"]
    parts.append(f"<h3>{escape(tr('Parameters'))}</h3>")
    allowed = {spec.name.upper(): spec.range_text() for spec in card.parameters if _ranged(spec)}
    for definition in definitions:
        text = definition.help()
        if definition.name() in allowed:
            text += " " + tr("Allowed: a value {0}.").format(allowed[definition.name()])
        label, name = escape(definition.description()), definition.name()
        parts.append(f"<p><b>{label}</b> ({name})<br>{escape(text)}</p>")
    parts.append(f"<h3>{escape(tr('Source'))}</h3><p>{_paper(card)}</p>")
    return "".join(parts)


def paper_url(card: Card) -> str:
    """Where the paper is found."""
    return f"https://doi.org/{card.paper['doi']}"


def escape(text: str) -> str:
    """For text between tags, where quotation marks are harmless."""
    return _escape(text, quote=False)


def _ranged(spec: object) -> bool:
    return getattr(spec, "type", "") in ("int", "float")


def _paper(card: Card) -> str:
    paper = card.paper
    title = f" {escape(paper['title'])}." if paper.get("title") else ""
    link = f'<a href="{escape(paper_url(card))}">doi:{escape(str(paper["doi"]))}</a>'
    return f"{escape(str(paper['authors']))} ({paper['year']}).{title} {link}"
