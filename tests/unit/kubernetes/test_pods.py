"""What a container's log is called where there is no API to ask, and which ones are collected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joblog.identity import check_writable_name
from joblog.worker.kubernetes.pods import (
    ContainerRef,
    Excluded,
    LogTarget,
    Selection,
    WithoutApi,
    allowed_name,
    name_of,
)

REF = ContainerRef("ci", "build-7", "5f3c", "main", 2)


async def test_names_of_kubernetes_are_names_of_joblog() -> None:
    target = await WithoutApi(host="node-1").target(REF)
    assert isinstance(target, LogTarget)
    assert target.name == ("ci", "build-7", "main", 3)
    assert target.host == "node-1"
    assert await WithoutApi().ended(REF) is None
    assert await WithoutApi().alive(REF) is None


@given(st.text(max_size=300), st.integers(0, 2**40))
def test_any_name_becomes_an_allowed_one(text: str, restart: int) -> None:
    check_writable_name(name_of(ContainerRef(text, text, "u", text, restart)))


def test_names_that_had_to_be_changed_stay_apart() -> None:
    assert allowed_name("a b") != allowed_name("a/b")
    long = "p" * 252
    assert allowed_name(long + "a") != allowed_name(long + "b")
    assert allowed_name("job.x-1") == "job.x-1"


async def test_include_and_exclude_by_namespace_and_container() -> None:
    async def collected(include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
        return not isinstance(await WithoutApi(Selection(include, exclude)).target(REF), Excluded)

    assert await collected((), ())
    assert await collected(("c*",), ())
    assert await collected(("kube-*", "*/main"), ())
    assert not await collected(("kube-*",), ())
    assert not await collected((), ("*/ma*",))
    assert not await collected(("ci",), ("ci/main",))
    assert await collected((), ("ci/istio-*",))
