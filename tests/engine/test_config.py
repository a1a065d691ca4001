"""The settings: their defaults, their limits, and words for what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ordermill.engine import Durability, EngineConfig, InvalidConfiguration, OnInterrupted


def test_without_settings_there_are_the_defaults_of_the_contract() -> None:
    config = EngineConfig.of({})

    assert (config.processors, config.max_backlog, config.max_attempts) == (8, 100_000, 20)
    assert (config.simulate_seconds, config.handler_timeout) == (0.05, None)
    assert (config.durability, config.on_interrupted) == (Durability.FULL, OnInterrupted.RETRY)
    assert config == EngineConfig()


@pytest.mark.parametrize(
    "settings",
    [
        {"processors": 1, "max_backlog": 1, "max_attempts": 1, "window": 1, "max_abandoned": 0},
        {"processors": 1000, "max_attempts": 1000},
        {"retry_seconds": 0, "retry_max_seconds": 0, "stop_seconds": 0, "simulate_seconds": 0},
        {"handler_timeout": 0.5},
        {"handler_timeout": None},
        {"durability": "normal", "on_interrupted": "review"},
        {"durability": Durability.NORMAL, "on_interrupted": OnInterrupted.REVIEW},
    ],
    ids=str,
)
def test_settings_within_their_limits_are_taken(settings: dict[str, Any]) -> None:
    config = EngineConfig.of(settings)

    assert {name: getattr(config, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processors", 0),
        ("processors", 1001),
        ("processors", 2.5),
        ("processors", "8"),
        ("processors", True),
        ("processors", None),
        ("max_backlog", 0),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("retry_seconds", -0.1),
        ("retry_seconds", "1"),
        ("retry_max_seconds", -1),
        ("handler_timeout", 0),
        ("handler_timeout", -1),
        ("max_abandoned", -1),
        ("on_interrupted", "ignore"),
        ("durability", "off"),
        ("window", 0),
        ("stop_seconds", -1),
        ("stop_seconds", None),
        ("simulate_seconds", -1),
    ],
)
def test_a_setting_outside_its_limits_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidConfiguration, match=name):
        EngineConfig.of({name: value})


@pytest.mark.parametrize(
    "name", ["retry_seconds", "retry_max_seconds", "handler_timeout", "stop_seconds", "simulate_seconds"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_is_a_finite_number(name: str, value: float) -> None:
    with pytest.raises(InvalidConfiguration, match=name):
        EngineConfig.of({name: value})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("processors", 0, "processors must be a whole number from 1 to 1000, not 0."),
        ("processors", "8", "processors must be a whole number from 1 to 1000, not '8'."),
        ("max_backlog", 0, "max_backlog must be a whole number from 1 up, not 0."),
        ("handler_timeout", 0, "handler_timeout must be a number above 0 to 1000000000, not 0."),
        ("durability", "off", "durability must be full or normal, not 'off'."),
        ("export_path", 5, "export_path must be text, not 5."),
        ("procesors", 8, "There is no setting `procesors`: do you mean `processors`?"),
        ("colour", 8, "There is no setting `colour`."),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_in_full(name: str, value: object, rule: str) -> None:
    with pytest.raises(InvalidConfiguration) as error:
        EngineConfig.of({name: value})

    assert str(error.value) == rule


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(InvalidConfiguration, match="`threads`"):
        EngineConfig.of({"threads": 8})


def test_settings_do_not_change() -> None:
    config = EngineConfig()

    with pytest.raises(AttributeError):
        config.processors = 9  # type: ignore[misc]
