"""Pods as an agent knows them, from a server that speaks the watch API: changes, cuts, what was forgotten, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.config import ConfigException

from joblog.errors import Denied, InvalidSettings, NotFound, Unavailable
from joblog.identity import LogName
from joblog.worker.kubernetes.api_pods import ApiPods, LabelSelection
from joblog.worker.kubernetes.client import Connection, KubernetesClient
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef, Excluded, LogTarget, NotYet, Selection
from joblog.worker.kubernetes.presets import preset
from joblog.worker.kubernetes.rules import Identity
from joblog.worker.kubernetes.watching import Watched
from tests.kubernetes_api import KubernetesApi, kubernetes_api
from tests.unit.kubernetes_pods import ended, pod_json, state_of


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with kubernetes_api() as server:
        yield server


@asynccontextmanager
async def pods_of(api: KubernetesApi, folder: Path, **options: Any) -> AsyncIterator[ApiPods]:
    connection = Connection(str(api.kubeconfig(folder / "kubeconfig")))
    options.setdefault("watched", Watched(node="node-1"))
    pods = ApiPods(connection, options.pop("watched"), options.pop("identity", Identity()), **options)
    running = asyncio.create_task(pods.run())
    try:
        yield pods
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pods.stop()


async def until(condition: Any, what: str) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited in vain until {what}")


def ref(name: str, container: str = "main", restart: int = 0) -> ContainerRef:
    return ContainerRef("team-a", name, f"uid-of-{name}", container, restart)


def names(pods: ApiPods) -> set[str]:
    return {pod.name for pod in pods.all()}


async def test_the_pods_of_this_node_are_known_and_followed(api: KubernetesApi, tmp_path: Path) -> None:
    for number in range(3):
        api.put_pod(pod_json(f"p{number}"))
    api.put_pod(pod_json("elsewhere", node="node-2"))
    async with pods_of(api, tmp_path, identity=Identity(preset("job"))) as pods:
        assert await pods.wait_synced(20)
        assert names(pods) == {"p0", "p1", "p2"}
        api.put_pod(pod_json("late", owner=("Job", "etl")))
        await until(lambda: "late" in names(pods), "the new pod is known")
        target = await pods.target(ref("late"))
        assert isinstance(target, LogTarget)
        assert target.name == LogName("team-a", "etl", "main", 0)
        assert target.host == "node-1"
        assert target.started_ns
        assert (await pods.alive(ref("late")), await pods.ended(ref("late"))) == (True, None)
        done = pod_json("late", containerStatuses=[state_of("main", ended(137, "OOMKilled"))], phase="Failed")
        api.put_pod(done)
        await until(lambda: pods.find("team-a", "late", "uid-of-late")[0].has_ended, "its end is known")  # type: ignore[index]
        end = await pods.ended(ref("late"))
        assert end is not None
        assert (end.exit_code, end.oom_killed) == (137, True)
        api.delete_pod("team-a", "late")
        await until(lambda: "late" not in names(pods), "it is gone")
        # Who reads its files still learns how it ended; one that went without a word has ended all the same.
        assert await pods.ended(ref("late")) == end
        assert await pods.alive(ref("late")) is False
        api.delete_pod("team-a", "p0")
        await until(lambda: "p0" not in names(pods), "it is gone")
        assert await pods.ended(ref("p0")) == ContainerEnd()


async def test_a_list_comes_in_pages(api: KubernetesApi, tmp_path: Path) -> None:
    for number in range(1203):
        api.put_pod(pod_json(f"p{number}"))
    async with pods_of(api, tmp_path) as pods:
        assert await pods.wait_synced(20)
        assert len(names(pods)) == 1203
        assert api.count("limit=500") == 3


async def test_a_watch_that_is_cut_goes_on_where_it_was(api: KubernetesApi, tmp_path: Path) -> None:
    api.put_pod(pod_json("p0"))
    async with pods_of(api, tmp_path) as pods:
        assert await pods.wait_synced(20)
        for number in range(1, 6):
            await until(lambda number=number: api.count("watch=1") >= number, "it is watched")
            api.drop_connections()
            api.put_pod(pod_json(f"p{number}"))
            await until(lambda number=number: f"p{number}" in names(pods), "what came meanwhile is known")
        # Listed once.
        assert api.count("limit=500") == 1


async def test_what_the_server_has_forgotten_is_listed_anew(api: KubernetesApi, tmp_path: Path) -> None:
    api.put_pod(pod_json("p0"))
    api.put_pod(pod_json("p1"))
    async with pods_of(api, tmp_path) as pods:
        assert await pods.wait_synced(20)
        await until(lambda: api.count("watch=1"), "it is watched")
        api.faults.refuse = True
        api.drop_connections()
        api.delete_pod("team-a", "p0")
        api.put_pod(pod_json("p2"))
        api.forget_history()
        await until(lambda: pods.failure, "the failure is noticed")
        api.faults.refuse = False
        await until(lambda: names(pods) == {"p1", "p2"}, "the list is taken again")
        assert not pods.failure
        assert pods.find("team-a", "p0", "uid-of-p0") is not None
        # In the middle of a stream too.
        api.forget_history()
        api.put_pod(pod_json("p3"))
        await until(lambda: "p3" in names(pods), "the list is taken once more")


async def test_bookmarks_keep_a_quiet_watch_young(api: KubernetesApi, tmp_path: Path) -> None:
    api.put_pod(pod_json("mine"))
    async with pods_of(api, tmp_path) as pods:
        assert await pods.wait_synced(20)
        for number in range(20):
            api.put_pod(pod_json(f"elsewhere-{number}", node="node-2"))
        last = int(api.pod("team-a", "elsewhere-19")["metadata"]["resourceVersion"])
        await until(lambda: int(pods._version) >= last, "a bookmark has come")


async def test_a_pod_that_the_api_does_not_have_goes_by_its_folder(api: KubernetesApi, tmp_path: Path) -> None:
    async with pods_of(api, tmp_path, unknown_seconds=0.1) as pods:
        assert await pods.wait_synced(20)
        assert isinstance(await pods.target(ref("gone")), NotYet)
        await asyncio.sleep(0.2)
        target = await pods.target(ref("gone", restart=2))
        assert isinstance(target, NotYet)
        await asyncio.sleep(0.2)
        target = await pods.target(ref("gone", restart=2))
        assert isinstance(target, LogTarget)
        assert target.name == LogName("team-a", "gone", "main", 3)
        assert (await pods.alive(ref("gone")), await pods.ended(ref("gone"))) == (None, None)


async def test_without_an_api_in_reach_containers_wait_and_then_go_by_their_folders(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.faults.refuse = True
    api.put_pod(pod_json("p0", owner=("Job", "etl")))
    async with pods_of(api, tmp_path, wait_seconds=1.0, identity=Identity(preset("job"))) as pods:
        await until(lambda: pods.failure, "the failure is noticed")
        assert isinstance(await pods.target(ref("p0")), NotYet)
        await asyncio.sleep(1.1)
        target = await pods.target(ref("p0"))
        assert isinstance(target, LogTarget)
        assert target.name.run == "p0"
        api.faults.refuse = False
        await until(lambda: names(pods), "the API is back")
        target = await pods.target(ref("p0"))
        assert isinstance(target, LogTarget)
        assert target.name.run == "etl"


async def test_selection(api: KubernetesApi, tmp_path: Path) -> None:
    api.put_pod(pod_json("job", labels={"app": "ci-build"}))
    api.put_pod(pod_json("web", labels={"app": "web"}))
    api.put_pod(pod_json("shy", labels={"app": "ci-x"}, annotations={"joblog.dev/collect": "false"}))
    api.put_pod(pod_json("noisy", labels={"app": "ci-y", "noise": ""}))
    selection = Selection(exclude=("team-a/sidecar",))
    labels = LabelSelection(include=("app=ci-*",), exclude=("noise",))
    async with pods_of(api, tmp_path, selection=selection, labels=labels) as pods:
        assert await pods.wait_synced(20)
        answers = [await pods.target(ref(name)) for name in ("job", "web", "shy", "noisy")]
        assert [isinstance(answer, Excluded) for answer in answers] == [False, True, True, True]
        assert isinstance(await pods.target(ref("job", "sidecar")), Excluded)


async def test_what_is_refused_is_said(api: KubernetesApi, tmp_path: Path) -> None:
    file = api.kubeconfig(tmp_path / "kubeconfig")
    client = await KubernetesClient.open(str(file))
    with pytest.raises(NotFound, match="404"):
        await client.get("/api/v1/namespaces/x/pods/y")
    await client.close()
    file.write_text(file.read_text().replace("test-token", "another"))
    client = await KubernetesClient.open(str(file))
    with pytest.raises(Denied, match="401") as caught:
        await client.get("/api/v1/pods")
    assert "another" not in str(caught.value)
    await client.close()
    for bad in ("", "{", "[]", "null"):
        file.write_text(bad)
        with pytest.raises(InvalidSettings, match="no access to the Kubernetes API"):
            await KubernetesClient.open(str(file))
    with pytest.raises(InvalidSettings):
        await KubernetesClient.open(str(tmp_path / "none"))


async def test_credentials_that_are_missing_for_a_while_end_nothing(api: KubernetesApi, tmp_path: Path) -> None:
    client = await KubernetesClient.open(str(api.kubeconfig(tmp_path / "kubeconfig")))

    def empty(_configuration: object) -> None:
        # As the library does where the file of the account's token is empty.
        raise ConfigException("Token file exists but empty.")

    client._api.configuration.refresh_api_key_hook = empty
    with pytest.raises(Unavailable, match="credentials"):
        await client.get("/api/v1/pods")
    client._api.configuration.refresh_api_key_hook = None
    assert (await client.get("/api/v1/pods"))["items"] == []
    await client.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"items": 5},
        {"items": "pods"},
        {"items": [1, None, {"metadata": 7}], "metadata": "none"},
        {"items": [], "metadata": {"continue": "for ever"}},
    ],
)
async def test_a_list_that_is_none_ends_nothing(answer: dict[str, Any]) -> None:
    """Whoever answers as the API server may say anything."""

    class Odd:
        async def get(self, _path: str, _query: object) -> dict[str, Any]:
            return answer

    async def connection() -> Odd:
        return Odd()

    pods = ApiPods(connection, Watched(node="node-1"), Identity())  # type: ignore[arg-type]
    running = asyncio.create_task(pods.run())
    await until(lambda: pods.failure or running.done(), "it is said what is wrong")
    assert "list" in pods.failure and not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
