"""Make the ZIP for the plugin repository of QGIS: tools/package.py [--strict].

What users get is what git tracks at ``FILES`` and below ``FOLDERS``, and nothing else: no tests,
tools or documents. The same commit gives the same bytes. It says what the site will still ask for;
with ``--strict`` that is a failure.
"""

from __future__ import annotations

import argparse
import configparser
import subprocess
import sys
import time
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
NAME = "rasterfuse"
FILES = ("__init__.py", "metadata.txt", "LICENSE", "CHANGELOG.md")
FOLDERS = ("models", "plugin", "resources")

# Rules of plugins.qgis.org.
MAX_BYTES = 25_000_000
ENDINGS_REFUSED = (
    ".pyc", ".exe", ".dll", ".so", ".dylib", ".bat", ".sh", ".ps1", ".cmd"
)  # fmt: skip
KEYS_REQUIRED = (
    "name", "description", "version", "qgisMinimumVersion", "author", "email", "about",
    "tracker", "repository", "homepage",
)  # fmt: skip


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--strict", action="store_true", help="fail on open questions")
    options = parser.parse_args()
    names = packaged(ROOT)
    questions = open_questions(ROOT)
    for question in questions:
        print(question, file=sys.stderr)
    if questions and options.strict:
        raise SystemExit("No ZIP was made, because these questions are open.")
    print(build(ROOT, names))


def packaged(root: Path) -> list[str]:
    """The files that go in, as paths below the checkout, sorted.

    Raises:
        SystemExit: The site refuses one of them.
    """
    names = sorted(filter(None, git(root, "ls-files", "-z", "--", *FILES, *FOLDERS).split("\0")))
    missing = sorted(set(FILES) - set(names))
    if missing:
        raise SystemExit(f"git does not track {', '.join(missing)}. Add what the plugin needs.")
    for name in names:
        hidden = any(part.startswith((".", "__pycache__")) for part in PurePosixPath(name).parts)
        if hidden or name.lower().endswith(ENDINGS_REFUSED):
            raise SystemExit(f"plugins.qgis.org refuses {name}. Keep it out of {FOLDERS}.")
    return names


def open_questions(root: Path) -> list[str]:
    """What the site will still ask for, one sentence each."""
    metadata = read_metadata(root)
    found = []
    missing = [key for key in KEYS_REQUIRED if not metadata.get(key)]
    if missing:
        found.append(f"plugins.qgis.org will ask for {', '.join(missing)}. Add to metadata.txt.")
    if metadata.get("email", "").endswith(".example"):
        found.append(f"No mail reaches {metadata['email']}. Change email in metadata.txt.")
    changed = git(root, "status", "--porcelain", "--", *FILES, *FOLDERS).splitlines()
    if changed:
        found.append(f"{len(changed)} files differ from the commit, {changed[0][3:]} the first.")
    return found


def build(root: Path, names: list[str]) -> Path:
    """Write ``build/dist/rasterfuse-<version>.zip`` below ``root`` and return its path.

    Raises:
        SystemExit: It is larger than the site takes.
    """
    path = root / "build" / "dist" / f"{NAME}-{read_metadata(root)['version']}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = time.gmtime(int(git(root, "log", "-1", "--format=%ct")))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"{NAME}/{name}", made[:6])
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix: no program
            content = (root / name).read_bytes()
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{path} has {size} bytes; plugins.qgis.org takes {MAX_BYTES}.")
    return path


def read_metadata(root: Path) -> configparser.SectionProxy:
    """What ``metadata.txt`` says of the plugin."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "metadata.txt", encoding="utf-8")
    return parser["general"]


def git(root: Path, *words: str) -> str:
    """What git answers about a checkout.

    Raises:
        SystemExit: It cannot.
    """
    # In a container the checkout often belongs to somebody else than who runs this.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"git cannot tell what belongs to {root}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
