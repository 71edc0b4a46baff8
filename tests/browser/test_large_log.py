"""A log of a gigabyte and five million lines: opens at once, goes anywhere, and takes little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.tab import Site, Tab

LOG = "large/t"
LINES = 5_000_000
REST = ("compiled /src/module.c in 1.2 s, warnings: 0; " * 5)[:190]
FORMAT = f"line %.0f {REST}"
MAX_OPEN_MS = 1000
MAX_MEMORY_BYTES = 300 << 20
# From a click on a link to the text of the first line, in milliseconds.
OPENED_BY_CLICK = """(link, text) => new Promise((resolve) => {
    const began = performance.now();
    const look = () => document.querySelector('#log-rows [data-line="1"] [data-text]')?.innerText === text
      ? resolve(performance.now() - began) : requestAnimationFrame(look);
    link.click();
    look(); })"""


def memory_bytes(tab: Tab) -> int:
    """What the tab's process has of its own: the largest of the renderers."""
    renderers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                renderers.append(process.memory_full_info().uss)
    assert renderers
    return max(renderers)


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_large_log_opens_at_once_and_goes_anywhere(site: Site, new_tab: Callable[..., Tab]) -> None:
    task = site.machine.start("run", "--quiet", "--run", "large", "--task", "t", "--", "seq", "-f", FORMAT, str(LINES))
    assert task.wait(240) == 0
    site.archived(LOG)
    record = site.machine.record(LOG)
    assert (int(record["next_offset"]) > 1_000_000_000, int(record["newlines"])) == (True, LINES), record
    tab = new_tab()
    tab.open("runs/default/large")
    link = tab.page.get_by_role("table").get_by_role("link", name="t", exact=True)
    expect(link).to_be_visible()
    tab.page.wait_for_load_state("networkidle")
    opened = link.evaluate(OPENED_BY_CLICK, FORMAT % 1)
    assert opened < MAX_OPEN_MS, opened
    bar = tab.page.get_by_role("scrollbar", name="Place in the log")
    box = bar.bounding_box()
    assert box is not None
    for place in (0.5, 0.9, 0.1, 0.7, 0.3):
        tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * place)
        near = LINES * (place - 0.015) / 0.97
        shown = tab.wait(lambda near=near: _near(tab.rows(), near), f"lines near {near:.0f} are shown")  # type: ignore[misc]
        assert all(text == FORMAT % number for number, text in shown.items())
    tab.page.locator("#log-rows").focus()
    tab.page.keyboard.press("End")
    expect(tab.line(LINES)).to_be_in_viewport()
    for _ in range(40):
        tab.page.keyboard.press("PageUp")
    tab.page.wait_for_timeout(300)
    assert memory_bytes(tab) < MAX_MEMORY_BYTES, memory_bytes(tab) >> 20


def _near(rows: dict[int, str], near: float) -> dict[int, str] | None:
    return rows if rows and abs(min(rows) - near) < 0.01 * LINES else None
