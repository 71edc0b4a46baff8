"""The other end of a worker daemon's control socket, for programs on the same machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from joblog.errors import Denied, Unavailable
from joblog.worker.control import protocol

SOCKET_NAME = "worker.sock"


def socket_path(data_dir: str | os.PathLike[str]) -> str:
    """Where the daemon of a data folder listens."""
    return os.path.join(data_dir, "worker", SOCKET_NAME)


class ControlClient:
    """Asks the worker daemon that listens at a path.

    Each call makes a connection of its own. All raise Unavailable when no daemon answers within timeout_seconds, and
    the error that the daemon answers with.
    """

    def __init__(self, path: str, timeout_seconds: float = 10.0) -> None:
        self.path = path
        self.timeout_seconds = timeout_seconds

    def ping(self) -> dict[str, Any]:
        """Who answers: pid, worker_id, version."""
        return self._ask("ping")

    def spool_key(self) -> str:
        """The key for a new sealed spool, in hexadecimal digits. Raises Unavailable where there is none now."""
        return str(self._ask("spool_key")["key"])

    def adopt(self, *spool_ids: str) -> None:
        """Makes the daemon ship spools that lie in its folder."""
        self._ask("adopt", spool_ids=list(spool_ids))

    def start(self, order: dict[str, Any]) -> dict[str, Any]:
        """Makes the daemon start a task that goes on without this process; see joblog.worker.order.

        Returns what it became: spool_ids (the task's first), pid (of its supervisor), namespace, run, task, attempt.
        """
        return self._ask("start", order=order)

    def list(self) -> list[dict[str, Any]]:
        """The tasks whose spools are on this machine, the oldest first; see joblog.worker.tasks.TaskState."""
        tasks: list[dict[str, Any]] = self._ask("list")["tasks"]
        return tasks

    def signal(self, spool_id: str, number: int) -> None:
        """Sends a signal to a running task's process group."""
        self._ask("signal", spool_id=spool_id, signal=number)

    def attach(self, spool_id: str, from_offset: int = 0) -> Iterator[dict[str, Any]]:
        """What the task prints, from an offset on, as it comes: messages with one key, "frame", "gap" or, last, "end".

        A frame's data is base64. Waits without limit for the next one.
        """
        with self._send("attach", spool_id=spool_id, from_offset=from_offset) as sock, sock.makefile("rb") as file:
            protocol.check_reply(self._read(file))
            sock.settimeout(None)
            while True:
                message = protocol.check_reply(self._read(file))
                yield message
                if "end" in message:
                    return

    def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        with self._send(op, **fields) as sock, sock.makefile("rb") as file:
            answer: dict[str, Any] = protocol.check_reply(self._read(file))["ok"]
            return answer

    def _send(self, op: str, **fields: Any) -> Any:
        line = protocol.encode({"version": protocol.VERSION, "op": op, **fields})
        try:
            sock = protocol.connect(self.path, self.timeout_seconds)
        except PermissionError:
            raise Denied(
                f"the worker at {self.path} belongs to another user: only that user and root may ask"
            ) from None
        except OSError as error:
            raise Unavailable(
                f"no worker answers at {self.path} ({error.strerror}): start one with `joblog worker`"
            ) from None
        try:
            sock.sendall(line)
        except OSError as error:
            sock.close()
            raise self._lost(error) from None
        return sock

    def _read(self, file: Any) -> protocol.Message:
        try:
            line: bytes = file.readline(protocol.MAX_MESSAGE_BYTES + 1)
        except OSError as error:
            raise self._lost(error) from None
        if not line:
            raise Unavailable(f"the worker at {self.path} ended before it had answered")
        return protocol.decode(line)

    def _lost(self, error: OSError) -> Unavailable:
        return Unavailable(f"the worker at {self.path} does not answer: {error.strerror or error}")
