#!/usr/bin/env python3
"""Fetches the scripts and styles of others that pages use, at the versions below, and checks what came.

The files are kept in the repository: nothing is fetched when Ordermill is built or runs. To take another version,
change the table, run this with npm on the path, and look at the pages.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Package(NamedTuple):
    """What is taken from one npm package."""

    name: str
    version: str
    sha512: str
    """Of the archive, as npm names it."""
    to: str
    """The folder for its files."""
    files: dict[str, str]
    """By their path in the archive, the name that each is kept under."""


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.11",
        "Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        "http/dashboard/static/vendored",
        {"dist/htmx.min.js": "htmx.js", "LICENSE": "htmx.LICENSE"},
    ),
    Package(
        "uplot",
        "1.6.32",
        "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        "http/dashboard/static/vendored",
        {"dist/uPlot.iife.min.js": "uplot.js", "dist/uPlot.min.css": "uplot.css", "LICENSE": "uplot.LICENSE"},
    ),
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        "http/openapi/static/vendored",
        {
            "swagger-ui-bundle.js": "swagger-ui.js",
            "swagger-ui.css": "swagger-ui.css",
            "LICENSE": "swagger-ui.LICENSE",
            "NOTICE": "swagger-ui.NOTICE",
            "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui.LICENSES-OF-PARTS",
        },
    ),
    Package(
        "axe-core",
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        "tests/http/dashboard/vendored",
        {"axe.min.js": "axe.js", "LICENSE": "axe.LICENSE"},
    ),
)


def fetch(package: Package, folder: Path) -> None:
    """Put the files of a package in their place.

    Args:
        package: what is wanted.
        folder: for the archive.

    Raises:
        SystemExit: the archive is not the one that is meant.
    """
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    archive = folder / name
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != package.sha512:
        raise SystemExit(f"{name} is not the archive whose hash is written here: nothing of it was taken.")
    destination = ROOT / package.to
    destination.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as content:
        for inside, kept in package.files.items():
            member = content.extractfile(f"package/{inside}")
            assert member is not None, f"{name} has no file {inside}"
            (destination / kept).write_bytes(member.read())


def main() -> None:
    """Fetch all of them."""
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            fetch(package, Path(folder))
        print(f"{package.name} {package.version}")


if __name__ == "__main__":
    main()
