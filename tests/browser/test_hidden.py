"""A tab that nobody looks at: it asks seldom, and has everything once somebody looks again."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.tab import Site, Tab
from tests.e2e.push_stream import close_of, open_of, push_to_process

# A list that is looked at asks more often.
LOOK_MS = 6_000
# More than the list of runs asks for at once.
MANY_NEW = 130
HIDE = """(hidden) => {
    for (const [name, value] of [['hidden', hidden], ['visibilityState', hidden ? 'hidden' : 'visible']])
        Object.defineProperty(document, name, {value, configurable: true});
    document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
}"""


def requests_of(tab: Tab, part: str) -> list[str]:
    """The addresses that the page asks from now on, as it does."""
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url) if part in request.url else None)
    return asked


def _rests(tab: Tab, asked: list[str]) -> bool:
    before = len(asked)
    tab.page.wait_for_timeout(1_500)
    return len(asked) == before > 0


async def _ended(data_dir: Path, namespace: str, runs: list[str]) -> None:
    async with push_to_process(data_dir) as push:
        await push.hello()
        await push.open(*(open_of(handle, run, namespace=namespace) for handle, run in enumerate(runs)))
        await push.send(closes=[close_of(handle, b"") for handle in range(len(runs))])
        await push.until(lambda: len(push.closed) == len(runs))
        await push.end()


def end_runs(site: Site, namespace: str, runs: list[str]) -> None:
    """Runs that have ended, at once."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _ended(site.machine.data_dir, namespace, runs)).result()


def test_a_hidden_tab_asks_seldom_and_misses_nothing(site: Site, tab: Tab) -> None:
    task = site.task("hidden", "t", "seq -f 'before %g' 5")
    tab.open_log(task.log)
    expect(tab.line(5)).to_be_visible()
    asked = requests_of(tab, "/bytes")
    tab.page.evaluate(HIDE, True)
    # The request that waits meanwhile is the last one that does.
    task.do("echo waited for")
    expect(tab.line(6)).to_contain_text("waited for")
    tab.wait(lambda: _rests(tab, asked), "the page rests")
    assert "wait=0" in asked[-1]
    before = list(asked)
    task.do("seq -f 'hidden %g' 20")
    tab.page.wait_for_timeout(LOOK_MS)
    assert asked == before
    tab.page.evaluate(HIDE, False)
    expect(tab.line(26)).to_contain_text("hidden 20")
    task.do("echo seen")
    expect(tab.line(27)).to_contain_text("seen")
    task.end()


def test_a_hidden_list_of_runs_is_whole_when_somebody_looks(site: Site, tab: Tab) -> None:
    end_runs(site, "hidden", ["before-1", "before-2"])
    tab.open("runs?namespace=hidden")
    expect(tab.page.get_by_role("link", name="before-2")).to_be_visible()
    tab.page.evaluate(HIDE, True)
    asked = requests_of(tab, "/runs")
    end_runs(site, "hidden", [f"new-{number:03d}" for number in range(MANY_NEW)])
    tab.page.wait_for_timeout(LOOK_MS)
    assert asked == []
    tab.page.evaluate(HIDE, False)
    expect(tab.page.get_by_role("link", name=f"new-{MANY_NEW - 1}")).to_be_visible()
    tab.page.get_by_role("region", name="Runs").evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
    expect(tab.page.get_by_role("status").filter(has_text=f"{MANY_NEW + 2} runs")).to_be_attached()
