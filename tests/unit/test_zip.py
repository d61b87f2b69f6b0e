"""The ZIP for the plugin repository: what is in it, and what the site would say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path("tools/package.py")
METADATA = """[general]
name=Little
description=A plugin
version=7.1
qgisMinimumVersion=3.22
author=We
email=we@example.org
about=It does little.
tracker=https://example.org/issues
repository=https://example.org/code
homepage=https://example.org
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="for a checkout with git"
)


class Checkout:
    """A small repository with the tool in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write(str(TOOL), (ROOT / TOOL).read_text(encoding="utf-8"))
        self.write("metadata.txt", METADATA)
        for name in ("__init__.py", "LICENSE", "CHANGELOG.md", "tests/test_it.py", "README.md"):
            self.write(name, f"# {name}\n")
        self.write("plugin/main.py", "print('main')\n")
        self.git("init", "--quiet")
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.root), *words], check=True, timeout=60)

    def commit(self) -> None:
        self.git("add", "--all", "--force")
        me = ("-c", "user.name=we", "-c", "user.email=we@example.org")
        self.git(*me, "commit", "--quiet", "--message", "it")

    def package(self, *words: str) -> subprocess.CompletedProcess[str]:
        return package(self.root, *words)


def package(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / TOOL), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The entries of the ZIP that this checkout gives, and the file."""
    done = package(ROOT)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return path, archive.infolist()


def test_the_plugin_is_small_and_lies_in_one_folder_with_its_licence(ours):
    path, entries = ours
    names = {entry.filename for entry in entries}
    assert path.name.startswith("rasterfuse-")
    assert path.stat().st_size < 2_000_000  # the site takes 25 MB; code and cards are far less
    assert {name.split("/")[0] for name in names} == {"rasterfuse"}
    assert {"rasterfuse/LICENSE", "rasterfuse/metadata.txt", "rasterfuse/__init__.py"} <= names
    assert "rasterfuse/plugin/engine/worker.py" in names
    assert "rasterfuse/models/spatiotemporal/starfm.json" in names


def test_what_is_for_developers_stays_out(ours):
    entries = ours[1]
    rooms = {entry.filename.split("/")[1] for entry in entries}
    assert rooms & {"tests", "tools", "docs", "build", "Makefile", "pyproject.toml"} == set()
    assert [e.filename for e in entries if e.external_attr >> 16 & 0o111] == []


def test_bandit_looks_at_every_module_that_users_get(ours):
    """`make lint` scans the folders, as it runs where git may be absent."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    line = next(line for line in makefile.splitlines() if "-m bandit" in line)
    scanned = line.split("pyproject.toml")[1].split()
    modules = [e.filename.split("/", 1)[1] for e in ours[1] if e.filename.endswith(".py")]
    assert [name for name in modules if name.split("/")[0] not in scanned] == []


def test_the_same_commit_gives_the_same_bytes_wherever_and_whenever(checkout, tmp_path):
    first = Path(checkout.package().stdout.strip()).read_bytes()
    clone = tmp_path / "elsewhere"
    subprocess.run(["git", "clone", "--quiet", str(checkout.root), str(clone)], check=True)
    os.utime(clone / "LICENSE", (1e9, 1e9))
    (clone / "plugin" / "main.py").chmod(0o755)
    done = package(clone)
    assert Path(done.stdout.strip()).read_bytes() == first


def test_a_file_that_git_does_not_track_is_not_shipped_but_named(checkout):
    checkout.write("plugin/scratch.py", "x = 1\n")
    done = checkout.package()
    assert "1 files differ from the commit, plugin/scratch.py the first" in done.stderr
    with zipfile.ZipFile(done.stdout.strip()) as archive:
        assert "rasterfuse/plugin/main.py" in archive.namelist()
        assert "rasterfuse/plugin/scratch.py" not in archive.namelist()


@pytest.mark.parametrize(
    "name", ["plugin/run.exe", "models/.secret", "plugin/__pycache__/main.pyc", "resources/go.sh"]
)
def test_what_the_site_refuses_is_named_and_nothing_is_made(checkout, name):
    checkout.write(name, "x")
    checkout.commit()
    done = checkout.package()
    assert done.returncode == 1
    assert f"plugins.qgis.org refuses {name}." in done.stderr
    assert not (checkout.root / "build").exists()


@pytest.mark.parametrize("key", ["tracker", "repository", "homepage", "email"])
def test_an_open_question_is_told_and_fails_the_strict_way(checkout, key):
    lines = [line for line in METADATA.splitlines() if not line.startswith(f"{key}=")]
    checkout.write("metadata.txt", "\n".join(lines))
    checkout.commit()
    sentence = f"plugins.qgis.org will ask for {key}. Add to metadata.txt."
    told, refused = checkout.package(), checkout.package("--strict")
    assert (told.returncode, told.stderr.strip()) == (0, sentence)
    assert refused.returncode == 1
    assert sentence in refused.stderr


def test_when_nothing_is_open_the_strict_way_makes_the_zip(checkout):
    done = checkout.package("--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("rasterfuse-7.1.zip")
    assert Path(done.stdout.strip()).is_file()


def test_a_licence_that_is_not_tracked_is_missed(checkout):
    checkout.git("rm", "--quiet", "LICENSE")
    done = checkout.package()
    assert done.returncode == 1
    assert "git does not track LICENSE" in done.stderr
