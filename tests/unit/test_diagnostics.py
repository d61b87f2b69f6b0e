"""The diagnostics: what a bug report needs, and nothing that tells who the user is."""

from __future__ import annotations

import pytest
from rasterfuse.models.errors import CancelledError, FusionError, WorkerError
from rasterfuse.plugin import recent_errors
from rasterfuse.plugin.diagnostics import Facts, Person, as_html, as_markdown, hidden
from rasterfuse.plugin.runtime.runtime import RuntimeStatus
from scripted_worker import HELLO

JANE = Person(("/home/jane", "/home/jane/"), ("jane",))
WINDOWS = Person(("C:\\Users\\Jané Doe",), ("Jané Doe",))


@pytest.fixture(autouse=True)
def no_errors():
    recent_errors.forget()
    yield
    recent_errors.forget()


def facts(**more):
    status = RuntimeStatus(True, "/home/jane/env/bin/python", "", HELLO, "", "2026-11-25 09:00:00")
    return Facts(
        **{
            "versions": {"RasterFuse": "0.1.0", "QGIS": "3.22.16", "Qt": "5.15.8"},
            "status": status,
            "paths": {"Plugin": "/home/jane/.local/share/QGIS/plugins/rasterfuse"},
            "free_mb": {"temporary files": 2048.0},
            **more,
        }
    )


def test_the_page_tells_versions_worker_devices_memory_and_paths():
    text = as_markdown(facts(), JANE)
    for words in (
        "| QGIS | 3.22.16 |", "| Worker: torch | 2.13.0 |", "| Worker: numba | missing |",
        "| State | ready |", "| Python | ~/env/bin/python |", "| cuda:0 | Scripted GPU, 7.8 GB |",
        "| Plugin | ~/.local/share/QGIS/plugins/rasterfuse |", "| Free: temporary files | 2.0 GB |",
        "| None | in this session |",
    ):  # fmt: skip
        assert words in text
    assert "Scripted GPU" in as_html(facts(), JANE)


def test_what_is_not_known_is_said_to_be_unknown():
    text = as_markdown(facts(status=None), JANE)
    assert "| State | not looked at yet |" in text
    assert "| Devices | not looked at yet |" in text


def test_a_worker_that_is_not_ready_says_why_with_its_code():
    status = RuntimeStatus(False, "/opt/python", "It lacks torch.", {}, "worker_library")
    text = as_markdown(facts(status=status), JANE)
    assert "| State | not ready |" in text
    assert "| Reason | It lacks torch. [worker_library] |" in text


def test_failures_are_told_newest_first_with_the_end_of_their_log():
    recent_errors.note(FusionError("The first one.", "input"))
    detail = "\n".join(f"line {number}" for number in range(100))
    recent_errors.note(WorkerError("The second | one.", "worker_killed", detail))
    text = as_markdown(facts(failures=recent_errors.latest()), JANE)
    assert text.index("The second \\| one.") < text.index("The first one.")
    assert "worker_killed" in text
    assert "line 99\n```" in text
    assert "line 5\n" not in text


def test_the_last_words_of_the_worker_cannot_break_out_of_their_block():
    text = as_markdown(facts(worker_words="```\n# No heading"), JANE)
    assert "````\n```\n# No heading\n````" in text
    assert "<script>" not in as_html(facts(worker_words="<script>"), JANE)


@pytest.mark.parametrize(
    ("text", "person", "shown"),
    [
        ("/home/jane/data/a.tif", JANE, "~/data/a.tif"),
        ("/home/jane", JANE, "~"),
        ("/home/janet/a.tif", JANE, "/home/janet/a.tif"),
        ("/media/jane/disk and /tmp/x-jane.log", JANE, "/media/<user>/disk and /tmp/x-<user>.log"),
        ("JANE@host janes", JANE, "<user>@host janes"),
        (r"C:\Users\Jané Doe\a.tif", WINDOWS, r"~\a.tif"),
        ("c:/users/jané doe/a.tif", WINDOWS, "~/a.tif"),
        (r"'C:\\Users\\Jané Doe\\a.tif'", WINDOWS, r"'~\\a.tif'"),
        (r"C:\Users\JANÉDO~1\AppData", WINDOWS, r"C:\Users\<user>\AppData"),
        ("file:///C:/Users/Jan%C3%A9%20Doe/a.tif", WINDOWS, "file:///C:/Users/<user>/a.tif"),
    ],
)
def test_the_home_is_shortened_and_the_user_never_named(text, person, shown):
    assert hidden(text, person) == shown


def test_no_part_of_the_page_names_the_user():
    recent_errors.note(WorkerError("/home/jane/a.tif of jane", "read", "at /home/jane/x.py, jane"))
    words = "jane: /home/jane/lib.so, /run/user/jane"
    known = facts(
        failures=recent_errors.latest(), worker_words=words, versions={"System": "jane-laptop"}
    )
    for page in (as_markdown(known, JANE), as_html(known, JANE)):
        assert "jane" not in page.lower()


def test_the_list_of_errors_is_small_counts_repetitions_and_keeps_no_cancels():
    for number in range(50):
        recent_errors.note(FusionError(f"Number {number}."))
    recent_errors.note(FusionError("Again."))
    recent_errors.note(FusionError("Again."))
    recent_errors.note(CancelledError("The user did."))
    found = recent_errors.latest()
    assert len(found) == 20
    assert (found[0].sentence, found[0].times) == ("Again.", 2)
    assert found[1].sentence == "Number 49."
    assert "Again." in as_markdown(facts(failures=found), JANE)
    assert "(2 times)" in as_markdown(facts(failures=found), JANE)
