"""What a server asks for before it listens where others reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import InvalidConfiguration
from ordermill.http.config import ServerConfig
from ordermill.http.security.api_keys import KeysUnusable, Role, create_key
from ordermill.http.security.protection import protect

OPEN = ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "no-such-host.invalid"]


@pytest.mark.parametrize("host", OPEN)
def test_an_address_that_others_reach_needs_keys(host: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"make keys with `ordermill keys create`.*or say --allow-anonymous"):
        protect(ServerConfig(host=host))

    create_key(tmp_path / "keys", [Role.READ])
    protect(ServerConfig(host=host, keys_file=str(tmp_path / "keys")))
    protect(ServerConfig(host=host, allow_anonymous=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_address_needs_none(host: str) -> None:
    protect(ServerConfig(host=host))


def test_keys_and_none_exclude_each_other(tmp_path: Path) -> None:
    create_key(tmp_path / "keys", [Role.READ])

    with pytest.raises(InvalidConfiguration, match="exclude each other"):
        protect(ServerConfig(keys_file=str(tmp_path / "keys"), allow_anonymous=True))


@pytest.mark.parametrize("settings", [{}, {"host": "0.0.0.0", "allow_anonymous": True}])
@pytest.mark.parametrize("origins", ["*", "https://shop.example, *"])
def test_all_origins_may_not_call_where_no_key_is_needed(
    settings: dict[str, Any], origins: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidConfiguration, match="lets any page that is open in a browser"):
        protect(ServerConfig(cors_origins=origins, **settings))

    create_key(tmp_path / "keys", [Role.READ])
    protect(ServerConfig(cors_origins=origins, keys_file=str(tmp_path / "keys")))


def test_a_burst_without_a_rate_is_a_mistake() -> None:
    with pytest.raises(InvalidConfiguration, match="--user-burst limits nothing"):
        protect(ServerConfig(user_burst=5))


def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="There is no file"):
        protect(ServerConfig(keys_file=str(tmp_path / "keys")))
