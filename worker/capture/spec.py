"""What a supervisor is asked to run, and how it went."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# As in the proto's OutcomeKind.
EXITED = 1
SIGNALED = 2
NOT_STARTED = 3
TIMED_OUT = 5

NOT_FOUND_CODE = 127
NOT_RUNNABLE_CODE = 126


class TaskSpec:
    """A command to run under supervision.

    environment: None for this process's own. cwd: "" for this process's own. stdin: whether the task gets this
    process's standard input; else /dev/null. pty: it gets a terminal of its own, stdout and stderr in one.
    timeout_seconds: 0 for none. grace_seconds: from the first SIGINT, SIGTERM, SIGQUIT, SIGHUP or the time limit to
    SIGKILL. exit_wait_seconds: how long background processes that hold the output are waited for after the task's end.
    pipe_bytes: size of the pipes; the kernel may give less.
    """

    __slots__ = (
        "command",
        "cwd",
        "environment",
        "exit_wait_seconds",
        "grace_seconds",
        "pipe_bytes",
        "pty",
        "stdin",
        "timeout_seconds",
    )

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: str = "",
        stdin: bool = True,
        pty: bool = False,
        timeout_seconds: float = 0.0,
        grace_seconds: float = 10.0,
        exit_wait_seconds: float = 5.0,
        pipe_bytes: int = 1 << 20,
    ) -> None:
        self.command = tuple(command)
        self.environment = environment
        self.cwd = cwd
        self.stdin = stdin
        self.pty = pty
        self.timeout_seconds = timeout_seconds
        self.grace_seconds = grace_seconds
        self.exit_wait_seconds = exit_wait_seconds
        self.pipe_bytes = pipe_bytes


class Outcome:
    """How a task ended; the fields are those of the proto's Outcome. exit_code is 128+n where signal n ended it."""

    __slots__ = (
        "cpu_seconds",
        "ended_ns",
        "exit_code",
        "kind",
        "message",
        "oom_killed",
        "peak_memory_bytes",
        "signal",
        "started_ns",
    )

    def __init__(
        self,
        kind: int,
        *,
        exit_code: int = 0,
        signal: int = 0,
        oom_killed: bool = False,
        started_ns: int = 0,
        ended_ns: int = 0,
        cpu_seconds: float = 0.0,
        peak_memory_bytes: int = 0,
        message: str = "",
    ) -> None:
        self.kind = kind
        self.exit_code = exit_code
        self.signal = signal
        self.oom_killed = oom_killed
        self.started_ns = started_ns
        self.ended_ns = ended_ns
        self.cpu_seconds = cpu_seconds
        self.peak_memory_bytes = peak_memory_bytes
        self.message = message

    def fields(self) -> dict[str, object]:
        """The fields by name, as the end record holds them."""
        return {name: getattr(self, name) for name in self.__slots__}
