"""Entry point of the `joblog` command.

The commands that start a task load neither the command-line library nor gRPC: a task is to start as if it were started
without joblog. Everything else goes to joblog.cli.app.
"""

from __future__ import annotations

import os
import sys

LIGHT_COMMANDS = ("run", "pipe")
# As a shell reports a program that SIGPIPE or SIGINT ended.
BROKEN_PIPE_EXIT_CODE = 141
INTERRUPTED_EXIT_CODE = 130


def main(argv: list[str] | None = None) -> int:
    """Runs the command line, without the program's name, and returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    from joblog.errors import JoblogError

    try:
        if arguments and arguments[0] in LIGHT_COMMANDS:
            return _run_light(arguments[0], arguments[1:])
        # What the library says of each failed handshake is no line of ours. It reads this when it is loaded.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from joblog.cli.app import run_app

        return run_app(arguments)
    except JoblogError as error:
        _say(f"joblog: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        return _after_broken_pipe()
    except Exception as error:
        if not _was_interrupted(error):
            raise
        return INTERRUPTED_EXIT_CODE


def _run_light(command: str, arguments: list[str]) -> int:
    if command == "run":
        from joblog.worker.run import main as run

        return run(arguments)
    from joblog.worker.pipe import main as pipe

    return pipe(arguments)


def _was_interrupted(error: BaseException) -> bool:
    """Whether it was raised on the way out of an interrupt, as gRPC does: it lets go of a lock it was waiting for."""
    before = error.__context__
    return before is not None and (isinstance(before, KeyboardInterrupt) or _was_interrupted(before))


def _say(message: str) -> None:
    from joblog.cli.terminal import shown_text

    try:
        sys.stdout.flush()
        # It may quote what a worker, a bucket or a leader said.
        sys.stderr.write(shown_text(message) + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def _after_broken_pipe() -> int:
    # What is still in stdout's own buffer would raise again when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return BROKEN_PIPE_EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
