"""Following containers with no shipper beside it, so that spools of ended logs still lie there at the next start."""

from __future__ import annotations

from pathlib import Path

from tests.docker_writer import DockerFiles
from tests.following_docker import contents, following, until


async def test_a_run_that_began_while_no_worker_ran_is_found_behind_one_that_had_ended(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    files = DockerFiles(tmp_path / "containers", "web")
    files.start(first=b"one\n")
    async with following(tmp_path):
        files.exit(1)
        await until(lambda: contents(tmp_path) == [(b"one\n", True)])
    files.start(first=b"two\n")
    async with following(tmp_path):
        await until(lambda: contents(tmp_path) == [(b"one\n", True), (b"two\n", False)])
    files.print(b"more of it\n")
    files.exit(0, restarts=True)
    files.start(by_policy=True, first=b"three\n")
    async with following(tmp_path):
        await until(lambda: contents(tmp_path) == [(b"one\n", True), (b"two\nmore of it\n", True), (b"three\n", False)])
        files.exit(0)
        await until(lambda: all(ended for _, ended in contents(tmp_path)))
    async with following(tmp_path):
        other = DockerFiles(tmp_path / "containers", "other")
        other.start(first=b"other\n")
        await until(lambda: (b"other\n", False) in contents(tmp_path))
        assert len(contents(tmp_path)) == 4
        other.end()
