from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from joblog.address import check_address, find_leader, read_leader_file
from joblog.errors import InvalidInput, NotFound


def write_file(data_dir: Path, **fields: object) -> None:
    (data_dir / "leader").mkdir(parents=True, exist_ok=True)
    (data_dir / "leader" / "leader.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("good", ["127.0.0.1:1", "[::1]:65535", "leader.example:7080", "unix:/run/x"])
def test_takes_addresses(good: str) -> None:
    assert check_address(good) == good


@pytest.mark.parametrize(
    "bad", ["", "host", "host:", ":1", "host:0", "host:65536", "::1:1", "a b:1", "http://h:1", "h:١"]
)
def test_refuses_what_is_no_address(bad: str) -> None:
    with pytest.raises(InvalidInput):
        check_address(bad)


def test_order_of_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_file(one, pid=os.getpid(), grpc_address="127.0.0.1:11", http_url="http://127.0.0.1:12")
    write_file(two, pid=os.getpid(), grpc_address="127.0.0.1:22")
    environ = {"JOBLOG_LEADER": "127.0.0.1:33", "JOBLOG_DATA_DIR": str(two)}
    assert find_leader("127.0.0.1:44", one, environ).address == "127.0.0.1:44"
    assert find_leader(None, one, environ).address == "127.0.0.1:11"
    assert find_leader(None, None, environ).address == "127.0.0.1:33"
    del environ["JOBLOG_LEADER"]
    assert find_leader(None, None, environ).address == "127.0.0.1:22"
    assert read_leader_file(two).http_url == ""


def test_nobody_there_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="joblog up --data-dir"):
        read_leader_file(tmp_path)


def test_a_leader_that_has_ended(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    write_file(tmp_path, pid=ended.pid, grpc_address="127.0.0.1:11")
    with pytest.raises(NotFound, match=f"process {ended.pid}"):
        read_leader_file(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"pid": "x"}', '{"pid": 1, "grpc_address": 5}', "\x00"])
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "leader").mkdir()
    (tmp_path / "leader" / "leader.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"leader\.json"):
        read_leader_file(tmp_path)
