"""Chromium for the browser tests: Playwright's own, the system's, or Debian's package."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.packages import install

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    # The sandbox needs rights that a test in a container has not.
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-gpu",
    # Or all pages of a test would share one process, and its memory.
    "--enable-precise-memory-info",
)


def chromium_missing() -> str:
    """Why there is no browser here, after an attempt to install one; empty when there is one."""
    if _found() or _own():
        return ""
    return install("Chromium", ("chromium",))


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _own() -> bool:
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = _launch(playwright)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright) -> Browser:
    own = Path(playwright.chromium.executable_path).exists()
    # A proxy is for the world outside; the leader is on this machine.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return playwright.chromium.launch(
        executable_path=None if own else _found(), args=list(FLAGS), env=dict(environment), timeout=60_000
    )
