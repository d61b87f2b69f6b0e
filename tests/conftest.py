"""Register the checkout as the package ``rasterfuse``, whatever its folder is called."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the worker does
# What this user has installed must not answer for the checkout.
os.environ["RASTERFUSE_RUNTIME_DIR"] = str(ROOT / "build" / "tmp" / "no-runtime")
os.environ["RASTERFUSE_MODELS"] = str(ROOT / "build" / "tmp" / "no-models")

if "rasterfuse" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "rasterfuse", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["rasterfuse"] = module
    spec.loader.exec_module(module)
