"""How many examples property tests take: PROPERTY_PERCENT of what each asks for; `make fuzz` takes all."""

from __future__ import annotations

import os

PERCENT = int(os.environ.get("PROPERTY_PERCENT", "20"))


def examples(whole: int) -> int:
    """So many of `whole` examples, at least five."""
    return max(min(whole, 5), whole * PERCENT // 100)
