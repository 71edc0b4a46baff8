"""What a newcomer does: `make run`, its address, a run in progress; and all of it again after a restart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.tab import SHOWN_MS
from tests.e2e.machine import until

DEMO = [sys.executable, "-P", "-m", "joblog.cli.demo", "--data-dir"]
LINK = re.compile(r"^  (https?://\S+/login#code=\S+)$", re.MULTILINE)
SHORT_MS = 30_000


@contextmanager
def demo(data_dir: Path) -> Iterator[Callable[[], str]]:
    """`make run`, without its build; gives what finds the link that it prints. Ctrl-C ends it."""
    process = subprocess.Popen(
        [*DEMO, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "DEMO_EXIT"} | {"PYTHONUNBUFFERED": "1"},
    )
    said: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said.append(line)

    reading = threading.Thread(target=read)
    reading.start()

    def link() -> str:
        until(lambda: process.poll() is not None or LINK.search("".join(said)), "a link is printed", 90)
        found = LINK.search("".join(said))
        assert found is not None, "".join(said)[-4000:]
        return found[1]

    try:
        yield link
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "".join(said)[-4000:]
    finally:
        process.kill()
        process.wait()
        reading.join()


def signed_in(browser: Browser, link: str) -> Page:
    page = browser.new_context(ignore_https_errors=True, permissions=["clipboard-read", "clipboard-write"]).new_page()
    page.set_default_timeout(SHOWN_MS)
    page.goto(link)
    return page


def test_a_newcomer_sees_a_run_live_and_finds_all_of_it_again(browser: Browser, data_dir: Path) -> None:
    with demo(data_dir) as link:
        page = signed_in(browser, link())
        row = page.get_by_role("row").nth(1)
        expect(row).to_contain_text(re.compile("live.*demo-"))
        row.get_by_role("link").click()
        task = page.get_by_role("row").filter(has_text="check")
        expect(task).to_contain_text("live")
        task.get_by_role("link").click()

        # Live: what comes is at the end of the page, and goes on.
        live = page.get_by_role("button", name=re.compile("^Live"))
        expect(live).to_be_visible()
        rows = page.locator("#log-rows [data-text]")
        before = rows.last.inner_text()
        expect(rows.last).not_to_have_text(before)
        live.click()
        expect(page.get_by_role("button", name=re.compile(r"^Paused · \d+ new"))).to_be_visible()

        page.keyboard.press("/")
        page.get_by_label("What to search for").fill("asyncio/base_events.py")
        page.keyboard.press("Enter")
        hits = page.get_by_role("complementary", name="Search in this log")
        expect(hits.get_by_role("button").filter(has_text="base_events.py").first).to_be_visible()
        page.keyboard.press("Escape")

        page.locator("#log-rows").focus()
        page.keyboard.press("g")
        colleagues = page.url.partition("#")[0] + "#L4711"
        page.goto(colleagues)
        line = page.locator('#log-rows [data-line="4711"]')
        expect(line).to_be_in_viewport()
        line.get_by_role("link", name="Line 4711", exact=True).click()
        page.get_by_role("button", name="Copy the selected lines").click()
        page.get_by_role("menuitem", name="Copy link").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == colleagues
        text = line.locator("[data-text]").inner_text()
        assert re.fullmatch(r"[0-9a-f]{16} /\S+\.py", text), text
        page.context.close()

    with demo(data_dir) as link:
        again = link()
        page = signed_in(browser, again)
        expect(page.get_by_role("row").nth(1)).to_contain_text(re.compile("live.*demo-"))
        # The address has the port of this start; all behind it is as it was copied.
        where = again.partition("/login#")[0] + re.sub(r"^https?://[^/]+", "", copied)
        page.goto(where)
        line = page.locator('#log-rows [data-line="4711"]')
        expect(line.locator("[data-text]")).to_have_text(text)
        expect(line).to_be_in_viewport()
        expect(page.get_by_text("archived", exact=True)).to_be_visible(timeout=SHORT_MS)
        page.context.close()
