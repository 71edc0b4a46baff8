"""Where `joblog run` gets the key of its spool: from the daemon, or, where none runs, from the leader itself.

It is handed on in memory and through pipes only; no file, argument or variable ever holds it.
"""

from __future__ import annotations

import os
import subprocess
import time

from joblog.errors import InvalidInput, JoblogError, Unavailable
from joblog.worker.control.client import ControlClient, socket_path
from joblog.worker.control.protocol import connect
from joblog.worker.delivery import say
from joblog.worker.isolated import isolated_command
from joblog.worker.order import Place

DEPOSIT = "joblog.worker.shipper.deposit"
_ASK_SECONDS = 20.0
_LEAST_PAUSE_SECONDS = 0.2
_PAUSE_SECONDS = 2.0


def with_key(place: Place, wait_seconds: float = float("inf")) -> Place:
    """The place with the key for a new spool in it, where spools are to be sealed.

    Waits until there is one, saying once what for; raises Unavailable when wait_seconds are over.
    """
    if not place.sealed:
        return place
    deadline = time.monotonic() + wait_seconds
    pause, said = _LEAST_PAUSE_SECONDS, ""
    while True:
        try:
            return place._replace(spool_key=_ask(place))
        except Unavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            if str(error) != said:
                said = str(error)
                say(f"waiting: {said}")
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE_SECONDS)


def _ask(place: Place) -> str:
    """Raises Unavailable where there is no key now."""
    try:
        connect(socket_path(place.data_dir), timeout_seconds=2.0).close()
    except OSError:
        return _deposit(place)
    try:
        return ControlClient(socket_path(place.data_dir), timeout_seconds=_ASK_SECONDS).spool_key()
    except InvalidInput as error:
        raise JoblogError(f"the worker daemon here does not know of sealed spools, restart it: {error}") from None


def _deposit(place: Place) -> str:
    command = isolated_command(DEPOSIT, "--data-dir", place.data_dir, "--leader", place.leader)
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False, timeout=None
    )
    if done.returncode == 0:
        return done.stdout.decode()
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raise Unavailable(said[-1] if said else "the leader could not be asked for a spool key")
