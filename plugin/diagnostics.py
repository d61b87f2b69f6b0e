"""What a report of a problem has to say, as Markdown or HTML, without the user's name.

Pure functions on plain data; ``facts.py`` collects it. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote

from .recent_errors import Entry
from .runtime.runtime import RuntimeStatus

NOT_LOOKED = "not looked at yet"
_DETAIL_LINES = 25


@dataclass(frozen=True)
class Person:
    """What must not be shown: the home folders and the names of the user."""

    homes: Sequence[str] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """What is known.

    Attributes:
        versions: By program.
        status: Of the worker's Python; None when nobody has looked.
        paths: By what they are.
        free_mb: Free space in MiB, by what the folder is.
        failures: The newest first.
        worker_words: The end of what the worker wrote to standard error.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    status: RuntimeStatus | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    free_mb: Mapping[str, float] = field(default_factory=dict)
    failures: Sequence[Entry] = ()
    worker_words: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page: a table of two columns, then text as it is."""

    title: str
    rows: Sequence[tuple[str, str]] = ()
    text: str = ""


def hidden(text: str, person: Person) -> str:
    """The text with the home folder as ``~`` and the user's name as ``<user>``."""
    homes = {home.rstrip("/\\") for home in person.homes}
    for home in sorted(filter(None, homes), key=len, reverse=True):
        for form in {home, home.replace("\\", "/"), home.replace("\\", "\\\\"), quote(home)}:
            text = re.sub(rf"{re.escape(form)}(?![\w-])", "~", text, flags=re.IGNORECASE)
    for name in sorted(filter(None, person.names), key=len, reverse=True):
        short = re.sub(r"[^\w]", "", name)[:6] + r"~\d"  # as Windows shortens long names
        forms = {re.escape(name), re.escape(quote(name)), short}
        # Not inside of words: a user called “to” would make nonsense of everything.
        pattern = rf"(?<![^\W_])(?:{'|'.join(sorted(forms))})(?![^\W_])"
        text = re.sub(pattern, "<user>", text, flags=re.IGNORECASE)
    return text


def sections(facts: Facts, person: Person) -> list[Section]:
    """The page, with nothing in it that must not be shown."""
    made = [
        Section("Versions", [*facts.versions.items(), *_worker_versions(facts.status)]),
        Section("Worker", _worker(facts.status)),
        Section("Devices", _devices(facts.status)),
        Section("Paths", [*facts.paths.items(), *_free(facts.free_mb)]),
        _failures(facts.failures),
        Section("Last words of the worker", text=_end(facts.worker_words)),
    ]
    return [_without_person(item, person) for item in made if item.rows or item.text]


def as_markdown(facts: Facts, person: Person) -> str:
    """The page for an issue tracker or an e-mail."""
    lines = ["# RasterFuse diagnostics"]
    for section in sections(facts, person):
        lines += ["", f"## {section.title}"]
        if section.rows:
            lines += ["", "| | |", "|---|---|"]
            lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in section.rows]
        if section.text:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", section.text)), default=0))
            lines += ["", fence, section.text, fence]
    return "\n".join(lines) + "\n"


def as_html(facts: Facts, person: Person) -> str:
    """The page for a window."""
    parts = []
    for section in sections(facts, person):
        parts.append(f"<h3>{escape(section.title)}</h3>")
        rows = "".join(
            f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td>{escape(value)}</td></tr>"
            for name, value in section.rows
        )
        parts.append(f"<table cellpadding='2'>{rows}</table>" if rows else "")
        parts.append(f"<pre>{escape(section.text)}</pre>" if section.text else "")
    return "".join(parts)


def worker_state(status: RuntimeStatus | None) -> str:
    """Whether jobs can run, in few words."""
    if status is None:
        return NOT_LOOKED
    return "ready" if status.ready else "not ready"


def device_lines(status: RuntimeStatus | None) -> list[tuple[str, str]]:
    """Name and memory of every device by its id, best first."""
    devices = (status.hello.get("devices") or []) if status is not None else []
    found = []
    for device in devices:
        memory = device.get("memory_mb")
        free = f", {memory / 1024:.1f} GB" if isinstance(memory, (int, float)) else ""
        found.append((str(device.get("id")), f"{device.get('name')}{free}"))
    return found


def _worker_versions(status: RuntimeStatus | None) -> list[tuple[str, str]]:
    hello = status.hello if status is not None else {}
    if not hello:
        return []
    packages = hello.get("packages") or {}
    named = [(f"Worker: {name}", str(version or "missing")) for name, version in packages.items()]
    ours = str(hello.get("version", "?"))
    return [("Worker: RasterFuse", ours), ("Worker: Python", str(hello.get("python", "?"))), *named]


def _worker(status: RuntimeStatus | None) -> list[tuple[str, str]]:
    rows = [("State", worker_state(status))]
    if status is not None:
        rows += [("Python", status.python or "none"), ("Looked at", status.looked_at)]
        rows += [("Reason", f"{status.reason} [{status.code}]")] if not status.ready else []
    return [(name, value) for name, value in rows if value]


def _devices(status: RuntimeStatus | None) -> list[tuple[str, str]]:
    return device_lines(status) or [("Devices", NOT_LOOKED)]


def _free(free_mb: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(f"Free: {what}", f"{mb / 1024:.1f} GB") for what, mb in free_mb.items()]


def _failures(failures: Sequence[Entry]) -> Section:
    rows = [
        (
            f"{item.when} {item.code}" + (f" ({item.times} times)" if item.times > 1 else ""),
            item.sentence,
        )
        for item in failures
    ]
    if not rows:
        return Section("Last errors", [("None", "in this session")])
    return Section("Last errors", rows, _end(failures[0].detail))


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_DETAIL_LINES:])


def _without_person(section: Section, person: Person) -> Section:
    rows = [(name, hidden(value, person)) for name, value in section.rows]
    return Section(section.title, rows, hidden(section.text, person))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
