"""The audit of CI tells known vulnerabilities from none, and none from a question that nobody answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FINE = {"name": "pykka", "version": "4.5.0", "vulns": []}
BAD = {"name": "aiohttp", "version": "3.0", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1"]}]}
UNKNOWN = {"name": "peewee", "skip_reason": "Dependency not found on PyPI and could not be audited"}
OURS = {"name": "ordermill", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def audited(root: Path, folder: Path, program: str, *limit: str) -> tuple[int, str]:
    """The exit code, and what is told, where this is pip-audit."""
    (folder / "pip_audit.py").write_text(program)
    done = subprocess.run(
        [sys.executable, root / ".ci" / "audit.py", folder, *limit],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([FINE, OURS], 0, ["1 of 1 packages were audited"]),
        (
            [FINE, BAD, UNKNOWN, OURS],
            1,
            [
                "aiohttp 3.0 has CVE-1, fixed in 3.1",
                "2 of 3 packages were audited",
                "no advisory can be reached for peewee",
            ],
        ),
        ([UNKNOWN, OURS], 0, ["SKIPPED, nothing was audited: no advisory can be reached from here"]),
    ],
)
def test_what_pip_audit_says_is_told(
    root: Path, tmp_path: Path, packages: list[Any], code: int, told: list[str]
) -> None:
    program = f"print({json.dumps({'dependencies': packages})!r})"

    assert audited(root, tmp_path, program) == (code, "".join(f"audit: {line}\n" for line in told))


@pytest.mark.parametrize(
    ("program", "limit", "why"),
    [
        ("import sys; sys.exit('no network')", [], "pip-audit failed: no network"),
        ("import sys; sys.exit(1)", [], "pip-audit failed: it did not say why"),
        ("import threading; threading.Event().wait()", ["0.5"], "no answer within 0.5 s"),
    ],
)
def test_where_nothing_is_answered_the_audit_is_said_to_be_skipped(
    root: Path, tmp_path: Path, program: str, limit: list[str], why: str
) -> None:
    told = f"audit: SKIPPED, nothing was audited: {why}\n"

    assert audited(root, tmp_path, program, *limit) == (0, told)
