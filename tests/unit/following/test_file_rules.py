"""Which files are followed, and what their logs are called."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from joblog.errors import InvalidInput, InvalidSettings
from joblog.identity import LogName
from joblog.settings import load
from joblog.worker.following.chain import chain
from joblog.worker.following.file_source import FileSource, parse_rule
from joblog.worker.following.follower import Follower
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


def test_whoever_names_a_file_stops_nobody(tmp_path: Path) -> None:
    rule = parse_rule(f"web:{{folder}}/{{name}}={tmp_path}/*.log")
    for name in (b"a{b.log", b"}.log", b"{folder}{host}.log", b"\xff.log", b"new\nline.log", b"ok.log"):
        (tmp_path / os.fsdecode(name)).touch()
    source = FileSource([rule], host="h")
    assert len(source.scan()) == 6
    names = {rule.name(found.path, "h") for found in source.scan()}
    assert len(names) == 6 and LogName("web", tmp_path.name, "ok", 0) in names
    assert {name.run for name in names} == {tmp_path.name}


def test_a_link_out_of_its_folder_leads_nowhere(tmp_path: Path) -> None:
    web, other = tmp_path / "logs" / "web", tmp_path / "logs" / "other"
    secret, allowed = tmp_path / "secret", tmp_path / "allowed"
    for folder in (web, other, secret, allowed):
        folder.mkdir(parents=True)
        (folder / "real.log").write_text("x\n")
    (web / "shadow.log").symlink_to(secret / "real.log")
    (web / "neighbour.log").symlink_to(other / "real.log")
    (web / "current.log").symlink_to("real.log")
    (web / "allowed.log").symlink_to(allowed / "real.log")
    (tmp_path / "logs" / "folder").symlink_to(secret)
    (tmp_path / "logs" / "web2").symlink_to(web)

    def open_names(rule: str, linked: list[str]) -> set[str]:
        names = set()
        for found in FileSource([parse_rule(rule)], host="h", linked=linked).scan():
            follower = Follower(found.path, found.roots)
            if follower.begin():
                names.add(str(Path(found.path).relative_to(tmp_path / "logs")))
            else:
                assert "lies in none of" in follower.refusal
            follower.close()
        return names

    pattern = f"web:r/{{name}}={tmp_path}/logs/*/*.log"
    assert open_names(pattern, []) == {"web/real.log", "web/current.log", "other/real.log"}
    assert "web/allowed.log" in open_names(pattern, [str(allowed)])
    # The folder that is named without a wildcard is the word of whoever runs the worker.
    assert open_names(f"web:r/{{name}}={tmp_path}/logs/web2/real.log", []) == {"web2/real.log"}


def test_links_in_a_circle_are_not_walked(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for name in ("left", "right"):
        (deep / name).symlink_to(tmp_path)
    for place in (tmp_path, tmp_path / "a", deep):
        (place / "x.log").touch()
    source = FileSource([parse_rule(f"web:r/{{name}}={tmp_path}/**/*.log")], host="h")
    assert sorted(found.path for found in source.scan()) == sorted(
        str(place / "x.log") for place in (tmp_path, tmp_path / "a", deep)
    )
    everything = FileSource([parse_rule(f"web:r/{{name}}={tmp_path}/a/**")], host="h")
    assert len(everything.scan()) == 2


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
