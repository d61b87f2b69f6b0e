"""Every way in which a worker may end has a sentence that says what to do."""

from __future__ import annotations

import pytest
from rasterfuse.models.errors import FusionError, OutputError, WorkerError
from rasterfuse.plugin.runtime import endings


@pytest.mark.parametrize(
    ("code", "errors", "kind", "sentence"),
    [
        (-9, "", "worker_killed", "killed, most often because memory ran out. Lower the memory"),
        (137, "", "worker_killed", "killed, most often because memory ran out"),
        (-11, "", "worker_crashed", "crashed (signal 11, segmentation fault)"),
        (-4, "", "worker_crashed", "instruction that this processor does not have"),
        (-7, "", "worker_crashed", "free space"),
        (-15, "", "worker_killed", "ended by another program"),
        (-31, "", "worker_crashed", "crashed (signal 31)"),
        (0xC0000005, "", "worker_crashed", "crashed (0xC0000005, access violation)"),
        (0xC0000005 - 2**32, "", "worker_crashed", "crashed (0xC0000005, access violation)"),
        (0xC0000135, "", "worker_crashed", "Visual C++ Redistributable"),
        (0xC0000017, "", "worker_killed", "memory ran out"),
        (1, "ModuleNotFoundError: No module named 'torch'", "worker_library",
         "lacks the library torch"),
        (1, "x\nOSError: [WinError 126] Error loading c10.dll (DLL)\n", "worker_library",
         "c10.dll"),
        (1, "terminate called after throwing an instance of 'std::bad_alloc'", "worker_killed",
         "ran out of memory"),
        (1, "ValueError: no", "worker_ended", "ended without an answer (exit code 1)"),
        (0, "", "worker_ended", "exit code 0"),
        (None, "", "worker_protocol", "closed its output without an answer"),
    ],
)  # fmt: skip
def test_an_exit_code_becomes_a_sentence(code, errors, kind, sentence):
    error = endings.ended("The worker (python3)", code, errors)
    assert isinstance(error, WorkerError)
    assert error.code == kind
    assert sentence in error.sentence
    assert error.sentence.startswith("The worker (python3) ")
    assert errors.strip() in error.detail


@pytest.mark.parametrize("code", [-7, -11, 0xC0000005])
def test_a_crash_before_the_hello_points_to_damaged_libraries(code):
    error = endings.ended("The worker (python3)", code, "", starting=True)
    assert error.code == "worker_crashed"
    assert "while it loaded its libraries" in error.sentence
    assert "Install torch and rasterio anew" in error.sentence


def test_an_error_is_rebuilt_as_the_kind_it_was():
    error = endings.rebuilt({"code": "write", "sentence": "The disk is full.", "detail": "trace"})
    assert isinstance(error, OutputError)
    assert isinstance(error, OSError)
    assert (error.sentence, error.detail) == ("The disk is full.", "trace")


@pytest.mark.parametrize("message", [{}, {"code": None, "sentence": 5, "detail": None}])
def test_an_error_without_words_still_says_something(message):
    error = endings.rebuilt(message)
    assert type(error) is FusionError
    assert error.code == "internal"
    assert error.sentence == "The worker failed without saying why. Report it with the log."


@pytest.mark.parametrize(
    ("missing", "names"),
    [(["torch"], "torch"), (["torch", "rasterio"], "torch and rasterio"),
     (["torch", "rasterio", "numpy"], "torch, rasterio and numpy")],
)  # fmt: skip
def test_missing_libraries_are_listed_in_words(missing, names):
    assert f"/py cannot import {names}. Install" in endings.unfit("/py", missing).sentence
