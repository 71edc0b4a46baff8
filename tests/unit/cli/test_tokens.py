"""How long a token is asked to be good."""

from __future__ import annotations

import pytest

from joblog.cli.tokens import DEFAULT_LIFETIME, parse_lifetime
from joblog.errors import InvalidInput


def test_lifetimes() -> None:
    assert [parse_lifetime(text) for text in ("45s", "90m", "12h", "30d", "2w", "never")] == [
        45,
        5400,
        43_200,
        2_592_000,
        1_209_600,
        0,
    ]
    assert parse_lifetime(DEFAULT_LIFETIME) == 90 * 86_400
    for wrong in ("", "0d", "5", "d", "-1d", "1y", "1.5d", "9999999999d", "１d"):
        with pytest.raises(InvalidInput, match="lifetime"):
            parse_lifetime(wrong)
