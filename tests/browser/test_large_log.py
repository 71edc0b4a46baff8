"""A log of a gigabyte and five million lines: opens at once, goes anywhere, and takes little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.tab import Site, Tab

MAX_OPEN_MS = 1000
MAX_MEMORY_BYTES = 300 << 20
SHOWN = """(line) => new Promise((resolve) => { const look = () =>
    document.querySelector(`#log-rows [data-line="${line}"] [data-text]`) ? resolve(performance.now())
      : requestAnimationFrame(look); look(); })"""


def memory_bytes(tab: Tab) -> int:
    """What the tab's process has of its own: the largest of the renderers."""
    renderers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                renderers.append(process.memory_full_info().uss)
    assert renderers
    return max(renderers)


@pytest.mark.parametrize(
    ("lines", "pad"),
    [(400_000, 240), pytest.param(5_000_000, 190, marks=pytest.mark.fault)],
    ids=["100 MB, 400,000 lines", "1 GB, 5 million lines"],
)
@pytest.mark.timeout(900)
def test_a_large_log_opens_at_once_and_goes_anywhere(
    site: Site, new_tab: Callable[..., Tab], lines: int, pad: int
) -> None:
    log = f"large/t{lines}"
    process = site.machine.start(
        *("run", "--quiet", "--run", "large", "--task", f"t{lines}", "--"),
        *("awk", f'BEGIN {{ p = sprintf("%{pad}s", ""); for (i = 1; i <= {lines}; i++) print "line " i p }}'),
    )
    assert process.wait(600) == 0
    site.archived(log)
    tab = new_tab()
    tab.open("runs")
    expect(tab.page.get_by_role("link", name="large").first).to_be_visible()
    # From a loaded page, as by a click on a link: how quick the machine starts scripts does not count.
    tab.open_log(log)
    opened = tab.page.evaluate(SHOWN, 1) - tab.page.evaluate(
        "performance.getEntriesByType('resource').find((one) => one.name.includes('/bytes?')).startTime"
    )
    assert opened < MAX_OPEN_MS, opened
    bar = tab.page.get_by_role("scrollbar", name="Place in the log")
    box = bar.bounding_box()
    assert box is not None
    for place in (0.5, 0.9, 0.1, 0.7, 0.3):
        tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * place)
        near = lines * (place - 0.015) / 0.97
        shown = tab.wait(lambda near=near: _near(tab.rows(), near, lines), f"lines near {near:.0f} are shown")  # type: ignore[misc]
        assert all(text.startswith(f"line {number}") for number, text in shown.items())
    tab.page.locator("#log-rows").focus()
    tab.page.keyboard.press("End")
    expect(tab.line(lines)).to_be_in_viewport()
    for _ in range(40):
        tab.page.keyboard.press("PageUp")
    tab.page.wait_for_timeout(300)
    assert memory_bytes(tab) < MAX_MEMORY_BYTES, memory_bytes(tab) >> 20


def _near(rows: dict[int, str], near: float, lines: int) -> dict[int, str] | None:
    return rows if rows and abs(min(rows) - near) < 0.01 * lines else None
