"""The node agent and real containers: what containerd writes, also while it is asked to reopen its files."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import grpc
import pytest

from joblog.identity import LogName
from tests.containerd import Runtime, missing, runtime
from tests.e2e.machine import until
from tests.fault.node import node
from tests.kubelet_writer import ContainerLog

pytestmark = pytest.mark.containerd
# Lines that tell where one is missing, some of them longer than a line of the file may be; both streams; no end.
SCRIPT = """
i=0
long=$(busybox head -c 40000 /dev/zero | busybox tr '\\0' x)
while [ $i -lt 4000 ]; do
  echo "line $i"
  [ $((i % 97)) = 0 ] && echo "$long $i" >&2
  [ $((i % 200)) = 0 ] && busybox sleep 0.3
  i=$((i + 1))
done
busybox printf 'no newline at the end'
""".replace("busybox", "/bin/busybox")


def expected(stream: int) -> bytes:
    if stream == 2:
        return b"".join(b"x" * 40_000 + f" {i}\n".encode() for i in range(0, 4000, 97))
    return b"".join(f"line {i}\n".encode() for i in range(4000)) + b"no newline at the end"


@pytest.mark.timeout(300)
def test_real_containers_rotated_as_the_kubelet_does(tmp_path: Path) -> None:
    """With the agent killed twice on the way; the pod is removed right after the container's end."""
    if reason := missing():
        pytest.skip(reason)
    # A socket's path is short.
    short = Path(tempfile.mkdtemp(prefix="jlc-"))
    try:
        with runtime(short) as containers, node(tmp_path, JOBLOG_KUBERNETES_MAX_FILES="50") as where:
            where.start()
            until(lambda: where.collects(1), "the agent collects")
            folder = where.pods / "ci_real_0a1b"
            pod = containers.run_pod("ci", "real", "0a1b", folder)
            (folder / "main").mkdir(parents=True, exist_ok=True)
            container = containers.start(pod, "main", 0, SCRIPT)
            rotated = 0
            while not containers.has_exited(container):
                rotated += rotate(containers, container, folder / "main" / "0.log", rotated)
                if rotated in (2, 5):
                    where.kill()
                    where.start()
                time.sleep(0.4)
            assert rotated > 3
            containers.remove_pod(pod)
            until(lambda: where.collects(2), "the agent collects again")
            name = LogName("ci", "real", "main", 1)
            length = len(expected(1)) + len(expected(2))
            log = ContainerLog.__new__(ContainerLog)
            log.namespace, log.pod, log.container, log.restart = "ci", "real", "main", 0
            until(lambda: (found := where.record(log)) and found.log.next_offset >= length, "all is stored", 120)
            shutil.rmtree(folder)
            until(lambda: (found := where.record(log)) and found.log.outcome.message, "the log has its end")
            for stream in (1, 2):
                assert where.content(name, stream) == expected(stream), stream
            assert len(where.content(name)) == length
            where.cluster.assert_no_crash()
    finally:
        shutil.rmtree(short, ignore_errors=True)


def rotate(containers: Runtime, container: str, path: Path, number: int) -> bool:
    """rotateLatestLog; False where the container has ended meanwhile: then the kubelet takes the renaming back."""
    rotated = Path(f"{path}.20260131-{120000 + number}")
    if not path.exists():
        return False
    os.rename(path, rotated)
    try:
        containers.reopen_log(container)
    except grpc.RpcError:
        os.rename(rotated, path)
        return False
    return True
