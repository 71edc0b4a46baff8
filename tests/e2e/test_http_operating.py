"""What operators see and do over HTTP: workers, buffer and archive, keys; with real processes and an archive."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.e2e.api_server import api_in
from tests.e2e.machine import Machine, until
from tests.https import open_url


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("operating")
    made = Machine(folder / "data")
    made.environment |= {
        "JOBLOG_ARCHIVE_URL": f"file://{folder}/archive",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
    }
    made.start_up()
    made.run("r/t", "yes line | head -c 100000")
    until(lambda: made.record("r/t")["tier"] == "archive", "it is sealed")
    yield made
    made.close()


def get(machine: Machine, path: str) -> dict[str, Any]:
    with open_url(machine.data_dir, path) as reply:
        found: dict[str, Any] = json.loads(reply.read())
    return found


def test_workers_tell_what_was_received_of_them_and_what_they_are_let_in_with(machine: Machine) -> None:
    found = get(machine, "/api/v1/workers")
    (worker,) = [one for one in found["workers"] if one["received_bytes"]]
    # Those of the run log are among them.
    assert 100_000 < worker["received_bytes"] < 101_000
    assert 0 < worker["lag_seconds"] < 30
    assert worker["last_seen_at"] <= found["time"] < worker["certificate"]["expires_at"]
    assert worker["certificate"]["worker_id"] == worker["worker_id"]
    assert worker["certificate"]["revoked_at"] is None


def test_storage_tells_of_the_archive_without_asking_it(machine: Machine) -> None:
    found = get(machine, "/api/v1/storage")
    assert 0 < found["buffer"]["bytes"] < found["buffer"]["disk_total_bytes"]
    archive = found["archive"]
    assert archive["sealed_logs"] >= 1
    assert archive["held"] == ""
    work = {one["name"]: one for one in archive["work"]}
    assert {"flush", "seal"} <= set(work)
    assert work["flush"]["worked_at"] <= found["time"]
    assert not work["flush"]["failing"]
    before = {one["operation"]: one["count"] for one in archive["requests"]}
    assert before["put"] >= 2
    assert sum(one["failed"] for one in archive["requests"]) <= sum(before.values())


def test_what_the_archive_costs_is_counted_from_its_objects(machine: Machine) -> None:
    found = get(machine, "/api/v1/storage/cost?storage=1000&puts=0&gets=0")
    assert found["logs"] == machine.json("archive", "cost")["archive"]["logs"] >= 1
    costs = {cost["what"]: cost for cost in found["costs"]}
    assert costs["a month at most"]["money"] == pytest.approx(found["bytes"] / 10**9 * 1000)
    assert {"a month as counted", "a million tasks", "a million tasks as counted"} <= set(costs)
    with pytest.raises(HTTPError, match="400"):
        open_url(machine.data_dir, "/api/v1/storage/cost?storage=-1")


def test_a_rotated_key_is_the_current_one(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = get(machine, "/api/v1/keys")
    (old,) = before["store_keys"]
    assert old["current"]
    assert old["present"]
    assert before["kms_calls"] > 0
    with monkeypatch.context() as patched:
        patched.setattr(urllib.request.Request, "get_method", lambda _: "POST")
        made = get(machine, "/api/v1/keys/rotate")["store_key_id"]
    after = get(machine, "/api/v1/keys")["store_keys"]
    assert {key["id"]: key["current"] for key in after} == {old["id"]: False, made: True}
    acts = get(machine, "/api/v1/audit?action=keys.rotate")["lines"]
    assert [line["outcome"] for line in acts] == ["ok"]


async def test_without_an_archive_there_is_none_to_count(tmp_path: Path) -> None:
    async with api_in(tmp_path) as api:
        assert (await api.http.get("/api/v1/storage")).json()["archive"] is None
        assert (await api.http.get("/api/v1/storage/cost")).status_code == 409
        (worker,) = (await api.http.get("/api/v1/workers")).json()["workers"]
        assert worker["certificate"] is None
