"""A process whose output is gone goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from ordermill.engine.output import outlive_output

outlive_output()
for _ in range(3):
    print("x" * 100_000)
    print("y" * 100_000, file=sys.stderr, flush=True)
file = os.open(os.devnull, os.O_RDONLY)
sys.exit(0 if file > 2 else 1)
"""


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", "<&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true", "2>&1 >/dev/full | true"],
)
def test_what_nobody_takes_is_lost_and_holds_up_nothing(redirection: str) -> None:
    command = f'set -o pipefail; "$0" -c "$1" {redirection}'

    done = subprocess.run(
        ["bash", "-c", command, sys.executable, PROGRAM], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    assert done.returncode == 0


def test_what_is_taken_is_written_line_by_line() -> None:
    program = "import sys\nfrom ordermill.engine.output import outlive_output\noutlive_output()\nprint('œ')\ninput()"
    with subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "œ\n"
        process.communicate("\n", timeout=30)
    assert process.returncode == 0
