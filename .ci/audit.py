#!/usr/bin/env python3
"""Asks pip-audit for known vulnerabilities of installed packages: `python .ci/audit.py SITE_PACKAGES`.

Exit code 1 where there is one. Where the advisories cannot be reached, as behind a mirror of the index, it says so and
exits with 0: pip-audit itself reports every package as fine then.
"""

from __future__ import annotations

import json
import subprocess
import sys

OURS = "ordermill"


def main(folder: str) -> int:
    """Audit the packages in a folder; returns the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json", "--path", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = [found for found in json.loads(done.stdout)["dependencies"] if found["name"] != OURS]
    except (json.JSONDecodeError, KeyError):
        print(f"audit: pip-audit could not ask: {done.stderr.strip().splitlines()[-1:]}")
        return 0
    known = [found for found in packages if "vulns" in found]
    if not known:
        print("audit: no advisory can be reached from here, nothing was audited")
        return 0
    for found in packages:
        for vulnerability in found.get("vulns", ()):
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"audit: {found['name']} {found['version']} has {vulnerability['id']}, fixed in {fixed}")
    print(f"audit: {len(known)} of {len(packages)} packages were audited")
    return int(any(found["vulns"] for found in known))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
