"""How many connections the system allows, and what becomes of the memory that they took."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ordermill.http.transport import tuning


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """A limit of open files for this process, which is what it was in the end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
    yield 600
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_some_files_are_left_for_all_that_is_no_connection(soft_limit: int) -> None:
    assert tuning.connections_allowed() == soft_limit - 256


def test_as_many_connections_are_allowed_as_were_asked_for(soft_limit: int) -> None:
    tuning.allow_connections(2 * soft_limit)

    assert tuning.connections_allowed() == 2 * soft_limit


HOLD_AND_FREE = """
import re
from pathlib import Path
from ordermill.http.transport.tuning import tune_process

def mebibytes():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

tune_process(100)
del (first := [bytearray(1024 * 1024)])[:]
before = mebibytes()
held, small = [], []
for _ in range(500):
    held.append(bytearray(200 * 1024))
    small.append(bytearray(1024))
worst = mebibytes()
held.clear()
print(worst - before, mebibytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such heap")
def test_what_was_held_in_large_blocks_goes_back_to_the_system() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HOLD_AND_FREE], capture_output=True, text=True, timeout=60, check=True
    )

    worst, left = map(int, ended.stdout.split())
    assert worst > 90
    assert left < 10
