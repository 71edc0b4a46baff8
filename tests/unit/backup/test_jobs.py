"""One job at a time, watched by whoever likes, and ended with the leader."""

from __future__ import annotations

import asyncio
import threading

import pytest

from joblog.errors import Conflict, Corrupt, Interrupted, JoblogError
from joblog.leader.backup.jobs import Job, Jobs, JobState


async def states(job: Job) -> list[JobState]:
    return [state async for state in job.watch()]


async def test_one_at_a_time() -> None:
    jobs, go = Jobs(), threading.Event()

    def work(job: Job) -> None:
        job.tell(done_bytes=5, total_bytes=10)
        assert go.wait(10)
        job.tell(done_bytes=10)

    first = jobs.start(Job("backup", "x", "asked"), work)
    with pytest.raises(Conflict, match="backup x is under way"):
        jobs.start(Job("verify", "y", "asked"), work)
    watching = asyncio.create_task(states(first))
    go.set()
    seen = await watching
    assert seen[-1].finished_ns and seen[-1].done_bytes == 10
    # Who comes late hears of the end.
    assert [state.done_bytes for state in await states(first)] == [10]
    second = jobs.start(Job("verify", "y", "asked"), lambda _job: None)
    await states(second)
    await jobs.close()


@pytest.mark.parametrize(
    ("raised", "said"), [(Corrupt("it is damaged"), "it is damaged"), (ValueError("a secret"), "its log says more")]
)
async def test_what_went_wrong_is_told_to_all(raised: Exception, said: str) -> None:
    def work(_job: Job) -> None:
        raise raised

    jobs = Jobs()
    job = jobs.start(Job("backup", "x", "asked"), work)
    for _ in range(2):
        with pytest.raises(JoblogError, match=said):
            await states(job)
    assert said in job.state.error and "secret" not in job.state.error


async def test_a_leader_that_stops_ends_the_job_and_takes_no_other() -> None:
    jobs, stopped = Jobs(), threading.Event()

    def work(_job: Job) -> None:
        assert stopped.wait(10)
        raise Interrupted("stopped")

    job = Job("backup", "x", "asked")
    job.stops_by(stopped.set)
    jobs.start(job, work)
    await jobs.close()
    assert job.state.finished_ns
    with pytest.raises(Interrupted):
        jobs.start(Job("backup", "y", "asked"), work)


async def test_a_job_that_is_still_beginning_when_the_leader_stops_ends_too() -> None:
    jobs, begun, go, stopped = Jobs(), threading.Event(), threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        assert go.wait(10)
        job.stops_by(stopped.set)
        assert stopped.is_set()
        raise Interrupted("stopped")

    job = jobs.start(Job("backup", "x", "asked"), work)
    assert await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(jobs.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert job.state.error == "stopped"
