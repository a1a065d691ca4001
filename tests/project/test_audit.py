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


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([FINE, OURS], 0, "1 of 1 packages were audited"),
        ([FINE, BAD, UNKNOWN, OURS], 1, "aiohttp 3.0 has CVE-1, fixed in 3.1\naudit: 2 of 3 packages were audited"),
        ([UNKNOWN, OURS], 0, "no advisory can be reached from here, nothing was audited"),
        (None, 0, "pip-audit could not ask: ['no network']"),
    ],
)
def test_what_pip_audit_says_is_told(
    root: Path, tmp_path: Path, packages: list[Any] | None, code: int, told: str
) -> None:
    said = "sys.exit('no network')" if packages is None else f"print({json.dumps({'dependencies': packages})!r})"
    (tmp_path / "pip_audit.py").write_text(f"import sys\n{said}\n")

    done = subprocess.run(
        [sys.executable, root / ".ci" / "audit.py", tmp_path],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (code, f"audit: {told}\n")
