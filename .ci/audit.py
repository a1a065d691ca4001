#!/usr/bin/env python3
"""Asks pip-audit for known vulnerabilities of installed packages: `python .ci/audit.py SITE_PACKAGES [SECONDS]`.

Exit code 1 where there is one. Where the advisories cannot be reached, as behind a mirror of the index, or do not come
in time, the audit is skipped: it says so, and exits with 0, since nothing that was changed is to blame. pip-audit
itself reports every package as fine behind a mirror.
"""

from __future__ import annotations

import json
import subprocess
import sys

OURS = "ordermill"
SECONDS = 240.0


def main(folder: str, seconds: float = SECONDS) -> int:
    """Audit the packages in a folder; returns the exit code.

    Args:
        folder: where they are installed.
        seconds: how long pip-audit may take: it asks for each package by itself, and waits for each answer.
    """
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json", "--path", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        packages = [found for found in json.loads(done.stdout)["dependencies"] if found["name"] != OURS]
    except subprocess.TimeoutExpired:
        return skip(f"no answer within {seconds:g} s")
    except (json.JSONDecodeError, KeyError):
        return skip(f"pip-audit failed: {(done.stderr.strip().splitlines() or ['it did not say why'])[-1]}")
    known = [found for found in packages if "vulns" in found]
    if not known:
        return skip("no advisory can be reached from here")
    for found in known:
        for vulnerability in found["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"audit: {found['name']} {found['version']} has {vulnerability['id']}, fixed in {fixed}")
    print(f"audit: {len(known)} of {len(packages)} packages were audited")
    if unknown := [found["name"] for found in packages if found not in known]:
        print(f"audit: no advisory can be reached for {', '.join(unknown)}")
    return int(any(found["vulns"] for found in known))


def skip(why: str) -> int:
    """Say that nothing was audited; returns the exit code."""
    print(f"audit: SKIPPED, nothing was audited: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(float, sys.argv[2:])))
