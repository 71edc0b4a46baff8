"""A metadata.json that says what a test wants, as joblog would have written it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any


def document_of(said: dict[str, Any], vouch: Callable[[bytes], bytes] = lambda _: bytes(28)) -> bytes:
    """The document; vouch: who vouches for what it says, by default nobody who has the log's key."""
    unsigned = json.dumps({**said, "vouched": ""}, indent=1, ensure_ascii=False).encode() + b"\n"
    vouched = base64.b64encode(vouch(hashlib.sha256(unsigned).digest()))
    return unsigned.removesuffix(b'""\n}\n') + b'"' + vouched + b'"\n}\n'
