"""The wheel holds the package, the whole package and nothing but the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PACKAGES = ("engine", "http", "store", "sql")
MADE = {"ordermill/__init__.py", "ordermill/py.typed"}
"""What the build adds to the files of the packages."""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, in a folder whose name is no Python identifier."""
    home = tmp_path_factory.mktemp("wheel")
    checkout = home / "order-mill-checkout"
    leftovers = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.db*")
    shutil.copytree(root, checkout, ignore=leftovers)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(home / "dist"),
        str(checkout),
    ]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (home / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content as files, to be put on the path."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_runs_on_any_platform(wheel: Path) -> None:
    assert wheel.name.startswith("ordermill-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_holds_nothing_but_the_four_packages_and_its_own_description(names: set[str]) -> None:
    folders = {"/".join(name.split("/")[:2]) for name in names if ".dist-info/" not in name}

    assert folders == {f"ordermill/{package}" for package in PACKAGES} | MADE


def test_the_wheel_holds_every_file_of_the_packages(root: Path, names: set[str]) -> None:
    expected = {
        f"ordermill/{path.relative_to(root).as_posix()}"
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in names if ".dist-info/" not in name} == expected | MADE


def test_each_package_tells_type_checkers_that_it_is_typed(names: set[str]) -> None:
    assert {f"ordermill/{package}/py.typed" for package in PACKAGES} <= names


def test_the_package_tells_its_version(unpacked: Path, wheel: Path) -> None:
    version = _python(unpacked, "import ordermill; print(ordermill.__version__, end='')")

    assert wheel.name.split("-")[1] == version == metadata.version("ordermill")


def test_the_wheel_brings_the_schema(unpacked: Path, root: Path) -> None:
    schema = _python(unpacked, "from ordermill import sql; print(sql.read('schema.sql'), end='')")

    assert schema == (root / "sql" / "schema.sql").read_text(encoding="utf-8")


def test_the_wheel_installs_one_command(unpacked: Path) -> None:
    (entry_points,) = unpacked.glob("*.dist-info/entry_points.txt")

    assert entry_points.read_text(encoding="utf-8").split() == [
        *("[console_scripts]", "ordermill", "=", "ordermill.http.cli.main:main"),
    ]


def test_the_command_is_found_in_the_unpacked_wheel(unpacked: Path) -> None:
    file = _python(
        unpacked, "from ordermill.http.cli import main as cli; assert callable(cli.main); print(cli.__file__, end='')"
    )

    assert Path(file) == unpacked / "ordermill" / "http" / "cli" / "main.py"


def _python(unpacked: Path, program: str) -> str:
    """What a program prints that finds `ordermill` in the unpacked wheel first, whatever is installed beside it."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=unpacked.parent,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
