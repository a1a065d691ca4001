"""Weights: how large a share of the turns each user has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from .errors import InvalidConfiguration
from .order import USER

LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100
WEIGHTS_RULE = (
    f"entries such as `big@example.com=3`, with commas between them: each user's weight, {LEAST_WEIGHT:g} to "
    f"{MOST_WEIGHT}"
)
Weights = Mapping[str, float]
"""By users; who is not there has the weight 1."""
NO_WEIGHTS: Weights = MappingProxyType({})

_NUMBER = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")


def weights_text(weights: Weights) -> str | None:
    """As `parse_weights` takes them; None where there are none."""
    return ", ".join(f"{user}={weight:.6f}".rstrip("0").rstrip(".") for user, weight in weights.items()) or None


def parse_weights(text: str) -> Weights:
    """Weights as the configuration has them: `big@example.com=3, test=0.5`.

    Raises:
        InvalidConfiguration: it is something else.
    """
    weights: dict[str, float] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        user, _, number = (part.strip() for part in entry.rpartition("="))
        weight = float(number) if _NUMBER.fullmatch(number) else 0
        if USER.fullmatch(user) is None or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise InvalidConfiguration(f"weights must be {WEIGHTS_RULE}; {entry!r} is none.")
        if user in weights:
            raise InvalidConfiguration(f"weights has {user!r} twice.")
        weights[user] = weight
    return weights
