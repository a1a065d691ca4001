"""Command-line options and environment variables made from configuration types, so that no setting is named twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
import typer


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
    extras = get_args(get_type_hints(config, include_extras=True)[field.name])
    (description,) = (extra.description for extra in extras if isinstance(extra, msgspec.Meta))
    option = typer.Option(
        f"--{field.name.replace('_', '-')}", envvar=f"ORDERMILL_{field.name.upper()}", help=description
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, option]
    )
