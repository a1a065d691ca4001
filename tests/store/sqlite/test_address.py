"""What an address names: one file, whatever happens to the working directory, or nothing at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ordermill.store.domain.errors import DatabaseRefused, InvalidConfiguration
from ordermill.store.sqlite.address import check_place, locate


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("orders.db", "{here}/orders.db"),
        ("./some/../orders.db", "{here}/orders.db"),
        ("some/where/orders.db", "{here}/some/where/orders.db"),
        ("/var/orders.db", "/var/orders.db"),
        (Path("orders.db"), "{here}/orders.db"),
        ("orders#1 50%?.db", "{here}/orders#1 50%?.db"),
        ("sqlite:///orders.db", "{here}/orders.db"),
        ("sqlite:///some/orders.db", "{here}/some/orders.db"),
        ("sqlite:////var/orders.db", "/var/orders.db"),
        ("sqlite:///my%20orders%231.db", "{here}/my orders#1.db"),
        ("sqlite:///pr%C3%A9cis.db", "{here}/précis.db"),
    ],
)
def test_an_address_is_a_path_or_an_sqlite_url(
    address: str | Path, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert str(locate(address)) == path.format(here=tmp_path)


def test_an_address_by_a_symbolic_link_is_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link.db").symlink_to("data/orders.db")
    (tmp_path / "folder").symlink_to("data")

    assert locate(tmp_path / "link.db") == locate(tmp_path / "folder" / "orders.db") == tmp_path / "data" / "orders.db"


@pytest.mark.parametrize("address", ["", ":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_an_address_that_names_no_file_is_refused(address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="needs a database file"):
        locate(address)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "mysql", "file", "SQLITE"])
def test_other_kinds_of_database_are_refused_by_name(scheme: str) -> None:
    with pytest.raises(InvalidConfiguration, match=scheme):
        locate(f"{scheme}://localhost/orders")


@pytest.mark.parametrize("address", ["sqlite://orders.db", "sqlite://data/orders.db"])
def test_a_host_in_an_sqlite_url_is_refused_rather_than_ignored(address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="three slashes"):
        locate(address)


@pytest.mark.parametrize("address", ["sqlite:///orders#1.db", "sqlite:///orders.db?mode=ro", "sqlite:////a/b#"])
def test_a_url_with_options_or_a_fragment_is_refused_rather_than_cut(address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="write %3F or %23"):
        locate(address)


@pytest.mark.parametrize("address", ["sqlite:orders.db", "sqlite:/orders.db", "file:orders.db?mode=ro"])
def test_half_a_url_is_refused_rather_than_taken_for_a_name(address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="half a URL"):
        locate(address)


@pytest.mark.parametrize("address", ["or\0ders.db", "sqlite:///or%00ders.db", "or\udcffders.db", "sqlite:///or%ffders"])
def test_a_name_that_nobody_can_write_is_refused(address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be the name"):
        locate(address)


def test_a_place_is_free_or_taken_by_a_file(tmp_path: Path) -> None:
    assert not check_place(tmp_path / "orders.db")
    (tmp_path / "orders.db").touch()
    assert check_place(tmp_path / "orders.db")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused, match=f"no folder {tmp_path}/missing: make it"):
        check_place(tmp_path / "missing" / "orders.db")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for place in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(DatabaseRefused, match="not a regular file"):
            check_place(place)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DatabaseRefused, match="Not a directory"):
        check_place(tmp_path / "file" / "orders.db")
