"""Plain copies of sealed logs: the whole text beside the sealed log, gone with it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from joblog.batch import STDOUT
from joblog.errors import InvalidSettings
from joblog.leader.archive.layout import plain_key
from joblog.leader.archive.plain import PlainCopier
from joblog.leader.archive.seal import Sealer
from joblog.leader.buffer.changes import Changes
from joblog.leader.settings import LeaderSettings
from joblog.settings import load
from tests.archiving import ArchiveSite
from tests.stored_log import NAME

Start = Callable[..., ArchiveSite]
MIB = 1 << 20


def with_plain_copies(site: ArchiveSite) -> None:
    site.sealer = Sealer(site.context, site.extents, plain=PlainCopier(site.context, site.extents))


@pytest.mark.parametrize("chunks", [1, 13])
async def test_the_text_lies_beside_the_sealed_log_and_goes_with_it(start: Start, chunks: int) -> None:
    site = start(multipart_bytes=5 * MIB)
    with_plain_copies(site)
    log = site.leader.log()
    for _ in range(chunks):
        log.append((STDOUT, os.urandom(MIB)))
    log.gap(100)
    log.append((STDOUT, b"the end\n"))
    site.flush()
    log.complete()
    # What an earlier try has left is replaced.
    site.objects.put(plain_key(NAME), b"half")
    site.seal()
    assert site.objects.get(plain_key(NAME)) == log.model.present(0, log.length, None)
    verdict = await site.verify(log.number)
    assert verdict.complete, verdict.problems
    changes = Changes()
    changes.delete_log(log.number)
    site.store.write(changes)
    site.clean()
    assert site.objects.head(plain_key(NAME)) is None


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"URL": "s3://bucket/x", "S3_SSE": "kms", "REQUIRE_ENVELOPE": "true"}, "require_envelope"),
        ({"URL": "s3://bucket/x"}, "archive.s3.sse"),
        ({"URL": "file:///archive", "S3_SSE": "kms"}, "archive in S3"),
        ({}, "archive in S3"),
    ],
)
def test_settings_that_would_leave_text_in_clear_are_refused(variables: dict[str, str], complaint: str) -> None:
    environ = {f"JOBLOG_ARCHIVE_{name}": value for name, value in variables.items()}
    with pytest.raises(InvalidSettings, match=complaint):
        load(LeaderSettings, environ=environ | {"JOBLOG_ARCHIVE_PLAIN_COPY": "true"})


def test_settings_with_encryption_at_the_server_are_taken() -> None:
    environ = {
        "JOBLOG_ARCHIVE_URL": "s3://bucket/x",
        "JOBLOG_ARCHIVE_S3_SSE": "s3",
        "JOBLOG_ARCHIVE_PLAIN_COPY": "true",
    }
    assert load(LeaderSettings, environ=environ).values.archive.plain_copy
