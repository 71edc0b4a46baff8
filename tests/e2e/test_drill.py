"""The restore drill: load, backup, more load, the leader's disk gone, restore; and what is lost at most in each mode.

The table of docs/operations.md, "What can be lost", has a row for each mode here.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from joblog.leader.archive.options import S3Options
from tests.e2e.machine import Machine, until
from tests.object_servers import ACCESS_KEY, SECRET_KEY, moto_server, rgw_missing, rgw_server

# Of each log that is written; `make drill` takes more.
MIB = float(os.environ.get("DRILL_MIB", "4"))
# Of it, for the three parts of a live log: what comes after the backup is more than a spool keeps.
SHARES = 0.5, 2.0, 0.1


class Mode(NamedTuple):
    """How a leader is set up, and what is to be there after its disk was lost."""

    name: str
    backups: bool
    archive: bool
    ack: str
    # Logs that were completed after the backup, or archived, are there.
    later: bool
    # Logs that were live go on without a gap, however much their spools have let go of.
    whole: bool


WITH_BOTH = Mode("archive, ack stored, and backups", backups=True, archive=True, ack="stored", later=True, whole=False)
MODES = [
    Mode("no archive, no backups", backups=False, archive=False, ack="stored", later=False, whole=False),
    Mode("backups", backups=True, archive=False, ack="stored", later=False, whole=False),
    Mode("archive, ack stored", backups=False, archive=True, ack="stored", later=True, whole=False),
    WITH_BOTH,
    Mode("archive, ack archived", backups=False, archive=True, ack="archived", later=True, whole=True),
    Mode("archive, ack archived, and backups", backups=True, archive=True, ack="archived", later=True, whole=True),
]


class Site(Machine):
    """A machine whose leader keeps to a mode; its key file lies elsewhere."""

    def __init__(self, folder: Path, mode: Mode, target: str = "") -> None:
        super().__init__(folder / "data")
        self.mode = mode
        self.folder = folder
        self.environment["JOBLOG_KEYS_FILE"] = str(folder / "kek.key")
        self.environment["JOBLOG_LEADER_CONFIG"] = self.environment["JOBLOG_WORKER_CONFIG"] = os.devnull
        # So that a live log's spool lets go of what was acked.
        self.environment["JOBLOG_SPOOL_MAX_TASK_BYTES"] = str(4 << 20)
        self.environment["JOBLOG_SPOOL_SEGMENT_BYTES"] = str(2 << 20)
        self.environment["JOBLOG_INGEST_LOST_AFTER_SECONDS"] = "2"
        self.environment["JOBLOG_INGEST_HEARTBEAT_SECONDS"] = "0.5"
        if mode.backups:
            self.environment["JOBLOG_BACKUP_URL"] = target or f"file://{folder}/target"
        if mode.archive:
            self.environment["JOBLOG_ARCHIVE_URL"] = f"file://{folder}/archive"
            self.environment["JOBLOG_ARCHIVE_ACK"] = mode.ack
            self.environment["JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS"] = "0.3"
            self.environment["JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS"] = "0.5"

    def lose_disk(self) -> None:
        """The leader dies, and what it kept is gone; the machine's tasks and spools are not."""
        self.stop_up()
        shutil.rmtree(self.data_dir / "leader")

    def text(self, log: str) -> bytes:
        return self.call("logs", "--raw", log).stdout

    def sha256(self, log: str) -> str:
        return hashlib.sha256(self.text(log)).hexdigest()


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


class Live(NamedTuple):
    """A task that prints parts, each when it is told to."""

    log: str
    parts: list[Path]
    go: list[Path]

    def step(self, number: int) -> None:
        self.go[number].touch()

    def bytes(self, count: int) -> bytes:
        return b"".join(part.read_bytes() for part in self.parts[:count])


def start_live(site: Site, log: str) -> Live:
    parts = [site.folder / f"part{number}" for number in range(3)]
    go = [site.folder / f"go{number}" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(noise(int(SHARES[number] * MIB * (1 << 20)), number))
    script = "; ".join(
        f"while [ ! -e {where} ]; do sleep 0.05; done; cat {part}" for part, where in zip(parts, go, strict=True)
    )
    run, _, task = log.partition("/")
    site.start("run", "--quiet", "--run", run, "--task", task, "--", "sh", "-c", script)
    return Live(log, parts, go)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def arrived(site: Site, live: Live, count: int) -> None:
    """The leader has so many parts, and in the archive where that is what is acked."""
    wanted = len(live.bytes(count))
    until(lambda: site.record(live.log).get("next_offset", 0) >= wanted, f"{count} parts have arrived")
    if site.mode.archive:
        until(lambda: site.record(live.log).get("archived_offset", 0) >= wanted, f"{count} parts are archived")


def drill(site: Site) -> None:
    """Load, backup, more load, the disk gone, restore; then what there is."""
    mode = site.mode
    site.start_up()
    site.run("before/t", f"head -c {int(MIB * (1 << 20))} /dev/zero | tr '\\0' x; echo")
    before = site.sha256("before/t")
    live = start_live(site, "live/t")
    live.step(0)
    arrived(site, live, 1)
    backup = site.json("backup", "create") if mode.backups else {}
    if mode.backups:
        assert site.json("backup", "list")[0]["id"] == backup["id"]
    live.step(1)
    site.run("later/t", "seq 1 20000")
    later = site.sha256("later/t")
    arrived(site, live, 2)
    if mode.archive:
        until(lambda: site.record("later/t").get("tier") == "archive", "the later log is sealed")
        until(lambda: site.record("before/t").get("tier") == "archive", "the log from before is sealed")
    site.lose_disk()
    if mode.backups:
        plan = site.json("restore", "latest", "--dry-run")
        assert plan["backup_id"] == backup["id"] and plan["bytes"] == backup["bytes"]
        assert not (site.data_dir / "leader/store").exists()
        site.call("restore", "latest")
    site.start_up()
    live.step(2)
    until(lambda: site.record("live/t").get("state") == "completed", "the live log is completed")
    everything = live.bytes(3)
    record = site.record("live/t")
    # Never short without saying so, never at other offsets.
    assert record["seal"]["length"] == len(everything)
    text = site.text("live/t")
    missing = sum(gap["length"] for gap in record["seal"]["gaps"])
    assert len(text) + missing == len(everything)
    at = written = 0
    for gap in [*record["seal"]["gaps"], {"offset": len(everything), "length": 0}]:
        present = everything[at : gap["offset"]]
        assert text[written : written + len(present)] == present
        written += len(present)
        at = gap["offset"] + gap["length"]
    if mode.whole:
        assert not missing
    elif not mode.archive:
        kept = len(live.bytes(1)) if mode.backups else 0
        assert 0 < missing < len(everything) - kept
        assert not mode.backups or record["seal"]["gaps"][0]["offset"] >= kept
    runs = {run["run"] for run in site.json("ls")}
    assert ("before" in runs) == (mode.backups or mode.archive)
    assert ("later" in runs) == mode.later
    if "before" in runs:
        assert site.sha256("before/t") == before
    if mode.later:
        assert site.sha256("later/t") == later
    if mode.backups:
        events = [event["kind"] for event in site.json("stat", "live/t").get("events", [])]
        assert "restored" in events
        done = site.json("backup", "create")
        assert site.json("backup", "verify", "--restore")["problems"] == []
        assert done["store_id"] == backup["store_id"]


# `make test` takes the row that shows the most; `make drill` and `make fault` take all.
_QUICK = {"backups"}
ROWS = [pytest.param(mode, id=mode.name, marks=[] if mode.name in _QUICK else [pytest.mark.fault]) for mode in MODES]


@pytest.mark.parametrize("mode", ROWS)
def test_what_is_lost_at_most(folder: Path, mode: Mode) -> None:
    site = Site(folder, mode)
    try:
        drill(site)
    finally:
        site.close()


def s3_environment(site: Site, options: S3Options) -> None:
    site.environment.update(
        {
            "JOBLOG_BACKUP_S3_ENDPOINT": options.endpoint,
            "JOBLOG_BACKUP_S3_PATH_STYLE": "true",
            "JOBLOG_BACKUP_S3_ACCESS_KEY": ACCESS_KEY,
            "JOBLOG_BACKUP_S3_SECRET_KEY": SECRET_KEY,
        }
    )


@pytest.mark.fault
def test_the_drill_with_a_bucket(folder: Path) -> None:
    with moto_server(folder) as endpoint:
        site = Site(folder, WITH_BOTH, "s3://backups/of/us")
        s3_environment(site, S3Options(endpoint=endpoint))
        try:
            drill(site)
        finally:
            site.close()


@pytest.mark.rgw
@pytest.mark.fault
def test_the_drill_with_a_real_server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    if missing := rgw_missing():
        pytest.skip(missing)
    with rgw_server(lambda: tmp_path_factory.mktemp("rgw")) as endpoint:
        site = Site(folder, WITH_BOTH, "s3://backups/of/us")
        s3_environment(site, S3Options(endpoint=endpoint))
        try:
            drill(site)
        finally:
            site.close()
