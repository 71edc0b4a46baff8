"""Changes in folders are told at once; a folder that is made anew in the place of another is watched, too."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from joblog.worker.following import watching
from joblog.worker.following.watching import FolderWatch


async def told(queue: asyncio.Queue[str], folder: Path) -> None:
    async with asyncio.timeout(20):
        while await queue.get() != str(folder):
            pass


async def test_what_comes_and_goes_is_told(tmp_path: Path) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    watch = FolderWatch(queue.put_nowait)
    watch.start()
    try:
        watch.set_folders([str(one), str(two), str(tmp_path / "none")])
        (one / "0.log").touch()
        await told(queue, one)
        os.rename(one / "0.log", one / "0.log.20260131-120000")
        await told(queue, one)
        shutil.rmtree(two)
        await told(queue, two)
        two.mkdir()
        while not (two / "0.log").exists():
            # Until the kernel's word that the old folder is gone has come.
            await asyncio.sleep(0)
            watch.set_folders([str(one), str(two)])
            if str(two) in watch._watches and queue.empty():
                (two / "0.log").touch()
        await told(queue, two)
    finally:
        await watch.stop()


async def test_writing_to_a_file_is_not_told(tmp_path: Path) -> None:
    """A node's containers write all the time."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    watch = FolderWatch(queue.put_nowait)
    watch.start()
    try:
        file = tmp_path / "0.log"
        file.touch()
        watch.set_folders([str(tmp_path)])
        with file.open("ab", buffering=0) as target:
            for _ in range(100):
                target.write(b"x\n")
        (tmp_path / "last").touch()
        await told(queue, tmp_path)
        assert queue.empty()
    finally:
        await watch.stop()


async def test_without_watches_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncinotify

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asyncinotify.Inotify, "add_watch", full)
    watch = watching.FolderWatch(lambda _folder: None)
    watch.start()
    try:
        watch.set_folders([str(tmp_path)])
        watch.set_folders([str(tmp_path)])
        assert [record.levelname for record in caplog.records if "looking only" in record.message] == ["WARNING"]
    finally:
        await watch.stop()
