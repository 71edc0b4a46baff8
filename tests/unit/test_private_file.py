from __future__ import annotations

import os
from pathlib import Path

import pytest

from joblog.errors import Denied
from joblog.private_file import is_open_to_others, read_private


def _status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_open"),
    [
        (0o600, 1000, 1000, False),
        (0o400, 0, 0, False),
        # As the kubelet mounts a Secret where fsGroup is set.
        (0o440, 0, 2000, False),
        (0o640, 0, 1000, False),
        # Its group is somebody else's; the group may write; everybody may read; its owner is not root.
        (0o440, 0, 3000, True),
        (0o460, 0, 2000, True),
        (0o444, 0, 2000, True),
        (0o440, 1000, 2000, True),
        (0o640, 1000, 1000, True),
    ],
)
def test_roots_files_may_come_by_ones_group(
    mode: int, uid: int, gid: int, is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [1000, 2000])

    assert is_open_to_others(_status(mode, uid, gid)) is is_open


def test_root_itself_takes_no_file_that_its_group_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert is_open_to_others(_status(0o440, 0, 0))


def test_a_file_of_ones_own_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(0o644)

    with pytest.raises(Denied, match=r"mode 0644.*chmod 600"):
        read_private(path)
    path.chmod(0o600)
    assert read_private(path) == b"secret"
