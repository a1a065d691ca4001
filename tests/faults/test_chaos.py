"""A few rounds of the chaos harness; run `python tests/faults/chaos.py --help` for more of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_five_rounds_of_kills_lose_double_and_strand_nothing() -> None:
    chaos = Path(__file__).with_name("chaos.py")
    options = ["--rounds", "5", "--seed", "7", "--kill-during-recovery", "--json"]
    ended = subprocess.run(
        [sys.executable, str(chaos), *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads(ended.stdout)
    assert verdict["rounds"] == 5
    assert verdict["acknowledged"] > 0
    assert (verdict["lost"], verdict["duplicated"], verdict["stuck"], verdict["faults"]) == (0, 0, 0, [])
