"""An installation from start to end with the real pip and tiny wheels, and all that may stop it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rasterfuse.models.errors import CancelledError, FusionError
from rasterfuse.plugin.runtime.install import endings, lock, steps
from rasterfuse.plugin.runtime.install.folder import Place
from rasterfuse.plugin.runtime.install.network import Network
from rasterfuse.plugin.runtime.install.plan import Build
from rasterfuse.plugin.runtime.install.steps import PROBE, STEPS, TORCH, Listener
from tiny_wheels import PROBE as PROBE_TEXT
from tiny_wheels import tiny_plan, write_wheel

TESTS = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"  # the port "discard": nobody listens


def attempt(plan, place, stop_at=None, network=None, stall_s=300.0, heard=None):
    """The answer of the probe, or the error that came instead of it."""
    seen = heard if heard is not None else []

    def is_cancelled():
        return stop_at in seen

    try:
        listener = Listener(seen.append, is_cancelled=is_cancelled)
        return steps.install(plan, place, listener, network, stall_s)
    except FusionError as error:
        return error


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """An installation that has its Python and its environment: they take the longest to make."""
    folder = tmp_path_factory.mktemp("begun")
    plan, place = tiny_plan(folder), Place(folder / "Länder und Städte")
    assert isinstance(attempt(plan, place, stop_at=TORCH), CancelledError)
    return folder


@pytest.fixture
def plan(begun, tmp_path):
    return tiny_plan(tmp_path)


@pytest.fixture
def place(begun, tmp_path):
    """A copy of it."""
    shutil.copytree(begun, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Place(tmp_path / "Länder und Städte")


def works(place):
    """Whether the environment in use imports what it was made for."""
    current = place.current()
    code = "import torch, tiny_library, torch.part_2"
    return current and subprocess.run([current.python, "-c", code], check=False).returncode == 0


def left_over(place):
    """What lies in the folder besides the environment in use."""
    current = place.current()
    kept = {"current.json", "install.log", "lock"}
    if current is not None:
        kept |= {current.environment.name, current.environment.name + ".json"}
    return sorted(path.name for path in place.root.iterdir() if path.name not in kept)


# --- what is kept -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cancel_at_any_step_keeps_the_finished_ones_and_the_next_try_goes_on(tmp_path):
    plan, place = tiny_plan(tmp_path), Place(tmp_path / "runtime")
    for number, step in enumerate(STEPS):
        heard = []
        assert isinstance(attempt(plan, place, stop_at=step, heard=heard), CancelledError)
        # A step that was cut off begins again, the ones before it do not.
        assert heard == list(STEPS[max(number - 1, 0) : number + 1])
        assert place.current() is None
    heard = []
    assert attempt(plan, place, heard=heard)["torch"] == "1.0"
    assert heard == [PROBE]
    assert works(place)
    assert left_over(place) == []


def test_an_extra_is_installed_without_what_it_asks_for(plan, place):
    write_wheel(Path(plan.wheels), "tiny_extra", "1.0", {}, needs="never_heard_of")
    assert attempt(replace(plan, extras=("tiny_extra",)), place)["torch"] == "1.0"
    code = "import tiny_extra"
    assert subprocess.run([place.current().python, "-c", code], check=False).returncode == 0


def test_an_extra_that_is_not_to_be_had_is_done_without(plan, place):
    assert attempt(replace(plan, extras=("tiny_extra",)), place)["torch"] == "1.0"
    assert works(place)
    assert "tiny_extra" in place.log.read_text(encoding="utf-8")
    assert left_over(place) == []


INSTALLER = """
    import os, sys
    sys.path.insert(0, {tests!r})
    import conftest
    from pathlib import Path
    from rasterfuse.plugin.runtime.install.folder import Place
    from rasterfuse.plugin.runtime.install.steps import Listener, install
    from tiny_wheels import tiny_plan

    def on_step(step):
        print(step, flush=True)
        if step == {step!r}:
            os.kill(os.getpid(), 9)

    plan = tiny_plan(Path({folder!r}), files={files})
    install(plan, Place(Path({root!r})), Listener(on_step))
    """


def installer(folder, place, step="", files=3):
    """Another process that installs, and kills itself when a step begins."""
    code = textwrap.dedent(INSTALLER).format(
        tests=str(TESTS), folder=str(folder), root=str(place.root),
        step=step, files=files,
    )  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_after_a_kill_at_any_step_the_next_process_goes_on(tmp_path):
    place = Place(tmp_path / "runtime")
    for number, step in enumerate(STEPS):
        process = installer(tmp_path, place, step)
        heard = process.communicate(timeout=120)[0].split()
        assert process.returncode == -signal.SIGKILL
        assert heard == list(STEPS[max(number - 1, 0) : number + 1])
    assert attempt(tiny_plan(tmp_path), place)["torch"] == "1.0"
    assert works(place)
    assert left_over(place) == []


@pytest.mark.slow
def test_a_kill_while_pip_unpacks_ends_pip_and_leaves_nothing_half(place, tmp_path):
    many = 20_000
    plan = tiny_plan(tmp_path, files=many)
    process = installer(tmp_path, place, files=many)
    packages = place.target(plan.key) / "lib"
    wait_until(lambda: list(packages.glob("*/site-packages/torch/part_*.py")))
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not working_in(place.root))
    assert len(list(packages.glob("*/site-packages/torch/part_*.py"))) < many
    assert attempt(plan, place)["torch"] == "1.0"
    assert len(list(packages.glob("*/site-packages/torch/part_*.py"))) == many


def working_in(folder):
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(folder):
                found.append(entry.name)
        except OSError:
            continue
    return found


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# --- the former environment -------------------------------------------------------------------


@pytest.mark.slow
def test_the_former_environment_stays_in_use_until_the_new_one_works(place, plan, tmp_path):
    attempt(plan, place)
    first = place.current()
    other = replace(plan, lock=plan.lock + "pip==1\n", probe=(*plan.probe, "The GPU is broken."))
    fault = attempt(other, place)
    assert fault.code == endings.PROBE
    assert "does not work: The GPU is broken. The former environment" in fault.sentence
    assert place.current() == first
    assert works(place)
    assert attempt(replace(other, probe=plan.probe), place)["torch"] == "1.0"
    assert place.current().key == other.key
    assert not first.environment.exists()
    assert left_over(place) == []


@pytest.mark.slow
def test_repair_makes_the_same_environment_anew_beside_the_one_in_use(place, plan):
    attempt(plan, place)
    first = place.current()
    shutil.rmtree(next(first.environment.glob("lib/*/site-packages/torch")))
    assert not works(place)
    assert attempt(plan, place)["torch"] == "1.0"
    assert works(place)
    assert place.current().environment != first.environment
    assert left_over(place) == []


@pytest.mark.slow
def test_a_former_environment_in_which_a_job_runs_is_left_to_the_next_time(place, plan):
    attempt(plan, place)
    first = place.current().environment
    steps.install(replace(plan, lock=plan.lock + "pip==1\n"), place,
                  Listener(may_sweep=lambda: False))  # fmt: skip
    assert first.exists()
    place.sweep()
    assert not first.exists()
    assert works(place)


def test_remove_takes_only_what_was_installed(place, plan):
    attempt(plan, place)
    mine = place.root / "my notes"
    mine.mkdir()
    assert place.remove()
    assert place.current() is None
    assert sorted(path.name for path in place.root.iterdir()) == ["lock", "my notes"]


@pytest.mark.slow
def test_an_environment_that_is_gone_is_made_anew_and_one_that_failed_is_not_left(place, plan):
    begun = place.target(plan.key)
    shutil.rmtree(begun)
    failing = replace(plan, probe=(*plan.probe, "It does not work."))
    assert attempt(failing, place).code == endings.PROBE
    assert not place.is_begun(plan.key)
    other = replace(plan, lock=plan.lock + "pip==1\n")
    assert attempt(other, place)["torch"] == "1.0"
    assert not begun.exists()
    assert left_over(place) == []


# --- faults -----------------------------------------------------------------------------------


def test_too_little_free_space_is_said_before_anything_is_done(plan, tmp_path):
    huge = Build("cpu", "1.0", "", "cpu", 1, 10**12)
    place = Place(tmp_path / "runtime")
    fault = attempt(replace(plan, build=huge), place)
    assert fault.code == endings.SPACE
    assert "needs 1000000000.0 GB on the disk" in fault.sentence
    assert not list(place.root.glob("*.json"))


def test_a_disk_that_fills_up_is_named(plan, place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    try:
        shutil.copytree(place.root, disk / "runtime", symlinks=True)
        write_wheel(tmp_path / "wheels", "torch", "1.0", {"large.py": "#" * 60_000_000})
        fault = attempt(plan, Place(disk / "runtime"))
        assert fault.code == endings.SPACE, fault.detail
        assert f"The disk with {disk / 'runtime'} is full. Free some space" in fault.sentence
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_package_that_the_folder_lacks_is_named(plan, place, tmp_path):
    next((tmp_path / "wheels").glob("tiny_library*")).unlink()
    fault = attempt(plan, place)
    assert fault.code == endings.ABSENT, fault.detail
    assert "(tiny_library)" in fault.sentence


def test_a_folder_of_wheels_that_is_not_there_is_named(plan, place):
    fault = attempt(replace(plan, wheels="/no/such/folder"), place)
    assert fault.sentence.startswith("The folder of wheels /no/such/folder does not exist.")


def test_a_truncated_wheel_is_called_damaged(plan, place, tmp_path):
    wheel = next((tmp_path / "wheels").glob("torch*"))
    wheel.write_bytes(wheel.read_bytes()[:-300])
    fault = attempt(plan, place)
    assert fault.code == endings.DAMAGED, fault.detail
    assert "torch" in fault.sentence


def test_a_download_that_is_not_what_the_index_announced_is_refused(plan, place, tmp_path):
    wheels = tmp_path / "wheels"
    (wheels / "files").mkdir()
    wheel = next(wheels.glob("torch*"))
    wheel = wheel.rename(wheels / "files" / wheel.name)
    link = f'<a href="files/{wheel.name}#sha256={"0" * 64}">{wheel.name}</a>'
    (wheels / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    fault = attempt(plan, place)
    assert fault.code == endings.HASH, fault.detail
    assert not place.current()


@pytest.fixture
def online(place, tmp_path, monkeypatch):
    """A plan that asks the given index of packages, as the user's pip is configured."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def make(index):
        (tmp_path / "config" / "pip").mkdir(parents=True)
        text = f"[global]\nindex-url = {index}\nretries = 1\n"
        (tmp_path / "config" / "pip" / "pip.conf").write_text(text)
        return replace(tiny_plan(tmp_path), wheels="")

    return make


def test_without_network_the_user_hears_which_way_is_closed(online, place):
    fault = attempt(online(f"{NOWHERE}/simple"), place)
    assert fault.code == endings.NETWORK, fault.detail
    assert "The package server cannot be reached (http://127.0.0.1:9/simple)" in fault.sentence
    assert "folder of wheels" in fault.sentence


def test_a_proxy_from_the_settings_of_qgis_is_used_and_named_when_it_is_down(online, place):
    fault = attempt(online("https://packages.invalid/simple"), place, network=Network(NOWHERE))
    assert fault.code == endings.PROXY, fault.detail
    assert "Options ▸ Network" in fault.sentence


def test_a_server_that_never_answers_ends_with_a_sentence(online, place):
    with socket.create_server(("127.0.0.1", 0)) as server:
        plan = online(f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        fault = attempt(plan, place, stall_s=2.0)
    assert fault.code == endings.STALLED, fault.detail
    assert "Nothing moved for 2 seconds while installing (torch)" in fault.sentence
    assert working_in(place.root) == []


def test_two_windows_do_not_install_at_once_and_the_second_says_who_does(place, plan):
    code = f"""
        import sys, time
        sys.path.insert(0, {str(TESTS)!r})
        import conftest
        from pathlib import Path
        from rasterfuse.plugin.runtime.install import lock
        with lock.held(Path({str(place.lock)!r})):
            print("held", flush=True)
            time.sleep(300)
        """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        fault = attempt(plan, place)
        other.kill()
    assert fault.code == endings.BUSY
    assert f"Another window of QGIS (process {other.pid}, since " in fault.sentence
    assert attempt(plan, place)["torch"] == "1.0"  # the dead hold nothing
    assert lock.holder(place.lock) == ""


def test_a_folder_that_cannot_be_written_is_named(plan, tmp_path):
    (tmp_path / "file").write_text("no folder")
    fault = attempt(plan, Place(tmp_path / "file" / "runtime"))
    assert fault.code == endings.FOLDER
    assert str(tmp_path / "file" / "runtime") in fault.sentence


@pytest.mark.slow
def test_a_worker_that_says_nonsense_or_ends_badly_does_not_pass(place, plan, tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text("print('hello')")
    assert "gave no answer" in attempt(plan, place).sentence
    probe.write_text(PROBE_TEXT + "raise SystemExit(3)")
    assert "exit code 3" in attempt(plan, place).sentence
    assert place.current() is None
