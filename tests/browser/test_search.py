"""Search over very many runs: how far it is, Stop, the last so many of them, and whose logs are searched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.seeding import MANY, NEEDLE, NEEDLES, run_name
from tests.browser.tab import Site, Tab

TEXT = "Which logs say"


def search(tab: Tab, text: str, period: str = "Any time") -> Locator:
    """Begins a search; what is said of it."""
    tab.page.get_by_label(TEXT).fill(text)
    tab.page.get_by_role("combobox", name="in runs of").click()
    tab.page.get_by_role("option", name=period).click()
    tab.page.get_by_label(TEXT).press("Enter")
    return tab.page.get_by_role("status")


def searches(tab: Tab) -> float:
    """How many are under way at the leader."""
    [line] = re.findall(r"^joblog_searches_active (\S+)$", tab.metrics(), re.MULTILINE)
    return float(line)


def test_a_search_over_very_many_runs_is_watched_stopped_and_bounded(site: Site, tab: Tab) -> None:
    tab.open(f"search?namespace={MANY}")
    said = search(tab, NEEDLE)
    expect(said).to_have_text(
        re.compile(r"^Searching: [1-9]\d* lines? found; [\d\s]+ of 100\s00\d runs, \d+ logs, .*B searched$")
    )
    # The first hits are there while it goes on, and more come in, which are counted.
    hits = tab.page.get_by_role("region", name="Lines found").get_by_role("link").filter(has_text=NEEDLE)
    expect(hits.first).to_have_attribute("href", re.compile(f"/logs/{MANY}/{run_name(NEEDLES[0])}/task/1#L2$"))
    expect(said).to_contain_text(re.compile(r"^Searching: [2-9]\d* lines found"))
    expect(tab.page.get_by_role("progressbar", name="Runs searched")).to_be_visible()
    assert searches(tab) == 1
    tab.button("Stop").click()
    expect(said).to_have_text(re.compile(r"^\d+ lines found; [\d\s]+ of 100\s00\d runs, .* searched; stopped$"))
    # It is over at the leader, too, and nothing comes in any more.
    stopped = said.inner_text()
    tab.wait(lambda: searches(tab) == 0, "the leader searches no more")
    assert said.inner_text() == stopped

    # The last so many runs, of those that the other fields let through.
    last = tab.page.get_by_label("the last")
    last.fill("500")
    last.press("Enter")
    inside = sum(number < 500 for number in NEEDLES)
    expect(said).to_have_text(re.compile(rf"^{inside} lines found; 500 runs, \d+ logs, .* searched$"))
    expect(hits).to_have_count(inside)
    tab.page.get_by_label("with name or label").fill(run_name(NEEDLES[1])[:-2])
    tab.page.get_by_label(TEXT).press("Enter")
    expect(said).to_have_text(re.compile(r"^1 line found; 100 runs, 1 log, "))
    # A number that is too large is refused in words.
    last.fill("5000000")
    last.press("Enter")
    expect(tab.page.get_by_role("alert")).to_contain_text(re.compile("max_runs.*100000", re.IGNORECASE))


def test_only_logs_that_one_may_read_are_searched_and_only_as_long(site: Site, new_tab: Callable[..., Tab]) -> None:
    site.machine.run("hidden/task", f"echo {NEEDLE}")
    made = site.machine.call("token", "create", "--role", "reader", "--namespace", MANY, "--json")
    made_token = json.loads(made.stdout)
    tab = new_tab(token=made_token["secret"])
    tab.open("search")
    said = search(tab, NEEDLE)
    expect(said).to_have_text(re.compile(r"^Searching: [1-9].*100\s00\d runs"))
    expect(tab.page.get_by_role("combobox", name="in namespace")).to_have_value(MANY)
    tab.button("Stop").click()
    last = tab.page.get_by_label("the last")
    last.fill("500")
    last.press("Enter")
    expect(said).to_contain_text(f"{sum(number < 500 for number in NEEDLES)} lines found; 500 runs")
    expect(tab.page.get_by_role("region", name="Lines found")).not_to_contain_text("hidden")
    # Asked for by name, what one may not read is refused, in words.
    tab.open("search?namespace=default")
    search(tab, NEEDLE)
    expect(tab.page.get_by_role("alert")).to_contain_text("log.read")
    # One who loses the right in the middle of it is given nothing more.
    tab.open("search")
    said = search(tab, NEEDLE)
    expect(said).to_contain_text("Searching: ")
    site.machine.call("token", "revoke", made_token["token"]["id"])
    expect(tab.page.get_by_role("alert").or_(tab.page.get_by_label("Token"))).to_be_visible()
    tab.wait(lambda: searches(tab) == 0, "the search has ended")
