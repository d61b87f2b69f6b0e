"""Write the page of all error codes from the catalogue: python tools/errors.py docs/errors.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def page(catalogue: ModuleType) -> str:
    """The page as Markdown; every code is a heading, so that links can lead to it."""
    lines = [
        "# Error codes",
        "",
        "Written by `python tools/errors.py docs/errors.md` from `models/catalogue.py`. *Help* in",
        "an error's notice shows the same text.",
        "",
        catalogue.ALWAYS,
    ]
    for part, codes in catalogue.parts().items():
        lines += ["", f"## {part}"]
        for code in codes:
            failure = catalogue.CATALOGUE[code]
            lines += ["", f"### {code}", "", failure.meaning, "", f"**Next:** {failure.advice}"]
    return "\n".join(lines) + "\n"


def load() -> ModuleType:
    """The catalogue, without the package around it."""
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "models" / "catalogue.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{ROOT} is no RasterFuse folder.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["catalogue"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(load()), encoding="utf-8")
