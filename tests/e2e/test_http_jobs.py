"""Jobs over HTTP: live and archived ones in one list, and the text of those whose pods are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from joblog.batch import STDOUT
from joblog.identity import LogName
from tests.e2e.api_server import Api, api_in

JOBS = "/api/v1/namespaces/default/jobs"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as running:
        yield running


async def names_of(api: Api, **query: str | int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while True:
        page = (await api.http.get(JOBS, params=query)).json()
        found += [(job["name"], job["source"]) for job in page["jobs"]]
        if not page["next_cursor"]:
            return found
        query["cursor"] = page["next_cursor"]


async def test_live_and_archived_jobs_are_one_list_each_once(api: Api) -> None:
    for number in range(4):
        for task in ("build", "test"):
            log = api.stored.log(LogName("default", f"job-{number}", task, 1))
            log.append((STDOUT, b"hi\n"))
            # A job is live as long as one of its logs is.
            if number % 2 or (number == 0 and task == "build"):
                log.complete()
    everything = [("job-3", "archived"), ("job-2", "live"), ("job-1", "archived"), ("job-0", "live")]
    assert await names_of(api) == everything
    assert await names_of(api, limit=1) == everything
    assert await names_of(api, source="live") == [("job-2", "live"), ("job-0", "live")]
    assert await names_of(api, source="archived") == [("job-3", "archived"), ("job-1", "archived")]
    assert await names_of(api, source="archived", state="live") == []
    assert (await api.http.get(JOBS, params={"source": "gone"})).status_code == 400


async def test_a_job_that_is_gone_is_archived_with_its_text(api: Api) -> None:
    log = api.stored.log(LogName("default", "etl+x", "7:main", 2))
    log.append((STDOUT, b"last words\n"))
    log.complete()
    job = (await api.http.get(f"{JOBS}/etl%2Bx")).json()
    assert (job["job"]["name"], job["job"]["source"]) == ("etl+x", "archived")
    (one,) = job["logs"]
    assert (one["task"], one["attempt"], one["source"], one["length"]) == ("7:main", 2, "archived", 11)
    assert (await api.http.get(one["text"])).content == b"last words\n"
    missing = await api.http.get(f"{JOBS}/never")
    assert missing.status_code == 404
    assert "neither live nor archived" in missing.json()["error"]["message"]
