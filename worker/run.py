"""`joblog run`: a command's output is collected while it runs, and its exit code is passed on.

This process reads arguments and settings, and then becomes the supervisor: a Python that has loaded little else.
"""

from __future__ import annotations

import sys

from joblog.identity import DEFAULT_NAMESPACE
from joblog.worker.arguments import Request, parse_run
from joblog.worker.control.client import ControlClient, socket_path
from joblog.worker.delivery import say
from joblog.worker.handover import become_supervisor


def main(arguments: list[str]) -> int:
    """Runs the command line after `joblog run`; returns, with --detach only, 0. Raises JoblogError."""
    request = parse_run(arguments)
    for warning in request.warnings:
        say(warning)
    if not request.detach:
        announce(request)
        become_supervisor(request.order, request.place)
    return _detach(request)


def announce(request: Request) -> None:
    """Tells where the output can be watched, when the user did not say so himself."""
    order = request.order
    if request.named or order.quiet:
        return
    option = "" if order.namespace == DEFAULT_NAMESPACE else f"--namespace {order.namespace} "
    say(f"run {order.run}, task {order.task}; watch: joblog logs -f {option}{order.run}/{order.task}")


def _detach(request: Request) -> int:
    if request.place.sealed:
        from joblog.worker.keyhand import with_key

        # The daemon has its own; what is waited for is that there is one.
        with_key(request.place)
    client = ControlClient(socket_path(request.place.data_dir), timeout_seconds=60.0)
    started = client.start(request.order._asdict())
    sys.stdout.write(f"{started['run']}/{started['task']}\n")
    return 0
