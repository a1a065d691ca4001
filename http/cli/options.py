"""Command-line options and environment variables: how they are read, and made from configuration types."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
import typer

from ...engine.config import convert, rule_of


def option(name: str, kind: Any, description: str, *, variable: str | None = None) -> Any:
    """An option whose value is checked by a type with limits, and whose errors name it.

    Args:
        name: as it is typed: `--max-backlog`.
        kind: the type, as `msgspec` reads it.
        description: for its help.
        variable: the environment variable that sets it too.
    """
    return typer.Option(
        name,
        envvar=variable,
        help=description,
        parser=partial(_read, name, variable, kind),
        metavar=f"<{rule_of(kind).removeprefix('a ').removeprefix('whole ').removeprefix('number ')}>",
    )


def argument(name: str, kind: Any, description: str) -> Any:
    """An argument whose value is checked likewise."""
    return typer.Argument(metavar=name, help=description, parser=partial(_read, name, None, kind))


def with_options(*configs: type[msgspec.Struct]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of these types, besides the parameters of its own.

    The option of `max_backlog` is `--max-backlog`, and its environment variable `ORDERMILL_MAX_BACKLOG`.

    Args:
        configs: types whose fields are annotated with `msgspec.Meta(description=…)` and have defaults.

    Returns:
        A decorator for a function whose last parameter is `**settings: Any`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
        for config in configs:
            parameters += [_parameter(config, field) for field in msgspec.structs.fields(config)]
        # Typer reads the signature and the annotations of the function that it calls.
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # any function may have one
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def settings_of(config: type[msgspec.Struct], settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that are fields of this type."""
    return {name: settings[name] for name in config.__struct_fields__}


def _parameter(config: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> inspect.Parameter:
    kind = get_type_hints(config)[field.name]
    limited = get_type_hints(config, include_extras=True)[field.name]
    (description,) = (extra.description or "" for extra in get_args(limited) if isinstance(extra, msgspec.Meta))
    name, variable = f"--{field.name.replace('_', '-')}", f"ORDERMILL_{field.name.upper()}"
    if kind is bool:  # a flag, which takes no value
        given = typer.Option(name, envvar=variable, help=description)
    else:
        given = option(name, limited, description, variable=variable)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, given]
    )


def _read(name: str, variable: str | None, kind: Any, value: Any) -> Any:
    if not isinstance(value, str):  # a default
        return value
    is_typed = any(argument.partition("=")[0] == name for argument in sys.argv)
    is_set = variable is not None and os.environ.get(variable) == value and not is_typed
    return convert(variable if is_set and variable else name, value, kind, is_text=True)
