"""joblog.service: what is called when, whatever fails; signals in a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest

from joblog.errors import Conflict
from joblog.service import EXIT_ABORTED, EXIT_CRASHED, Service, serve


class Recorder(Service):
    """Writes down each call; fails where told to."""

    def __init__(self, name: str, calls: list[str], fail: str = "", error: Exception | None = None) -> None:
        self.name = name
        self.calls = calls
        self.failing = fail
        self.error = error or RuntimeError(f"{name} fails")

    def _note(self, what: str) -> None:
        self.calls.append(f"{what} {self.name}")
        if self.failing == what:
            raise self.error

    async def start(self) -> None:
        self._note("start")

    async def run(self) -> None:
        self._note("run")
        try:
            await asyncio.Event().wait()
        finally:
            self.calls.append(f"end {self.name}")

    async def drain(self, deadline_seconds: float) -> None:
        assert deadline_seconds >= 0
        self._note("drain")

    async def stop(self) -> None:
        self._note("stop")


class Trigger(Recorder):
    """Asks the daemon to stop as soon as it runs."""

    def __init__(self, calls: list[str], stopping: asyncio.Event) -> None:
        super().__init__("trigger", calls)
        self.stopping = stopping

    async def run(self) -> None:
        self.stopping.set()
        await super().run()


def run(services: Sequence[Service], stopping: asyncio.Event | None = None, drain_seconds: float = 5.0) -> int:
    async def main() -> int:
        async with asyncio.timeout(20):
            return await serve(services, drain_seconds=drain_seconds, stop_seconds=0.2, stopping=stopping, signals=())

    return asyncio.run(main())


def test_order_of_calls() -> None:
    calls: list[str] = []
    stopping = asyncio.Event()
    assert run([Recorder("a", calls), Recorder("b", calls), Trigger(calls, stopping)], stopping) == 0
    assert [call for call in calls if call.startswith("start")] == ["start a", "start b", "start trigger"]
    assert calls.index("start trigger") < calls.index("run a")
    ends = ["drain", "end", "stop"]
    expected = [f"{what} {name}" for name in ("trigger", "b", "a") for what in ends]
    assert [call for call in calls if call.split()[0] in ends] == expected


def test_failed_start_stops_those_that_started() -> None:
    calls: list[str] = []
    broken = Recorder("b", calls, fail="start", error=Conflict("port 7080 is in use"))
    assert run([Recorder("a", calls), broken, Recorder("c", calls)]) == Conflict.exit_code
    assert calls == ["start a", "start b", "stop a"]


def test_crash_drains_the_others_and_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    assert run([Recorder("a", calls), Recorder("b", calls, fail="run")]) == EXIT_CRASHED
    assert "drain a" in calls and "drain b" not in calls
    assert calls[-3:] == ["drain a", "end a", "stop a"] and "stop b" in calls
    assert "b ended, and the daemon with it: b fails" in caplog.text
    assert "Traceback" in caplog.text


def test_early_return_counts_as_crash() -> None:
    class Short(Recorder):
        async def run(self) -> None:
            return

    calls: list[str] = []
    assert run([Recorder("a", calls), Short("b", calls)]) == EXIT_CRASHED
    assert calls[-1] == "stop a"


@pytest.mark.parametrize("moment", ["drain", "stop"])
def test_failure_on_the_way_down_keeps_nobody_from_stopping(moment: str) -> None:
    calls: list[str] = []
    stopping = asyncio.Event()
    services = [Recorder("a", calls), Recorder("b", calls, fail=moment), Trigger(calls, stopping)]
    assert run(services, stopping) == EXIT_CRASHED
    assert calls[-3:] == ["drain a", "end a", "stop a"]
    assert calls.count("stop b") == 1


def test_drain_that_overruns_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Recorder):
        async def drain(self, deadline_seconds: float) -> None:
            self._note("drain")
            await asyncio.Event().wait()

    calls: list[str] = []
    stopping = asyncio.Event()
    services = [Slow("a", calls), Trigger(calls, stopping)]
    assert run(services, stopping, drain_seconds=0.05) == EXIT_ABORTED
    assert calls[-1] == "stop a"
    assert "a: not drained in time" in caplog.text


def test_hanging_stop_is_bounded() -> None:
    class Hanging(Recorder):
        async def stop(self) -> None:
            await asyncio.Event().wait()

    calls: list[str] = []
    stopping = asyncio.Event()
    assert run([Recorder("a", calls), Hanging("b", calls), Trigger(calls, stopping)], stopping) == EXIT_CRASHED
    assert calls[-1] == "stop a"


def test_stop_during_start() -> None:
    stopping = asyncio.Event()

    class Starting(Recorder):
        async def start(self) -> None:
            self._note("start")
            stopping.set()
            await asyncio.Event().wait()

    calls: list[str] = []
    assert run([Recorder("a", calls), Starting("b", calls)], stopping) == 0
    assert calls == ["start a", "start b", "stop a"]


def test_cancelled_serve_still_stops_all() -> None:
    calls: list[str] = []

    async def main() -> None:
        stopping = asyncio.Event()
        trigger = Trigger(calls, asyncio.Event())
        task = asyncio.create_task(
            serve([Recorder("a", calls), trigger], drain_seconds=5, stopping=stopping, signals=())
        )
        await asyncio.wait_for(trigger.stopping.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert "drain a" not in calls
    assert calls[-1] == "stop a"


DAEMON = textwrap.dedent("""
    import asyncio, sys
    from joblog.service import Service, run_loop, serve

    class Draining(Service):
        name = "draining"
        async def run(self):
            print("running", flush=True)
            await super().run()
        async def drain(self, deadline_seconds):
            print("draining", flush=True)
            if sys.argv[1] == "hang":
                await asyncio.Event().wait()
        async def stop(self):
            print("stopped", flush=True)

    sys.exit(run_loop(lambda: serve([Draining()], drain_seconds=60)))
""")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("mode", "exit_code"), [("quick", 0), ("hang", EXIT_ABORTED)])
def test_signals(number: signal.Signals, mode: str, exit_code: int) -> None:
    command = [sys.executable, "-c", DAEMON, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "running\n"
            os.kill(process.pid, number)
            assert process.stdout.readline() == "draining\n"
            if mode == "hang":
                os.kill(process.pid, number)
            assert process.stdout.read() == "stopped\n"
            assert process.wait(20) == exit_code
        finally:
            process.kill()
