"""Benchmarks run as programs, and write down what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
EXAMPLE = Path(__file__).with_name("example.py")
EMBEDDED = ("--only", "1", "--only", "embedded_single")

pytestmark = pytest.mark.slow


def run(folder: Path, file: Path, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run a file.

    Args:
        folder: where its data go, into `data`.
        file: the program.
        options: for it.

    Returns:
        Its exit code, the results that it wrote, and what it has printed.
    """
    target = folder / "out.json"
    command = [sys.executable, str(file), *options, "--json", str(target), "--folder", str(folder / "data")]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS), "COLUMNS": "200"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    results = json.loads(target.read_text())["results"] if target.exists() else []
    return ended.returncode, results, ended.stdout + ended.stderr


@pytest.mark.parametrize(("file", "only"), [("run.py", EMBEDDED), ("embedded.py", ())])
def test_the_embedded_benchmarks_write_every_figure(tmp_path: Path, file: str, only: tuple[str, ...]) -> None:
    code, results, printed = run(tmp_path, BENCHMARKS / file, *only, "--scale", "0.002", "--rounds", "2")

    assert code == 0, printed
    assert [result["name"] for result in results] == ["embedded_lots", "embedded_single"]
    for result in results:
        assert result["status"] == "measured"
        assert result["disk_commits_per_second"] > 0
        figures = result["ours"] + result["theirs"]
        assert [set(of_a_round) for of_a_round in figures] == [{"completed_per_second", "cpu_seconds_per_1000"}] * 4
        assert all(value > 0 for of_a_round in figures for value in of_a_round.values())
        (row,) = result["comparisons"]
        assert row["value"] == pytest.approx(row["ours"] / row["theirs"])
        assert row["is_met"] == (row["value"] >= row["bar"])
    assert list((tmp_path / "data").iterdir()) == []


def test_ours_and_theirs_are_measured_in_turn_each_in_a_fresh_folder(tmp_path: Path) -> None:
    code, (result,), printed = run(tmp_path, EXAMPLE, "--only", "works", "--rounds", "2")

    assert code == 0, printed
    assert (tmp_path / "data" / "notes.txt").read_text() == "ours 0\ntheirs 0\n" * 2
    assert result["comparisons"] == [
        {
            "row": "1",
            "figure": "per_second",
            "ours": 30.0,
            "theirs": 20.0,
            "rule": "at least",
            "value": 1.5,
            "bar": 1.5,
            "is_met": True,
        }
    ]


def test_a_failure_is_told_with_its_reason_and_ends_the_run_with_exit_code_1(tmp_path: Path) -> None:
    code, (works, fails, lacks), printed = run(tmp_path, EXAMPLE, "--quick")

    assert code == 1
    assert [result["status"] for result in (works, fails, lacks)] == ["measured", "failed", "not available"]
    assert fails["detail"] == "MeasurementFailed: wrk met errors"
    assert lacks["detail"] == "no such option"
    assert "wrk met errors" in printed
    assert "no such option" in printed


def test_an_unknown_row_is_refused_with_the_names_of_all(tmp_path: Path) -> None:
    code, results, printed = run(tmp_path, EXAMPLE, "--only", "99")

    assert (code, results) == (2, [])
    assert "fails, lacks, works" in printed
