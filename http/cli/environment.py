"""The environment variables that set options: a slip in a name must not pass for a setting."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

import typer

from ...engine import InvalidConfiguration
from ...engine.config import convert

_PREFIX = "ORDERMILL_"

# What Kubernetes, and Docker's links, set for each service whose name begins with ours.
_SERVICE = re.compile(
    rf"{_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")
# What scripts around us read, and our own tests.
_OTHERS = re.compile(rf"{_PREFIX}(PY|TEST_\w+)")


def check_variables(context: typer.Context) -> None:
    """Refuse variables with our prefix that set no option of any command; forget the addresses of services.

    Args:
        context: of the command that all others belong to.

    Raises:
        InvalidConfiguration: one is set, and the message has the nearest name that there is; or one that stands for a
            flag is neither true nor false.
    """
    flags = dict(_variables(context.command))
    for name in sorted(name for name in os.environ if name.startswith(_PREFIX)):
        if _SERVICE.fullmatch(name) or _OTHERS.fullmatch(name):
            continue
        if _SERVICE_ADDRESS.fullmatch(os.environ[name]) and name.endswith("PORT"):
            del os.environ[name]  # set for a service: it is not a port to listen on
        elif name not in flags:
            raise InvalidConfiguration(f"{name} sets nothing{_nearest(name, flags)}")
        elif flags[name]:
            convert(name, os.environ[name].lower(), bool, is_text=True)


def _nearest(name: str, known: Collection[str]) -> str:
    plain = [variable.removeprefix(_PREFIX) for variable in known]  # all begin alike, which makes none of them near
    near = get_close_matches(name.removeprefix(_PREFIX).upper(), plain, n=1, cutoff=0)
    return f": do you mean {_PREFIX}{near[0]}? `ordermill serve --help` lists all there are."


def _variables(command: object) -> Iterator[tuple[str, bool]]:
    # With each, whether it stands for a flag.
    for parameter in getattr(command, "params", ()):
        if isinstance(parameter.envvar, str):
            yield parameter.envvar, getattr(parameter, "is_flag", False)
    for inner in getattr(command, "commands", {}).values():
        yield from _variables(inner)
