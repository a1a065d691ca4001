"""Options and environment variables made from configuration types."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest
import typer
from msgspec import Meta
from typer.testing import CliRunner, Result

from ordermill.engine import InvalidConfiguration
from ordermill.http.cli.options import settings_of, with_options


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Shape(msgspec.Struct):
    max_corners: Annotated[int, Meta(ge=3, description="How many corners it may have.")] = 4
    size: Annotated[float, Meta(description="How large it is.")] = 1.5


class Paint(msgspec.Struct):
    colour: Annotated[Colour, Meta(description="What it looks like.")] = Colour.RED


class Undescribed(msgspec.Struct):
    width: int = 5


@pytest.fixture
def run() -> Callable[..., tuple[Result, dict[str, Any]]]:
    """Runs a command with the options of Shape and Paint and one of its own; gives the settings that it got."""
    app = typer.Typer()
    got: dict[str, Any] = {}

    @app.command()
    @with_options(Shape, Paint)
    def draw(name: str = "it", **settings: Any) -> None:
        got.update(settings, name=name)

    def invoke(*arguments: str, **environment: str) -> tuple[Result, dict[str, Any]]:
        got.clear()
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "250", **environment}), got

    return invoke


def test_without_options_the_defaults_hold(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    _, got = run()

    assert got == {"name": "it", "max_corners": 4, "size": 1.5, "colour": Colour.RED}


def test_each_field_is_an_option_of_its_type(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    _, got = run("--max-corners", "7", "--size", "2", "--colour", "blue", "--name", "box")

    assert got == {"name": "box", "max_corners": 7, "size": 2.0, "colour": Colour.BLUE}
    assert isinstance(got["size"], float)


def test_each_field_is_an_environment_variable(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    _, got = run(ORDERMILL_MAX_CORNERS="8", ORDERMILL_COLOUR="blue")

    assert (got["max_corners"], got["colour"]) == (8, Colour.BLUE)


def test_an_option_goes_before_an_environment_variable(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    _, got = run("--max-corners", "5", ORDERMILL_MAX_CORNERS="8")

    assert got["max_corners"] == 5


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("--max-corners", "many"), {}, "--max-corners must be a whole number from 3 up, not 'many'."),
        (("--max-corners", "2"), {}, "--max-corners must be a whole number from 3 up, not '2'."),
        (("--colour", "green"), {}, "--colour must be red or blue, not 'green'."),
        (("--size", "big"), {}, "--size must be a number, not 'big'."),
        ((), {"ORDERMILL_MAX_CORNERS": "2"}, "ORDERMILL_MAX_CORNERS must be a whole number from 3 up, not '2'."),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused_by_the_name_that_was_used(
    run: Callable[..., tuple[Result, dict[str, Any]]],
    arguments: tuple[str, ...],
    environment: dict[str, str],
    message: str,
) -> None:
    result, got = run(*arguments, **environment)

    assert isinstance(result.exception, InvalidConfiguration)
    assert (str(result.exception), got) == (message, {})


def test_an_option_that_there_is_not_is_refused(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    result, got = run("--depth", "1")

    assert (result.exit_code, got) == (2, {})


def test_the_help_describes_each_field(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    result, _ = run("--help")

    for text in ("--max-corners", "How many corners it may have.", "ORDERMILL_MAX_CORNERS", "--colour", "--name"):
        assert text in result.output


def test_a_field_without_a_description_is_a_mistake_of_ours() -> None:
    with pytest.raises((TypeError, ValueError)):
        with_options(Undescribed)(lambda **_: None)


def test_settings_are_told_apart_by_their_type() -> None:
    settings = {"max_corners": 3, "size": 2.0, "colour": Colour.BLUE, "name": "box"}

    assert settings_of(Shape, settings) == {"max_corners": 3, "size": 2.0}
    assert settings_of(Paint, settings) == {"colour": Colour.BLUE}
