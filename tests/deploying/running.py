"""Runs leader and agent of the image with the users, mounts and variables of config/kubernetes/joblog.yaml.

In namespaces of their own: `unshare --mount python -m tests.deploying.running FOLDER`. It ends with an error, or says
that a container's log came through.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.deploying.conftest import ROOT
from tests.deploying.image import Stage, built
from tests.deploying.manifests import objects, one, variables

LINES = [f"line {number}" for number in range(2000)]
POD = "ci_hello-x1_5f3c0a7e-0000-4000-8000-000000000001"
LEADER = "65532:65532"
_CLONE_NEWNET = 0x40000000


class Running:
    """The image with its root read-only, and the volumes that the manifests mount."""

    def __init__(self, image: Stage) -> None:
        self._image = image
        found = objects((ROOT / "config/kubernetes/joblog.yaml").read_text())
        self._leader = variables(one(found, "StatefulSet", "joblog-leader"))
        self._agent = variables(one(found, "DaemonSet", "joblog-agents"))
        self._started: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        image = self._image
        image.workdir = "/"
        for folder in ("/data", "/var/log/pods", "/var/lib/joblog", "/etc/joblog/token"):
            image.inside(folder).mkdir(parents=True, exist_ok=True)
        image.inside("/etc/hosts").write_text("127.0.0.1 localhost joblog-leader.joblog.svc\n")
        self._mount("/data", "uid=0,gid=65532,mode=2775")
        self._mount("/var/lib/joblog", "mode=755")
        self._mount("/etc/joblog/token", "mode=755")
        self._mount("/tmp", "mode=1777")
        container = image.inside(f"/var/log/pods/{POD}/main")
        container.mkdir(parents=True)
        log = container / "0.log"
        log.write_text("".join(f"2026-01-31T12:00:00.000000000Z stdout F {line}\n" for line in LINES))
        log.chmod(0o640)
        subprocess.run(["mount", "-o", "remount,ro", image.root], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def _mount(self, folder: str, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self._image.inside(folder)], check=True)

    def start_leader(self) -> None:
        self._start(LEADER, self._leader, "leader")

    def start_agent(self) -> None:
        # Nobody to ask here.
        self._start("0:0", self._agent | {"NODE_NAME": "node-a", "JOBLOG_KUBERNETES_API_MODE": "off"}, "worker")

    def _start(self, user: str, environment: dict[str, str], *words: str) -> None:
        uid, gid = user.split(":")
        self._started.append(
            subprocess.Popen(
                [
                    *("chroot", str(self._image.root), "setpriv", f"--reuid={uid}", f"--regid={gid}"),
                    *("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
                    *(*self._image.entrypoint, *words),
                ],
                env=self._image.environment | environment,
            )
        )

    def leaders(self, *words: str, stdin: str = "") -> str:
        """As `kubectl exec joblog-leader-0 --` would: what it prints; empty when it fails."""
        command = self._image.command(*words, user=LEADER)
        done = subprocess.run(
            command,
            env=self._image.environment | self._leader,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 else ""

    def give_token(self, text: str) -> None:
        path = self._image.inside("/etc/joblog/token/token")
        path.write_text(text)
        path.chmod(0o400)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            for process in self._started:
                assert process.poll() is None, f"a daemon ended with {process.returncode}"
            time.sleep(0.2)

    def stop(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            assert process.wait(60) == 0


PROBE = """
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
urllib.request.urlopen("https://127.0.0.1:7081/" + sys.argv[1], context=context, timeout=5)
print("ok")
"""


def main(folder: Path) -> None:
    with built(folder) as image:
        # Its ports are its own, and RUN steps had the network.
        assert ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0
        running = Running(image)
        running.prepare()
        running.start_leader()
        running.until(lambda: running.leaders("python", "-c", PROBE, "readyz") == "ok\n", "the leader is ready")
        token = running.leaders(
            *("joblog", "token", "create", "--role", "writer", "--name", "agents", "--lifetime", "never"),
            *("--address", "joblog-leader.joblog.svc:7080"),
        )
        assert token.startswith("jl1."), token
        running.give_token(token)
        running.start_agent()
        expected = "".join(f"{line}\n" for line in LINES)
        read = ("joblog", "logs", "-n", "ci", "hello-x1/main")
        running.until(lambda: running.leaders(*read) == expected, "the container's log is there")
        assert "https://" in running.leaders("joblog", "ui")
        running.stop()
        print("all that the container printed is in its log")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
