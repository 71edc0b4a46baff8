"""Starts a task for the daemon: under a supervisor that is nobody's child, so that it outlives the daemon."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from joblog.errors import Unavailable
from joblog.worker.control import protocol
from joblog.worker.control.protocol import Message
from joblog.worker.isolated import isolated_command
from joblog.worker.order import Place, order_from_fields, pack, place_from_settings
from joblog.worker.settings import WorkerSettings
from joblog.worker.spool.sealing import SpoolKey

START_SECONDS = 30.0
# A client that gets no task is told why, and may ask again.
KEY_SECONDS = 5.0
PROGRAM = "joblog.worker.task"


def launcher(
    settings: WorkerSettings, data_dir: Path, current_key: Callable[[float], Awaitable[SpoolKey]]
) -> Callable[[Message], Awaitable[Message]]:
    """What the control server starts tasks with. current_key: SpoolKeys.current."""
    place = place_from_settings(settings, data_dir, settings.leader)

    async def start(fields: Message) -> Message:
        keyed = place
        if place.sealed:
            keyed = place._replace(spool_key=(await current_key(KEY_SECONDS)).key.hex())
        return await launch(fields, keyed)

    return start


async def launch(fields: Message, place: Place) -> Message:
    """Carries out an order that came as JSON; returns what ControlClient.start does.

    The order goes through a pipe: it may hold secrets. Raises InvalidInput for a bad order, OutOfSpace and Denied from
    making its spool, Unavailable when the supervisor does not start.
    """
    order = order_from_fields(fields)
    answer, complaint = await asyncio.to_thread(_start, pack(order, place, daemon=-1))
    try:
        started: Message = protocol.check_reply(json.loads(answer))["ok"]
    except (ValueError, KeyError):
        said = complaint.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"the supervisor ended at its start: {said[-1] if said else 'it did not say why'}") from None
    return started


def _start(order: bytes) -> tuple[bytes, bytes]:
    """What the supervisor answers, and what it complains of. Blocks, so that it can be started by vfork.

    A fork of a process in which gRPC's threads run may not come to its exec.
    """
    with subprocess.Popen(
        isolated_command(PROGRAM, "--detached"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(order, START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Unavailable(
                f"the supervisor did not start within {START_SECONDS:g} s: is this machine overloaded?"
            ) from None
