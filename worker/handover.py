"""An order on its way to the process that carries it out: as JSON through a file descriptor, never in its arguments.

Arguments can be seen by everybody on the machine; an order may hold secrets.
"""

from __future__ import annotations

import os
from typing import NoReturn

from joblog.worker.capture.standard import open_standard_descriptors
from joblog.worker.control.client import socket_path
from joblog.worker.control.protocol import connect
from joblog.worker.isolated import isolated_command
from joblog.worker.order import Order, Place, pack

PROGRAM = "joblog.worker.task"
NO_DAEMON = -1


def become_supervisor(order: Order, place: Place) -> NoReturn:
    """Replaces this process by the task's supervisor. Where spools are sealed, waits for a key before."""
    open_standard_descriptors()
    if place.sealed:
        from joblog.worker.keyhand import with_key

        place = with_key(place)
    daemon = _reach_daemon(place)
    source = os.memfd_create("joblog-order", 0)
    with os.fdopen(source, "wb", closefd=False) as file:
        file.write(pack(order, place, daemon))
    os.lseek(source, 0, os.SEEK_SET)
    command = isolated_command(PROGRAM, str(source))
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _reach_daemon(place: Place) -> int:
    """A descriptor, inherited by what this process becomes, on which the daemon listens; NO_DAEMON where none runs."""
    try:
        sock = connect(socket_path(place.data_dir), timeout_seconds=2.0)
    except OSError:
        return NO_DAEMON
    sock.setblocking(True)
    sock.set_inheritable(True)
    return sock.detach()
