"""A short run of the harness; `python tests/http/worst.py --help` runs it at length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_ten_worst_things_together_spoil_no_answer_and_take_no_more_memory_than_is_promised() -> None:
    harness = Path(__file__).with_name("worst.py")
    ended = subprocess.run(
        [sys.executable, str(harness), "--strangers", "300", "--seconds", "8"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads(ended.stdout)
    assert verdict["wrong"] == []
    assert verdict["among"]["requests"] > 0
    assert len(verdict["attacks"]) >= 8  # some take longer than this run
