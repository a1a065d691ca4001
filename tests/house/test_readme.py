"""README.md says what is so: its commands are marked, its example runs, its tables follow the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from ordermill.engine import EngineConfig
from ordermill.http.config import ServerConfig
from ordermill.store.lifecycle import EDGES


@pytest.fixture
def readme(root: Path) -> str:
    """The text of README.md."""
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["serve", "test"])
def test_the_readme_marks_the_command(readme: str, name: str) -> None:
    blocks = re.findall(rf"^<!-- command: {name} -->\n+```\w*\n(.+?)^```$", readme, re.MULTILINE | re.DOTALL)

    assert len(blocks) == 1
    assert blocks[0].strip()


def test_the_embedding_example_runs_as_it_stands(readme: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"^<!-- example: embed -->\n```python\n(.+?)^```$", readme, re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("charging u-1 19.99\nCompleted\n")
    assert done.stdout.endswith("\n1\n")


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
