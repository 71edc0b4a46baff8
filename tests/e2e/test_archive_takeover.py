"""Leaders as real processes that start on an archive which another one has written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.leader.access.audit_line import chain_of
from joblog.leader.access.records import CertificateRecord
from joblog.leader.access.snapshot import AccessSnapshot, unpack_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.key_objects import archive_keys
from joblog.leader.archive.layout import ACCESS_KEY
from joblog.leader.archive.state_object import ACCESS, load_state
from joblog.leader.crypto.file_kms import FileKms
from joblog.paths import DataFolder
from joblog.v1.types_pb2 import TIER_ARCHIVE, LogRecord
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Process, Task


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": (data_dir / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "0.5",
        "JOBLOG_ARCHIVE_ACK": "archived",
    }
    with Cluster(data_dir, **settings) as made:
        yield made


def archived_access(cluster: Cluster) -> AccessSnapshot | None:
    """Who is known, as the archive has it."""
    objects = FolderStore(cluster.folder / "archive", create=False)
    content = load_state(ACCESS, objects, archive_keys(objects, FileKms(cluster.folder / "kek.key", create=False)))
    return None if content is None else unpack_snapshot(content)


def sealed(cluster: Cluster, task: Task) -> bool:
    return any(one.id.task == task.log.task and one.tier == TIER_ARCHIVE for one in cluster.records())


def second_leader(cluster: Cluster) -> subprocess.CompletedProcess[bytes]:
    """A leader on an empty folder of its own, which has to end by itself."""
    command = [*JOBLOG, "leader", "--data-dir", str(cluster.folder / "second")]
    command += ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    return subprocess.run(command, env=cluster.environment, capture_output=True, timeout=60, check=False)


def test_beside_a_leader_that_works_it_ends_and_with_another_key_too(cluster: Cluster) -> None:
    leader = cluster.start_leader()
    address = cluster.grpc_address
    cluster.start_worker()
    cluster.wait_worker()
    task, live = cluster.task("done", 1, count=30), cluster.task("live", 2).wait_begun()
    assert task.finish() == 0
    until(lambda: sealed(cluster, task), "it is sealed")

    done = second_leader(cluster)
    assert done.returncode == 4, done.stderr.decode()
    assert b"which is at work" in done.stderr
    assert leader.popen.poll() is None

    # The disk is lost, and the key with it.
    leader.kill()
    kek = DataFolder(cluster.leader_dir).kek_file
    safe = cluster.folder / "safe.key"
    shutil.copy(kek, safe)
    shutil.rmtree(cluster.leader_dir)
    done = second_leader(cluster)
    assert done.returncode == 5, (done.returncode, done.stderr.decode())
    assert b"written with another key" in done.stderr

    kek.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    shutil.copy(safe, kek)
    leader = cluster.start_leader(address=address)
    assert live.finish() == 0
    cluster.wait_settled()
    until(lambda: sealed(cluster, live), "the one that went on is sealed")
    for one in (task, live):
        cluster.assert_whole(one)
    cluster.assert_verified()
    assert leader.terminate() == 0
    cluster.assert_no_crash()


def joined_worker(cluster: Cluster, *flags: str) -> Process:
    """A worker daemon on a machine of its own."""
    command = [*JOBLOG, "worker", "--data-dir", str(cluster.worker_dir), *flags]
    cluster.worker = Process(command, cluster.environment, cluster.messages("worker"))
    cluster.wait_worker()
    return cluster.worker


def token(cluster: Cluster, role: str, name: str) -> str:
    """The text of a new token."""
    done = cluster.joblog("token", "create", "--role", role, "--name", name)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def asked(cluster: Cluster, text: str) -> subprocess.CompletedProcess[bytes]:
    """`joblog ls` by somebody elsewhere."""
    environment = {**cluster.environment, "JOBLOG_TOKEN": text, "JOBLOG_DATA_DIR": str(cluster.folder / "elsewhere")}
    return subprocess.run([*JOBLOG, "ls", "--json"], env=environment, capture_output=True, timeout=60, check=False)


def test_workers_and_users_elsewhere_go_on_with_a_leader_whose_disk_is_lost(cluster: Cluster) -> None:
    cluster.environment["JOBLOG_KEYS_FILE"] = str(cluster.folder / "kek.key")
    leader = cluster.start_leader()
    address = cluster.grpc_address
    join, reader, revoked = (
        token(cluster, role, name) for role, name in (("writer", "w"), ("reader", "r"), ("reader", "x"))
    )
    assert cluster.joblog("token", "revoke", revoked.split(".")[1]).returncode == 0
    admin = DataFolder(cluster.leader_dir).admin_token.read_text().strip()
    ca = cluster.leader_file()["ca"]
    file = cluster.folder / "w.token"
    file.write_text(join)
    worker = joined_worker(cluster, "--join-file", str(file))
    done, live = cluster.task("done", 1, count=30), cluster.task("live", 2).wait_begun()
    assert done.finish() == 0
    until(lambda: sealed(cluster, done), "it is sealed")
    serial = until(lambda: [one.serial for one in certificates(cluster)], "the worker has joined")

    def is_kept() -> bool:
        kept = archived_access(cluster)
        if kept is None:
            return False
        names = {one.name: bool(one.revoked_ns) for one in kept.tokens}
        return names.get("x", False) and [one.serial for one in kept.certificates] == serial

    until(is_kept, "the archive has tokens and certificates")

    leader.kill()
    shutil.rmtree(cluster.leader_dir)
    # With an audit log, too, that the next leader goes on with.
    leader = cluster.start_leader(address=address)
    assert cluster.leader_file()["ca"] == ca
    assert live.finish() == 0
    cluster.wait_settled()
    until(lambda: sealed(cluster, live), "the one that went on is sealed")
    assert worker.popen.poll() is None
    assert certificates(cluster)[-1].serial == serial[0]
    for task in (done, live):
        cluster.assert_whole(task)
    verified = cluster.joblog("verify", "--all")
    assert verified.returncode == 0, (verified.stdout.decode(), verified.stderr.decode())
    assert asked(cluster, reader).returncode == 0
    for text, why in ((revoked, b"was revoked"), (admin, b"was revoked"), (reader[:-4], b"")):
        refused = asked(cluster, text)
        assert refused.returncode and why in refused.stderr, (refused.returncode, refused.stderr)
    assert DataFolder(cluster.leader_dir).admin_token.read_text().strip() != admin
    audited = cluster.joblog("audit", "verify")
    assert audited.returncode == 0, audited.stdout.decode()
    assert leader.terminate() == 0
    cluster.assert_no_crash()


def test_what_lies_sealed_on_a_worker_is_read_by_the_next_leader(cluster: Cluster) -> None:
    """The worker, whose memory had the key, is gone as well as the leader's disk: only the archive has it."""
    cluster.environment |= {
        "JOBLOG_KEYS_FILE": str(cluster.folder / "kek.key"),
        "JOBLOG_SPOOL_ENCRYPTION": "on",
    }
    leader = cluster.start_leader()
    address = cluster.grpc_address
    file = cluster.folder / "w.token"
    file.write_text(token(cluster, "writer", "w"))
    worker = joined_worker(cluster, "--join-file", str(file))
    task = cluster.task("live", 2).wait_begun()

    def is_kept() -> bool:
        kept = archived_access(cluster)
        return kept is not None and len(kept.spool_keys) == 1 and len(kept.certificates) == 1

    until(is_kept, "the archive has the spool key")
    until(lambda: cluster.records(), "the log is there")
    leader.kill()
    assert task.finish() == 0
    worker.kill()
    shutil.rmtree(cluster.leader_dir)
    joined_worker(cluster)
    leader = cluster.start_leader(address=address)
    cluster.wait_settled()
    cluster.assert_whole(task)
    assert leader.terminate() == 0


def certificates(cluster: Cluster) -> list[CertificateRecord]:
    """Those that the leader has issued, the newest first."""
    path = DataFolder(cluster.leader_dir).access_store
    store = AccessStore(path)
    try:
        return store.list_certificates()[0]
    finally:
        store.close()


def test_without_what_was_archived_of_them_they_are_told_to_join_again(cluster: Cluster) -> None:
    cluster.environment["JOBLOG_KEYS_FILE"] = str(cluster.folder / "kek.key")
    leader = cluster.start_leader()
    address = cluster.grpc_address
    file = cluster.folder / "w.token"
    file.write_text(token(cluster, "writer", "w"))
    joined_worker(cluster, "--join-file", str(file))
    task = cluster.task("live", 2).wait_begun()
    until(lambda: cluster.records(), "the log is there")
    leader.kill()
    shutil.rmtree(cluster.leader_dir)
    (cluster.folder / "archive" / ACCESS_KEY).unlink(missing_ok=True)
    leader = cluster.start_leader(address=address)
    assert b"keeps no tokens and no CA" in cluster.messages("leader").read_bytes()
    said = b"workers join again with --join"
    until(lambda: said in cluster.messages("worker").read_bytes(), "the worker says what to do")
    assert task.finish() == 0
    assert cluster.worker is not None
    assert cluster.worker.terminate() == 10
    file.write_text(token(cluster, "writer", "w"))
    joined_worker(cluster, "--join-file", str(file))
    cluster.wait_settled()
    cluster.assert_whole(task)
    assert leader.terminate() == 0
    cluster.assert_no_crash()


def test_a_leader_that_began_without_its_archive_still_takes_over(cluster: Cluster) -> None:
    cluster.environment["JOBLOG_KEYS_FILE"] = str(cluster.folder / "kek.key")
    leader = cluster.start_leader()
    address = cluster.grpc_address
    cluster.start_worker()
    cluster.wait_worker()
    task = cluster.task("done", 1, count=30)
    assert task.finish() == 0
    until(lambda: sealed(cluster, task), "it is sealed")
    until(lambda: archived_access(cluster), "the archive has who is known")
    leader.kill()
    shutil.rmtree(cluster.leader_dir)
    reachable = dict(cluster.environment)
    cluster.environment |= {
        "JOBLOG_ARCHIVE_URL": "s3://bucket/prefix",
        "JOBLOG_ARCHIVE_S3_ENDPOINT": "http://127.0.0.1:1",
        "JOBLOG_ARCHIVE_S3_ACCESS_KEY": "nobody",
        "JOBLOG_ARCHIVE_S3_SECRET_KEY": "asks",
        "JOBLOG_ARCHIVE_RETRY_SECONDS": "0.2",
    }
    leader = cluster.start_leader(address=address)
    assert b"can't be looked at now" in cluster.messages("leader").read_bytes()
    made = token(cluster, "reader", "made meanwhile")
    leader.kill()
    cluster.environment = reachable
    leader = cluster.start_leader(address=address)
    cluster.assert_whole(task)
    listed = cluster.joblog("token", "ls", "--all", "--json")
    assert b"made meanwhile" in listed.stdout and made.split(".")[1].encode() in listed.stdout
    # Both chains are there, whole.
    verified = cluster.joblog("audit", "verify", "--json")
    assert verified.returncode == 0, verified.stdout.decode()
    chains = {chain_of(record.id.run) for record in audit_logs(cluster)}
    assert len(chains) == 2 and "" in chains
    assert leader.terminate() == 0
    cluster.assert_no_crash()


def audit_logs(cluster: Cluster) -> list[LogRecord]:
    with Client(data_dir=cluster.leader_dir) as client:
        runs = [run.run for run in client.runs(namespace="@audit")]
        return [log for run in runs for log in client.logs(run, namespace="@audit")]
