"""A small run of the harness; `python tests/http/hostile.py --help` runs it at length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_normal_clients_are_answered_while_hostile_ones_are_there() -> None:
    harness = Path(__file__).with_name("hostile.py")
    # More hostile clients of each kind than the server has threads.
    options = ["--hostile", "120", "--clients", "4", "--seconds", "2", "--option=--threads=8", "--json"]
    ended = subprocess.run(
        [sys.executable, str(harness), *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads(ended.stdout)
    assert verdict["wrong"] == []
    assert verdict["among"]["requests"] > 0
