"""One watcher of several is active: by a lease at a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.errors import Denied, Unavailable
from joblog.worker.cluster.lease import Elector
from joblog.worker.kubernetes.client import Connection
from tests.kubernetes_api import KubernetesApi, kubernetes_api


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with kubernetes_api() as server:
        yield server


def elector(api: KubernetesApi, folder: Path, name: str, seconds: float = 1.5) -> Elector:
    connection = Connection(str(api.kubeconfig(folder / f"kubeconfig-{name}")))
    return Elector(connection, "ns", "joblog-watch", name, lease_seconds=seconds)


def holder(api: KubernetesApi) -> str:
    lease = api.lease("ns", "joblog-watch")
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


async def test_of_many_one_holds_it_and_gives_it_back(api: KubernetesApi, tmp_path: Path) -> None:
    electors = [elector(api, tmp_path, f"e{number}") for number in range(3)]
    waiting = {asyncio.create_task(one.start()): one for one in electors}
    order = []
    while waiting:
        done, _ = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        active = waiting.pop(done.pop())
        order.append(active)
        assert holder(api) == active._identity
        # Renewed, it stays its own, for longer than it is good.
        await asyncio.sleep(1.7)
        assert holder(api) == active._identity
        assert not any(task.done() for task in waiting)
        await active.stop()
    assert len(set(order)) == 3
    lease = api.lease("ns", "joblog-watch")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] >= 2


async def test_who_can_not_renew_it_ends_before_another_one_takes_over(api: KubernetesApi, tmp_path: Path) -> None:
    first, second = elector(api, tmp_path, "first"), elector(api, tmp_path, "second")
    await first.start()
    running = asyncio.create_task(first.run())
    api.faults.refuse = True
    ended = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="is lost"):
        await asyncio.wait_for(running, 10)
    ended = asyncio.get_running_loop().time() - ended
    assert ended < 1.5
    api.faults.refuse = False
    await asyncio.wait_for(second.start(), 10)
    assert holder(api) == "second"
    # It does not give back what is not its own any more.
    await first.stop()
    assert holder(api) == "second"
    await second.stop()


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"metadata": 7, "spec": {}},
        {"metadata": {"resourceVersion": 5}, "spec": {}},
        {"metadata": {"resourceVersion": "5"}, "spec": ["holderIdentity"]},
        {"metadata": {"resourceVersion": "5"}, "spec": {"holderIdentity": {"a": 1}}},
    ],
)
async def test_what_is_no_lease_is_said_and_asked_for_again(
    api: KubernetesApi, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """Whoever answers as the API server may say anything: before the lease is held, and while it is."""
    one = elector(api, tmp_path, "e", seconds=0.5)
    api.answer_lease(answer)
    starting = asyncio.create_task(one.start())
    while "tried again" not in caplog.text:
        assert not starting.done()
        await asyncio.sleep(0.01)
    assert "what came is no" in caplog.text
    api.answer_lease(None)
    await asyncio.wait_for(starting, 10)
    running = asyncio.create_task(one.run())
    api.answer_lease(answer)
    with pytest.raises(Unavailable, match="is lost"):
        await asyncio.wait_for(running, 10)
    await one.stop()


async def test_who_may_not_have_it_is_told(api: KubernetesApi, tmp_path: Path) -> None:
    one = elector(api, tmp_path, "e")
    file = tmp_path / "kubeconfig-e"
    file.write_text(file.read_text().replace("test-token", "another"))
    with pytest.raises(Denied, match="401"):
        await one.start()
    await one._connection.close()
