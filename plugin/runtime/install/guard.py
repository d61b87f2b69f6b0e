"""Run a Python module, and end it when whoever started this is gone.

    python guard.py MODULE ARGUMENTS …

QGIS may be killed while pip works; the pipe to standard input closes then, and with it all this.
Run by the interpreter to install with, so it imports nothing of RasterFuse.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _leave_with_starter() -> None:
    while os.read(0, 1024):
        continue
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # with what this has started itself
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_leave_with_starter, daemon=True).start()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
