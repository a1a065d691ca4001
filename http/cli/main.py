"""The command line, `ordermill …` or `python -m ordermill.http …`: where engine and server are put together."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ...engine import EngineConfig, InvalidConfiguration, Order, OrderEngine, OrdermillError
from ...engine.output import outlive_output
from ...store.domain.weight import parse_weights, weights_text
from ..config import ServerConfig
from ..security.api_keys import read_keys, weights_of
from ..security.protection import sends_keys_in_the_clear
from ..serve import serve
from . import database, keys, logs, measure, orders, steering, top, webhooks
from .console import DEFAULT_DATABASE, DatabaseOption, print_line, show_any_text, stop
from .environment import check_variables
from .logs import LogFormat, LogLevel
from .options import option, settings_of, with_options

_log = logging.getLogger("ordermill.http")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print_line(f"ordermill {version('ordermill')}")
        raise typer.Exit


@app.callback()
def before_every_command(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Ordermill takes orders over REST, keeps them safe and processes them in the background."""
    check_variables(context)


@app.command("serve")
@with_options(ServerConfig, EngineConfig)
def serve_command(
    db: DatabaseOption = DEFAULT_DATABASE,
    handler: Annotated[
        str | None,
        typer.Option(
            envvar="ORDERMILL_HANDLER",
            help="Called with each order: module:function, imported from the working directory. "
            "Without one, work is simulated.",
        ),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            envvar="ORDERMILL_PROBE",
            help="Asked about orders whose handler was cut short: module:function, imported likewise.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel,
        option(
            "--log-level",
            LogLevel,
            "Lines to log: warning for orders that have failed for good, info for failed attempts and requests too, "
            "debug for each transition and what handlers raise.",
            variable="ORDERMILL_LOG_LEVEL",
        ),
    ] = LogLevel.WARNING,
    log_format: Annotated[
        LogFormat,
        option("--log-format", LogFormat, "text, or json with an object a line.", variable="ORDERMILL_LOG_FORMAT"),
    ] = LogFormat.TEXT,
    **settings: Any,
) -> None:
    """Serve the REST API until SIGTERM or SIGINT."""
    set_up = partial(_set_up_process, log_level, log_format)
    set_up()
    config = ServerConfig.of(settings_of(ServerConfig, settings))
    settings["weights"] = weights_with_keys(settings["weights"], config.keys_file)
    engine = OrderEngine(
        db,
        handler=None if handler is None else load_function(handler, "handler"),
        probe=None if probe is None else load_function(probe, "probe"),
        **settings_of(EngineConfig, settings),
    )
    if sends_keys_in_the_clear(config):
        _log.warning(
            "keys come to %s over plain HTTP: whoever is on the way can read and use them. Give --tls-cert and "
            "--tls-key, unless a proxy on this machine or in a network of its own speaks TLS",
            config.host or "all addresses",
        )

    def announce(url: str) -> None:
        recovered = sum(engine.recovered)
        line = f"Ordermill serves {url} with database {engine.database_name}, {recovered} orders recovered."
        if handler is None:
            line += " Work is simulated: give a --handler."
        print_line(line)

    serve(engine, config, announce, set_up)


def _set_up_process(log_level: LogLevel, log_format: LogFormat) -> None:
    outlive_output()
    logs.configure(log_level, log_format)


app.add_typer(orders.app)
app.add_typer(steering.app)
app.add_typer(measure.app)
app.add_typer(top.app)
app.add_typer(database.app)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")


def weights_with_keys(weights: str | None, keys_file: str | None) -> str | None:
    """The setting `weights`, and what keys say of users that it says nothing of.

    Args:
        weights: the setting.
        keys_file: the file of the keys; None where none is needed.

    Raises:
        InvalidConfiguration: the setting is not valid.
        KeysUnusable: the file cannot be read, or a line of it is not a key.
    """
    if keys_file is None:
        return weights
    return weights_text({**weights_of(read_keys(Path(keys_file)).values()), **parse_weights(weights or "")})


def load_function(name: str, role: str) -> Callable[[Order], Any]:
    """Import a function of the user's, from the working directory too.

    Args:
        name: `module:function`.
        role: what it is for, in one word.

    Raises:
        InvalidConfiguration: there is no such module or function, or the module is not Python.
    """
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise InvalidConfiguration(f"A {role} is named module:function; {name!r} is not.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError, TypeError) as error:  # TypeError: a relative name
        raise InvalidConfiguration(f"Cannot import the {role}'s module {module_name!r}: {error}.") from error
    function: Callable[[Order], Any] | None = getattr(module, attribute, None)
    if not callable(function):
        raise InvalidConfiguration(f"The module {module_name!r} has no function {attribute!r}.")
    return function


def main() -> NoReturn:
    """Run the command line; an error of ours is a line on standard error and exit code 1."""
    show_any_text()
    try:
        app()
    except OrdermillError as error:
        stop(str(error))
    sys.exit(0)
