"""`joblog adopt` against real daemons: who may, what is shown of adopted logs, and a leader that loses its disk."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adopting import ENDED, RULE, OldFolder
from tests.e2e.machine import Machine
from tests.https import open_url

TEXT = b"".join(b"line %d of the old system\n" % number for number in range(1, 30_001))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldFolder:
    made = OldFolder(tmp_path_factory.mktemp("old"))
    made.put("default/nightly/billing/job-1/logs.txt", TEXT, {**ENDED, "exitCode": 3, "status": "Failed"})
    made.put("default/nightly/billing/job-2/logs.txt.gz", gzip.compress(TEXT), ENDED)
    return made


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, old: OldFolder) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    made = Machine(folder / "data")
    made.environment |= {
        "JOBLOG_ARCHIVE_URL": f"file://{folder}/archive",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "0.3",
        "JOBLOG_ADOPTION_SOURCES": old.url,
    }
    made.start_up()
    yield made
    made.close()


def adopt(machine: Machine, old: OldFolder, *more: str, code: int = 0) -> list[dict[str, Any]]:
    done = machine.call("adopt", old.url, "--rule", RULE, "--min-age", "0s", "--json", *more, check=False)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def http(machine: Machine, path: str) -> bytes:
    with open_url(machine.data_dir, path) as answer:
        found: bytes = answer.read()
    return found


def test_adopted_logs_are_logs_as_others(machine: Machine, old: OldFolder) -> None:
    *would, sums = adopt(machine, old, "--dry-run")
    assert [one["name"] for one in would] == ["default:job-1/billing/1", "default:job-2/billing/1"]
    assert (sums["result"], sums["adopted"]) == ("done", 2)
    assert adopt(machine, old)[-1] == {**sums, "bytes": 2 * len(TEXT)}
    runs = {run["run"]: run for run in machine.json("ls", "--limit", "10")}
    assert (runs["job-1"]["state"], runs["job-2"]["state"]) == ("failed", "succeeded")
    assert runs["job-1"]["labels"] == {"jobType": "nightly"}
    for run in ("job-1", "job-2"):
        place = f"/api/v1/namespaces/default/runs/{run}/tasks/billing/attempts/1"
        assert http(machine, f"{place}/raw") == TEXT
        assert http(machine, f"{place}/bytes?line=20000&limit=30").find(b"line 20000 of the old") >= 0
        assert json.loads(http(machine, place))["adopted"]["gzip"] is (run == "job-2")
        verdict = json.loads(http(machine, f"{place}/verify"))
        assert (verdict["complete"], verdict["unchanged"], verdict["problems"]) == (False, True, [])
    assert machine.call("logs", "job-2/billing", "--tail", "1").stdout == TEXT.splitlines(keepends=True)[-1]
    found = machine.call("search", "line 23456 of", "job-1").stdout
    assert b"line 23456 of the old system" in found
    shown = machine.call("verify", "job-1/billing").stdout
    assert b"unchanged since it was adopted" in shown
    assert b": complete" not in shown
    known = machine.call("stat", "job-1/billing").stdout
    assert f"from {old.url}/default/nightly/billing/job-1/logs.txt".encode() in known
    assert b"exit 3 status Failed" in known
    jobs = json.loads(http(machine, "/api/v1/namespaces/default/jobs"))["jobs"]
    assert {job["name"]: job["source"] for job in jobs} == {"job-1": "archived", "job-2": "archived"}


def test_who_may_and_what_is_said_of_it(machine: Machine, old: OldFolder, tmp_path: Path) -> None:
    for url, why in ((tmp_path.as_uri(), b"adoption.sources"), (machine.data_dir.as_uri(), b"adoption.sources")):
        done = machine.call("adopt", url, "--rule", RULE, check=False)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    done = machine.call("adopt", old.url, "--rule", "logs.txt", check=False)
    assert (done.returncode, b"no part that tells the run" in done.stderr) == (2, True)
    lines = machine.call("audit", "tail", "--json", "--action", "log.adopt*", "-n", "100").stdout.splitlines()
    said = [json.loads(line) for line in lines]
    assert {(one["action"], one["subject"]) for one in said} == {("log.adopt", old.url), ("log.adopted", old.url)}
    assert said[0]["detail"] == {"rule": RULE, "dry_run": "true"}
    assert [one["detail"]["logs"] for one in said if one["action"] == "log.adopted"] == ["2"]


def test_the_record_outlives_the_leaders_disk(machine: Machine, old: OldFolder) -> None:
    assert adopt(machine, old)[-1]["known"] == 2
    machine.call("archive", "verify")
    assert machine.call("archive", "cat", "job-1/billing").stdout == TEXT
    machine.stop_up()
    kek = (machine.data_dir / "leader" / "kek.key").read_bytes()
    shutil.rmtree(machine.data_dir / "leader")
    (machine.data_dir / "leader").mkdir(mode=0o700)
    (machine.data_dir / "leader" / "kek.key").write_bytes(kek)
    (machine.data_dir / "leader" / "kek.key").chmod(0o600)
    machine.start_up()
    assert machine.call("logs", "job-2/billing").stdout == TEXT
    # What is deleted is what joblog knows; the text stays, and a changed one is told.
    machine.call("delete", "job-2", "--yes")
    assert adopt(machine, old)[-1]["adopted"] == 1
    old.put("default/nightly/billing/job-1/logs.txt", TEXT[::-1])
    assert adopt(machine, old, code=1)[-1]["changed"] == 1
    done = machine.call("logs", "job-1/billing", check=False)
    assert (done.stdout, b"source changed" in done.stderr) == (b"", True), done.stderr
