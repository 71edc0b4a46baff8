"""`joblog pipe`: standard input is a task's output, and passes through."""

from __future__ import annotations

from joblog.worker.arguments import parse_pipe
from joblog.worker.delivery import say
from joblog.worker.handover import become_supervisor
from joblog.worker.run import announce


def main(arguments: list[str]) -> int:
    """Runs the command line after `joblog pipe`. Raises JoblogError; does not return otherwise."""
    request = parse_pipe(arguments)
    for warning in request.warnings:
        say(warning)
    announce(request)
    become_supervisor(request.order, request.place)
