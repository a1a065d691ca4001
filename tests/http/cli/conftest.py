"""What the tests of the command line share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ordermill.http.cli.main import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """What a refused command says: one line, and nothing about the inside."""
        assert self.code == 1
        assert self.out == ""
        assert self.err.startswith("ordermill: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("ordermill: ").rstrip("\n")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `ordermill …` in an empty working directory."""
    for name in [name for name in os.environ if name.startswith("ORDERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ordermill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    return invoke


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Set back the level that a command sets for all of this process."""
    ours = logging.getLogger("ordermill")
    before = ours.level
    yield
    ours.setLevel(before)
