"""The report of a fusion for people (HTML) and for Processing (numbers)."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qgis.PyQt.QtCore import QCoreApplication

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

CLEARLY_BETTER = 0.98  # of a simple answer's difference, as in the trust check
# Only what QTextBrowser knows too; no colours of text or ground, so that any theme fits.
_STYLE = (
    "table { border-collapse: collapse; margin: 4px 0 12px 0; } "
    "th, td { border: 1px solid #808080; padding: 3px 8px; text-align: left; } "
    "td.number { text-align: right; } h1 { font-size: large; } h2 { font-size: medium; }"
)
_SIGNIFICANT = 4


def tr(text: str) -> str:
    """Translate a text of the report."""
    return QCoreApplication.translate("RasterFuseReport", text)


def report_numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report under the names of Processing outputs.

    ``RMSE_RESULT``, ``RMSE_COPY_FINE``, ``RMSE_FINE_PLUS_CHANGE`` or ``RMSE_INTERPOLATED``: mean
    over the bands of the trust check; ``SECONDS``, ``NODATA_SHARE``. Unknown ones are left out.
    """
    found = {
        f"RMSE_{str(answer.get('id', '')).upper()}": answer.get("mean")
        for answer in _answers(report)
    }
    found["SECONDS"] = _part(report, "seconds").get("total")
    found["NODATA_SHARE"] = report.get("nodata_share")
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def report_html(report: Mapping[str, Any]) -> str:
    """The whole report as one page without links to other files."""
    title = f"{_text(report.get('name') or tr('Fusion'))} – {tr('report')}"
    parts = [
        f"<h1>{title}</h1>",
        _verdict(report),
        _remarks(tr("Warnings"), report.get("warnings")),
        _remarks(tr("Notes"), report.get("notes")),
        _trust(report),
        _observation(report),
        _harmonisation(report),
        _inputs(report),
        _parameters(report),
        _result(report),
        _seconds(report),
    ]
    return (
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def number(value: Any) -> str:
    """A number with four significant digits and without exponent where that is readable."""
    if not _is_number(value):
        return "–"
    size = abs(value)
    if value == int(value) and size < 1e9:
        return str(int(value))
    if not 1e-4 <= size < 1e6:
        return f"{value:.{_SIGNIFICANT}g}"
    decimals = max(_SIGNIFICANT - 1 - math.floor(math.log10(size)), 0)
    return f"{value:.{decimals}f}"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    return html.escape(str(value))


def _part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = report.get(key)
    return value if isinstance(value, Mapping) else {}


def _answers(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_part(report, "trust").get("answers") or ())


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Cells that are numbers are set to the right; texts are escaped."""
    top = "".join(f"<th>{_text(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return f"<td class='number' align='right'>{number(value)}</td>"
    return f"<td>{_text(value)}</td>"


def _section(title: str, body: str) -> str:
    return f"<h2>{_text(title)}</h2>{body}"


def _verdict(report: Mapping[str, Any]) -> str:
    sentence = _part(report, "trust").get("verdict")
    if not sentence:
        text = tr("The result could not be compared with the coarse image: no coarse cell is "
                  "covered well enough.")  # fmt: skip
        return f"<p><b>{_text(text)}</b></p>"
    sign = "✔" if is_better(report) else "⚠"
    return f"<p><b>{sign} {_text(sentence)}</b></p>"


def is_better(report: Mapping[str, Any]) -> bool:
    """Whether the result agrees with the coarse image clearly better than every simple answer."""
    means = {str(answer.get("id")): answer.get("mean") for answer in _answers(report)}
    means.pop(str(report.get("model")), None)  # a simple answer is not compared with itself
    result = means.pop("result", None)
    others = [mean for mean in means.values() if _is_number(mean)]
    if not _is_number(result) or not others:
        return False
    return bool(result < CLEARLY_BETTER * min(others))


def _remarks(title: str, sentences: Any) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    return _section(title, f"<ul>{items}</ul>")


def _trust(report: Mapping[str, Any]) -> str:
    answers = _answers(report)
    if not answers:
        return ""
    bands = max(len(answer.get("rmse") or ()) for answer in answers)
    heads = [tr("Answer"), tr("Mean"), *(tr("Band {0}").format(n + 1) for n in range(bands))]
    rows = [
        [answer.get("name", answer.get("id", "")), answer.get("mean"), *(answer.get("rmse") or ())]
        for answer in answers
    ]
    found = _part(report, "trust")
    text = tr("Root mean square difference to the coarse image on {0} coarse cells; smaller is "
              "better. Agreement is necessary for a good result, but does not prove the "
              "detail.").format(number(found.get("cells")))  # fmt: skip
    if found.get("seen_through") == "observation model":
        text += " " + tr("The images were seen as the coarse sensor sees them, with its blur and "
                         "shift.")  # fmt: skip
    return _section(tr("Trust check"), f"<p>{_text(text)}</p>{_table(heads, rows)}")


def _observation(report: Mapping[str, Any]) -> str:
    found = report.get("observation") or ()
    if not found:
        return ""
    heads = [
        tr("Coarse image"), tr("Pair"), tr("Blur (cells)"), tr("Off by rows (cells)"),
        tr("Off by columns (cells)"), tr("Correlation"), tr("Without shift"), tr("Reliable"),
        tr("Moved"),
    ]  # fmt: skip
    rows = [
        [
            str(item.get("image", "")).replace("_", " "),
            item.get("pair"),
            item.get("sigma_cells"),
            *(item.get("shift_cells") or (None, None)),
            item.get("correlation"),
            item.get("unshifted_correlation"),
            tr("yes") if item.get("reliable") else tr("no"),
            tr("yes") if item.get("moved") else tr("no"),
        ]
        for item in found
    ]
    text = tr("How each coarse image sees a fine one: how much it blurs, and how far down and "
              "right it would have to be moved to lie on it, in coarse pixels.")  # fmt: skip
    title = tr("Blur and shift of the coarse images")
    return _section(title, f"<p>{_text(text)}</p>{_table(heads, rows)}")


def _harmonisation(report: Mapping[str, Any]) -> str:
    found = _part(report, "harmonisation")
    if not found:
        return ""
    heads = [
        tr("Band"), tr("Gain"), tr("Offset"), tr("Correlation"), tr("RMSE before"),
        tr("RMSE after"),
    ]  # fmt: skip
    keys = ("band", "gain", "offset", "correlation", "rmse_before", "rmse_after")
    rows = [[band.get(key) for key in keys] for band in found.get("bands") or ()]
    applied = tr("Applied.") if found.get("applied") else tr("Not applied.")
    text = f"<p>{_text(applied)} {_text(found.get('reason') or '')}</p>"
    title = tr("Harmonisation of coarse to fine")
    return _section(title, text + (_table(heads, rows) if rows else ""))


def _inputs(report: Mapping[str, Any]) -> str:
    found = inputs_of(_part(report, "job"))
    if not found:
        return ""
    rows = [
        [
            role,
            source.get("name") or file_name(source),
            source.get("date") or "–",
            ", ".join(map(str, source.get("bands") or ())) or tr("all"),
        ]
        for role, source in found
    ]
    # Paths are too long for a column.
    paths = "<br>".join(_text(f"{role}: {source.get('path', '–')}") for role, source in found)
    heads = [tr("Role"), tr("Image"), tr("Date"), tr("Bands")]
    return _section(tr("Inputs"), f"{_table(heads, rows)}<p>{paths}</p>")


def inputs_of(job: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The images of a job in its JSON form, with the names of their roles."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for role, given in _part(job, "inputs").items():
        if isinstance(given, Mapping):
            found.append((role.replace("_", " "), given))
            continue
        for position, pair in enumerate(given or (), 1):
            found += [(f"{side} {position}", pair.get(side) or {}) for side in ("coarse", "fine")]
    return found


def file_name(source: Mapping[str, Any]) -> str:
    """What to call an image without a name."""
    return str(source.get("path", "")).replace("\\", "/").rsplit("/", 1)[-1]


def _parameters(report: Mapping[str, Any]) -> str:
    job = _part(report, "job")
    rows: list[Sequence[Any]] = [
        (name, tr("automatic") if value is None else value)
        for name, value in _part(job, "parameters").items()
    ]
    settings = {"harmonise": tr("harmonise"), "coregister": tr("coregister")}
    rows += [(label, job[name]) for name, label in settings.items() if job.get(name)]
    if job.get("extent"):
        rows.append((tr("extent"), ", ".join(number(value) for value in job["extent"])))
    if not rows:
        return ""
    return _section(tr("Parameters"), _table([tr("Name"), tr("Value")], rows))


def _result(report: Mapping[str, Any]) -> str:
    grid = _part(report, "grid")
    pixel = grid.get("pixel") or ()
    share = report.get("nodata_share")
    ratio = grid.get("ratio")
    ratios = ratio if isinstance(ratio, (list, tuple)) else [ratio]
    rows = [
        (tr("File"), report.get("path", "")),
        (tr("Size"), tr("{0} rows × {1} columns × {2} bands").format(
            *(number(grid.get(key)) for key in ("rows", "cols", "bands")))),
        (tr("CRS"), grid.get("crs") or "–"),
        (tr("Pixel"), " × ".join(number(value) for value in pixel) or "–"),
        (tr("Coarse / fine pixel size"), " × ".join(number(value) for value in ratios)),
        (tr("Nodata"), f"{number(100 * share)} %" if _is_number(share) else "–"),
        (tr("Device"), f"{report.get('device', '–')} ({report.get('backend', '–')})"),
        (tr("Peak memory"), f"{number(report.get('peak_memory_mb'))} MB"),
        (tr("Version"), f"RasterFuse {report.get('version', '–')}"),
    ]  # fmt: skip
    if report.get("error_path"):
        means = ", ".join(number(value) for value in report.get("standard_error") or ())
        rows[1:1] = [(tr("Standard error"), report["error_path"]),
                     (tr("Its mean per band"), means or "–")]  # fmt: skip
    return _section(tr("Result"), _table([tr("Property"), tr("Value")], rows))


def _seconds(report: Mapping[str, Any]) -> str:
    seconds = _part(report, "seconds")
    names = {
        "open": tr("Opening"), "harmonise": tr("Reading the scene"), "prepare": tr("Preparing"),
        "read": tr("Reading"), "compute": tr("Computing"), "write": tr("Writing"),
        "total": tr("Total"),
    }  # fmt: skip
    rows = [(names.get(key, key), value) for key, value in seconds.items()]
    if not rows:
        return ""
    text = tr("Reading, computing and writing overlap, so they add up to more than the total.")
    table = _table([tr("Stage"), tr("Seconds")], rows)
    return _section(tr("Time"), f"<p>{_text(text)}</p>{table}")
