"""Freed memory is reused within a job and given back after it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rasterfuse.plugin.engine import heap

_SCRIPT = """
import numpy as np, resource, runpy, sys
heap = runpy.run_path(sys.argv[1])

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def use():
    return [np.ones(2_000_000) for _ in range(6)]  # 96 MB in blocks of 16 MB

heap["keep_freed_memory"]()
use()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
again = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
held = resident()
heap["give_back_memory"]()
print(again, held - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has this setting")
def test_freed_memory_is_used_again_and_given_back_at_the_end():
    command = [sys.executable, "-c", _SCRIPT, heap.__file__]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    faults, returned = (int(word) for word in ended.stdout.split())
    assert faults < 1000, "96 MB of fresh pages would be 24 000 faults"
    assert returned > 80e6
