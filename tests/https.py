"""Requests to a leader over HTTP as its own user makes them: its CA, its admin token."""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse
from pathlib import Path

from joblog.address import own_token, read_leader_file


def open_url(data_dir: Path, path: str, timeout_seconds: float = 10.0, method: str = "GET") -> HTTPResponse:
    """What the leader of a data folder answers at a path, as /metrics. Raises urllib's errors."""
    leader = read_leader_file(data_dir)
    context = None if leader.plaintext else ssl.create_default_context(cadata=leader.ca)
    request = urllib.request.Request(leader.http_url.rstrip("/") + path, method=method)
    if token := own_token(data_dir):
        request.add_header("Authorization", f"Bearer {token}")
    reply: HTTPResponse = urllib.request.urlopen(request, timeout=timeout_seconds, context=context)
    return reply
