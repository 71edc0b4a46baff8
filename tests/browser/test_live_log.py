"""The page of a log that is written: live, paused, over a cut network and a restart of the leader, to its end."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.tab import Site, Tab


def test_a_log_is_followed_paused_and_followed_again_to_its_end(site: Site, tab: Tab) -> None:
    task = site.task("live", "t", "seq -f 'first %g' 200")
    tab.open_log(task.log)
    expect(tab.line(200)).to_contain_text("first 200")
    expect(tab.line(200)).to_be_in_viewport()
    task.do("echo one; echo two >&2")
    expect(tab.line(202)).to_contain_text("two")
    expect(tab.line(202)).to_be_in_viewport()

    # Scrolling up pauses: what comes is counted, and moves nothing.
    tab.page.locator("#log-rows").hover()
    tab.page.mouse.wheel(0, -600)
    expect(tab.button("Paused")).to_be_visible()
    tab.wait(lambda: 202 not in tab.rows(), "the end is out of sight")
    before = min(tab.rows())
    task.do("seq -f 'meanwhile %g' 30")
    expect(tab.button("Paused · 30 new")).to_be_visible()
    assert min(tab.rows()) == before

    # One key goes back.
    tab.page.keyboard.press("Shift+G")
    expect(tab.line(232)).to_be_in_viewport()
    expect(tab.button(re.compile("^Live"))).to_be_visible()
    # So does the button, both ways.
    tab.button(re.compile("^Live")).click()
    task.do("echo more")
    expect(tab.button("Paused · 1 new")).to_be_visible()
    tab.button("Paused · 1 new").click()
    expect(tab.line(233)).to_be_in_viewport()

    task.do("printf 'no newline'")
    expect(tab.line(234)).to_contain_text("no newline")
    task.do("printf ' yet'; echo")
    expect(tab.line(234)).to_have_text(re.compile("no newline yet$"))
    task.end()
    expect(tab.button(re.compile("^(Live|Paused)"))).to_have_count(0)
    expect(tab.page.get_by_text("succeeded", exact=False).first).to_be_visible()

    written = [f"first {n}" for n in range(1, 201)] + ["one", "two"]
    written += [f"meanwhile {n}" for n in range(1, 31)] + ["more", "no newline yet"]
    assert tab.collect(234) == written

    # Archive and drop under the open page.
    site.archived(task.log)
    assert tab.collect(234) == written
    tab.open_log(task.log)
    assert tab.collect(234) == written


def test_a_cut_network_and_a_restart_cost_no_line_and_repeat_none(site: Site, tab: Tab) -> None:
    task = site.task("cuts", "t", "seq -f 'before %g' 50")
    tab.open_log(task.log)
    expect(tab.line(50)).to_be_visible()

    tab.cut(offline=True)
    task.do("seq -f 'cut %g' 50")
    expect(tab.page.get_by_text("Leader not reached")).to_be_visible()
    tab.cut(offline=False)
    expect(tab.line(100)).to_contain_text("cut 50")
    expect(tab.page.get_by_text("Leader not reached")).to_have_count(0)

    port = site.url.rpartition(":")[2]
    site.machine.stop_up()
    expect(tab.page.get_by_text("Leader not reached")).to_be_visible()
    task.do("seq -f 'stopped %g' 50")
    site.machine.start_up("--http-listen", f"127.0.0.1:{port}")
    expect(tab.line(150)).to_contain_text("stopped 50")
    expect(tab.page.get_by_text("Leader not reached")).to_have_count(0)
    task.do("echo last")
    expect(tab.line(151)).to_contain_text("last")
    task.end()
    written = [f"{when} {n}" for when in ("before", "cut", "stopped") for n in range(1, 51)]
    assert tab.collect(151) == [*written, "last"]
