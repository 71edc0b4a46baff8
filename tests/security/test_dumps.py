"""What runs with keys or secrets in memory leaves no core, and processes of its own user can't look into it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.machine import JOBLOG, Machine, until

NOBODY = 65534


class OtherUser(Machine):
    """A machine whose user is not root, so that its processes can be told from root's."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.environment |= {"HOME": str(data_dir), "JOBLOG_SPOOL_ENCRYPTION": "on"}
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            # It may read all files: this Python may lie where only root can go.
            self.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            self.prefix += [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
            for folder in (data_dir.parent, *data_dir.parent.parents[:2]):
                folder.chmod(0o755)
            data_dir.mkdir(mode=0o700)
            os.chown(data_dir, NOBODY, NOBODY)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[int]:
        """A command's process."""
        with self.messages.open("ab") as output:
            process = subprocess.Popen(
                [*self.prefix, *JOBLOG, *arguments], env=self.environment, stdout=output, stderr=output
            )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[OtherUser]:
    made = OtherUser(tmp_path / "data")
    if made.prefix and (
        shutil.which("setpriv") is None or subprocess.run([*made.prefix, "true"], check=False).returncode
    ):
        pytest.skip("this root may not start programs as another user with capabilities of its own")
    yield made
    print(made.messages.read_text())
    made.close()


def is_closed(pid: int) -> bool:
    """Whether the process is closed to its own user: then its memory is root's."""
    return Path(f"/proc/{pid}/environ").stat().st_uid == 0


def core_limit(pid: int) -> str:
    """The limit that holds for the size of the process's core."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in limits if line.startswith("Max core file size")).split()[4]


def test_daemons_and_supervisors_are_closed_and_tasks_are_not(machine: OtherUser) -> None:
    listen = ("--grpc-listen", "127.0.0.1:0", "--http-listen", "")
    with machine.running("leader", *listen) as leader:
        until(lambda: (machine.data_dir / "leader" / "leader.json").exists(), "the leader is ready")
        assert is_closed(leader)
        assert core_limit(leader) == "0"
        with machine.running("worker") as worker:
            until(lambda: (machine.data_dir / "worker" / "worker.sock").exists(), "the worker is ready")
            assert is_closed(worker)
            arguments = ["run", "--run", "r", "--task", "t", "--quiet", "--", "sh", "-c", "echo $$; exec sleep 60"]
            with machine.running(*arguments) as supervisor:
                locks = "worker/spool/*/lock"
                task = until(lambda: max(map(_task_of, machine.data_dir.glob(locks)), default=0), "the task runs")
                assert is_closed(supervisor)
                assert not is_closed(task)


def _task_of(lock: Path) -> int:
    try:
        return int(json.loads(lock.read_bytes())["task"])
    except (ValueError, KeyError, TypeError):
        return 0
