"""Which files are followed, and what their logs are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joblog.errors import InvalidInput, InvalidSettings
from joblog.settings import load
from joblog.worker.following.chain import chain
from joblog.worker.following.file_source import FileSource, parse_rule
from joblog.worker.following.settings import rates
from joblog.worker.kubernetes.pods import LogTarget
from joblog.worker.settings import WorkerSettings


def test_a_rule_names_each_file_that_matches(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "abc-json.log").write_text(json.dumps({}))
    rule = parse_rule(f"docker:{{host}}/{{folder}}=docker:{tmp_path}/*/*-json.log")
    assert rule.format == "docker"
    source = FileSource([rule], host="node 1")
    (found,) = source.scan()
    assert (found.path, found.format) == (str(tmp_path / "abc" / "abc-json.log"), "docker")
    assert source.is_mine(found.key)
    name = rule.name(found.path, "node-1")
    assert name == ("docker", "node-1", "abc", 0)
    assert str(tmp_path) in source.folders()


async def test_names_are_made_allowed(tmp_path: Path) -> None:
    (tmp_path / "my app.log").touch()
    source = FileSource([parse_rule(f"web:r/{{name}}={tmp_path}/*.log")], host="h")
    (found,) = source.scan()
    target = await source.target(found)
    assert isinstance(target, LogTarget)
    assert target.name.task.startswith("my-app~")
    assert await source.alive(found) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        "web:r/t",
        "web:r=/x",
        "web:r/t=x/*.log",
        "web:r/{what}=/x",
        "we b:/t=/x",
        "@audit:r/t=/x",
        "web:r/{=/x",
    ],
)
def test_rules_that_can_not_be_are_refused_with_the_reason(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_rule(text)
    if text:
        with pytest.raises(InvalidSettings, match=r"files\.follow"):
            load(WorkerSettings, environ={"JOBLOG_FILES_FOLLOW": text})


def test_rates_are_bytes_by_namespace() -> None:
    settings = load(WorkerSettings, environ={"JOBLOG_KUBERNETES_BYTE_RATES": "ci-*=10MiB,*=1000"}).values.kubernetes
    assert rates(settings) == {"ci-*": 10 << 20, "*": 1000}
    for text in ("ci", "=5", "ci=0", "ci=fast"):
        with pytest.raises(InvalidSettings, match="byte_rates"):
            load(WorkerSettings, environ={"JOBLOG_KUBERNETES_BYTE_RATES": text})


def test_rotated_files_are_read_from_the_oldest_on(tmp_path: Path) -> None:
    names = {
        "0.log": ["0.log.20260101-000000.gz", "0.log.20260101-000010", "0.log"],
        "app.log": ["app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log"],
        "date.log": ["date.log-20260101.gz", "date.log-20260102", "date.log"],
    }
    others = ["0.log.20260101-000010.gz", "0.log.20260101-000020.gz.tmp", "app.log.bak", "app.logs", "other.log.1"]
    for name in [*(name for chained in names.values() for name in chained), *others]:
        (tmp_path / name).touch()
    for base, expected in names.items():
        assert [Path(path).name for path in chain(str(tmp_path / base))] == expected
    assert chain(str(tmp_path / "none" / "0.log")) == []
