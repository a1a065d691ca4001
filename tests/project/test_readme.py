"""README.md says what is so: its commands are marked, its example runs, its tables follow the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from ordermill.engine import Effect, EngineConfig, OrderEngine, OrderStatus
from ordermill.engine.testing import make_order
from ordermill.http.config import ServerConfig
from ordermill.store.domain.lifecycle import EDGES


@pytest.fixture
def readme(root: Path) -> str:
    """The text of README.md."""
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["serve", "test"])
def test_the_readme_marks_the_command(readme: str, name: str) -> None:
    blocks = re.findall(rf"^<!-- command: {name} -->\n+```\w*\n(.+?)^```$", readme, re.MULTILINE | re.DOTALL)

    assert len(blocks) == 1
    assert blocks[0].strip()


EXAMPLES = ("embed", "follow", "handler")


@pytest.fixture
def example(readme: str, tmp_path: Path) -> Callable[[str], str]:
    """Writes an example into a module of its name, in an empty folder; gives the code."""

    def write(name: str) -> str:
        (code,) = re.findall(rf"^<!-- example: {name} -->\n```python\n(.+?)^```$", readme, re.MULTILINE | re.DOTALL)
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        return str(code)

    return write


def python(folder: Path, *arguments: str) -> str:
    """What a Python program prints that ends well."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_in_python_is_one_that_is_tried(readme: str) -> None:
    marked = re.findall(r"^<!-- example: (\w+) -->\n```python$", readme, re.MULTILINE)

    assert tuple(marked) == ("wsgi", *EXAMPLES)
    assert readme.count("```python") == len(marked)


def test_the_embedding_example_runs_as_it_stands(example: Callable[[str], str], tmp_path: Path) -> None:
    example("embed")

    printed = python(tmp_path, "embed.py")

    assert printed.startswith("charging u-1 19.99\nCompleted\n")
    assert printed.endswith("\n1\n")


def test_the_following_example_prints_what_is_completed(
    example: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(example("follow"), names)

    with OrderEngine(tmp_path / "orders.db", handler=lambda _: None) as engine:
        engine.submit(make_order("o-1")).wait(timeout=60)
        assert names["follow"](engine, 0) == 3
        assert names["follow"](engine, 3) == 3

    assert capsys.readouterr().out.startswith("o-1 of u-1 is Completed since 20")


def test_the_example_for_another_wsgi_server_is_an_application(example: Callable[[str], str], tmp_path: Path) -> None:
    example("wsgi")
    program = """
from wsgiref.util import setup_testing_defaults
from wsgi import application
environ = {"PATH_INFO": "/readyz"}
setup_testing_defaults(environ)
print(application(environ, lambda status, _: print(status))[0].decode())
"""

    assert python(tmp_path, "-c", program).startswith('200 OK\n{"status":"ok"')


@pytest.mark.parametrize("name", EXAMPLES)
def test_importing_an_example_starts_nothing(example: Callable[[str], str], tmp_path: Path, name: str) -> None:
    example(name)

    assert python(tmp_path, "-B", "-c", f"import {name}") == ""
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.py"]


def test_the_handler_of_the_example_handles_once_and_its_probe_knows(
    example: Callable[[str], str], tmp_path: Path
) -> None:
    names: dict[str, Any] = {}
    exec(example("handler"), names)  # what a user copies

    with OrderEngine(tmp_path / "orders.db", handler=names["charge"], probe=names["has_been_charged"]) as engine:
        good, bad = engine.submit_many([make_order("o-1"), make_order("o-2", total_amount=Decimal(5000))])
        assert (good.wait(timeout=60), bad.wait(timeout=60)) == (OrderStatus.COMPLETED, OrderStatus.FAILED)
        names["charge"](engine.order("o-1").order)
        assert len(names["paid"]) == 1
        assert names["has_been_charged"](make_order("o-1")) is Effect.DONE
        assert names["has_been_charged"](make_order("o-2")) is Effect.NOT_DONE


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_the_strictest_type_checks(example: Callable[[str], str], tmp_path: Path, name: str) -> None:
    example(name)

    assert python(tmp_path, "-m", "mypy", "--strict", f"{name}.py").startswith("Success: ")


@pytest.mark.parametrize("config", [ServerConfig, EngineConfig])
def test_the_configuration_tables_list_every_setting_with_its_default(
    readme: str, config: type[msgspec.Struct]
) -> None:
    hints = get_type_hints(config, include_extras=True)
    for field in msgspec.structs.fields(config):
        description = get_args(hints[field.name])[1].description

        assert f"| `{field.name}` | `{field.default}` | {description} |" in readme


def test_the_status_table_lists_every_edge(readme: str) -> None:
    table = readme.partition("### Statuses")[2].partition("### ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    listed = {
        (source, target)
        for sources, targets, *_ in rows[2:]
        for source in sources.split(", ")
        for target in targets.split(", ")
    }

    assert listed == {(edge.source or "", edge.target) for edge in EDGES}


def test_every_dependency_is_named_with_its_reason_and_bounded(readme: str, root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [needed for name, needed in project["optional-dependencies"].items() if name not in ("test", "dev")]
    wanted = {
        re.split(r"[^\w.-]", requirement)[0].lower(): requirement
        for requirement in (*project["dependencies"], *chain.from_iterable(extras))
    }
    section = readme.partition("### Dependencies, and why\n")[2].partition("\n#")[0]
    named = {
        name.strip().lower()
        for row in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
        for name in re.sub(r"\([^)]*\)|≥ [0-9.]+", "", row).split(",")
    } - {"package", "---"}

    assert named == set(wanted)
    assert [requirement for requirement in wanted.values() if ",<" not in requirement] == []
