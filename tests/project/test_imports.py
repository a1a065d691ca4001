"""Imports run one way, http -> engine -> store -> sql, and are relative inside the package."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = ("http", "engine", "store", "sql")
"""The packages from the top to the floor: each may import from itself and from those after it."""


def offences(root: Path) -> list[str]:
    """Every import below `root` that breaks a rule, as `file:line: what is wrong`."""
    return [
        f"{path.relative_to(root).as_posix()}:{line}: {fault}"
        for layer in LAYERS
        for path in sorted((root / layer).rglob("*.py"))
        for line, fault in _faults(path.relative_to(root), ast.parse(path.read_text(encoding="utf-8")))
    ]


def _faults(path: Path, module: ast.Module) -> Iterator[tuple[int, str]]:
    layer = path.parts[0]
    allowed = LAYERS[LAYERS.index(layer) :]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(*(node.module or "").split("."), alias.name) for alias in node.names]
            targets = [tuple(filter(None, name)) for name in names]
        else:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            package = ("ordermill", *path.parent.parts)
            base = package[: max(0, len(package) - node.level + 1)]
            for target in targets:
                if not base:
                    yield node.lineno, "leaves the package"
                elif (full := (*base, *target))[1] not in allowed:
                    yield node.lineno, f"{layer} must not import from {full[1]}"
        else:
            for target in targets:
                # `http` by itself is the standard library's.
                if target[0] == "ordermill" or (target[0] in LAYERS and target[0] != "http"):
                    yield node.lineno, f"{'.'.join(target)} is not imported relatively"


def _tree(root: Path, **sources: str) -> Path:
    """A source tree in which each layer has one module with the given source."""
    for layer in LAYERS:
        (root / layer).mkdir()
        (root / layer / "module.py").write_text(sources.get(layer, ""), encoding="utf-8")
    return root


def test_imports_run_one_way_from_http_down_to_sql(root: Path) -> None:
    assert offences(root) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_has_modules_to_look_at(root: Path, layer: str) -> None:
    assert list((root / layer).rglob("*.py"))


@pytest.mark.parametrize(
    ("layer", "source", "fault"),
    [
        ("store", "from ..engine.runtime import OrderEngine", "store must not import from engine"),
        ("store", "from .. import sql, http", "store must not import from http"),
        ("sql", "def late():\n    from ..store import order", "sql must not import from store"),
        ("engine", "if TYPE_CHECKING:\n    from ..http.app import App", "engine must not import from http"),
        ("engine", "from ..tests import doubles", "engine must not import from tests"),
        ("engine", "from ... import store", "leaves the package"),
        ("engine", "from .... import store", "leaves the package"),
        ("http", "from ordermill.engine import Order", "ordermill.engine.Order is not imported relatively"),
        ("http", "import json, ordermill.store", "ordermill.store is not imported relatively"),
        ("engine", "from store.order import Order", "store.order.Order is not imported relatively"),
    ],
)
def test_an_import_that_breaks_a_rule_is_caught(tmp_path: Path, layer: str, source: str, fault: str) -> None:
    line = source.count("\n") + 1

    assert offences(_tree(tmp_path, **{layer: source})) == [f"{layer}/module.py:{line}: {fault}"]


def test_an_import_that_breaks_a_rule_is_caught_in_a_nested_folder(tmp_path: Path) -> None:
    nested = _tree(tmp_path) / "store" / "deeper" / "module.py"
    nested.parent.mkdir()
    nested.write_text("from ... import sql\nfrom ...engine import clock\n", encoding="utf-8")

    assert offences(tmp_path) == ["store/deeper/module.py:2: store must not import from engine"]


def test_imports_that_keep_the_rules_pass(tmp_path: Path) -> None:
    tree = _tree(
        tmp_path,
        http="import http.client\nfrom http import HTTPStatus\nfrom ..engine import Order\nfrom ..store import errors",
        engine="from . import clock\nfrom .clock import Clock\nfrom ..store.order import Order",
        store="import sqlite3\nfrom .. import sql\nfrom . import errors",
        sql="from importlib.resources import files",
    )

    assert offences(tree) == []


def test_the_root_of_the_tree_does_not_hide_the_http_of_the_standard_library(root: Path) -> None:
    # -E, so that PYTHONSAFEPATH cannot take the current folder off the path, which is what is tried here.
    command = [sys.executable, "-E", "-c", "import http.client, sys; print(sys.path[0] == '', http.__file__)"]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=30)

    first_is_root, file = done.stdout.split(maxsplit=1)
    assert first_is_root == "True"
    assert Path(file.strip()).parent.samefile(Path(sysconfig.get_path("stdlib")) / "http")


def test_every_package_but_http_has_an_init_file(root: Path) -> None:
    assert {layer for layer in LAYERS if (root / layer / "__init__.py").exists()} == {"engine", "store", "sql"}
