"""What the admin UI asks for beside pages of bytes: parts of a log, gzip files, packed replies, how often to ask."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.api_server import Api, api_in
from tests.e2e.test_http_api import LOG
from tests.stored_log import NAME, fill

TEXT = b"one\ntwo\nthree\n"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as running:
        fill(running.stored.log(), [TEXT])
        yield running


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (4, 8), (4, 0), (0, 4), (14, 14), (8, 99), (99, 0), (8, 4)])
async def test_parts_of_a_log_are_downloaded(api: Api, begin: int, end: int) -> None:
    part = TEXT[begin : end or None]
    asked: dict[str, int] = {"from_offset": begin, "until_offset": end}
    reply = await api.http.get(f"{LOG}/raw", params=asked)
    assert (reply.status_code, reply.content) == (200, part)
    packed = await api.http.get(f"{LOG}/raw", params={**asked, "gz": True})
    assert gzip.decompress(packed.content) == part
    assert packed.headers["content-type"] == "application/gzip"
    assert packed.headers["content-disposition"].endswith('.log.gz"')
    assert "content-encoding" not in packed.headers


async def test_a_log_is_shown_where_that_is_asked_for(api: Api) -> None:
    reply = await api.http.get(f"{LOG}/raw", params={"inline": True})
    assert reply.headers["content-disposition"].startswith("inline; ")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert (await api.http.get(f"{LOG}/raw")).headers["content-disposition"].startswith("attachment; ")


async def test_large_replies_are_packed_and_text_is_left_out(api: Api) -> None:
    fill(api.stored.log(NAME._replace(task="large")), [b"some text\n" * 10_000])
    asked: dict[str, str | bool] = {"format": "json", "text": False}
    large = LOG.replace("/build/", "/large/") + "/bytes"
    reply = await api.http.get(large, params=asked, headers={"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    chunk = reply.json()
    assert chunk["text"] is None
    # Browsers name several.
    for accepted, taken in (("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0, gzip;q=0.5", "gzip")):
        reply = await api.http.get(large, params=asked, headers={"Accept-Encoding": accepted})
        assert reply.headers["content-encoding"] == taken
        assert reply.json() == chunk
    plain = await api.http.get(large, params=asked, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == chunk
    small = await api.http.get(f"{LOG}/bytes", params=asked, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


async def test_who_follows_is_told_when_to_ask_again(api: Api) -> None:
    asked: dict[str, str | int] = {"format": "json"}
    assert (await api.http.get(f"{LOG}/bytes", params=asked)).json()["poll_after_ms"] == 0
    assert (await api.http.get(f"{LOG}/bytes", params={**asked, "wait": 1})).json()["poll_after_ms"] >= 100
