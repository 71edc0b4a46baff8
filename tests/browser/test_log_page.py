"""The page of a log: what it shows of any bytes, and all that a reader can do there."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.seeding import GAPPED
from tests.browser.tab import Site, Tab

HOSTILE = b"""
<script>window.harmed = 1</script><img src=x onerror="window.harmed = 2">
javascript:alert(1) https://example.com/"onmouseover="window.harmed=3 data:text/html,<script>window.harmed=4</script>
broken \xff\xfe\xc3( utf-8 \xed\xa0\x80 and \xf4\x90\x80\x80
nul \x00 bell \x07 escape \x1b[2J\x1b[H\x1b]0;title\x07\x1b]8;;javascript:window.harmed=5\x1b\\link\x1b]8;;\x1b\\ end
\x1b[31mred\x1b[0m \x1b[1;38;2;255;0;255mtrue colour\x1b[0m plain
bidirectional \xe2\x80\xaegnp.exe\xe2\x80\xac and \xe2\x81\xa6isolated\xe2\x81\xa9
progress 1%\rprogress 50%\rprogress 100%
\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81 combining \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb
tab\tseparated\t{{ template }} ${jndi:ldap://x} %s%n
last
""".lstrip()


@pytest.fixture(scope="module")
def lines(site: Site) -> str:
    """A log of 5000 lines, some of them to find; line 4711 on stderr."""
    script = """
      seq -f 'line %g says something' 4710; sleep 0.05; echo 'ERROR: needle here' >&2; sleep 0.05
      echo '::group::Inner'; seq -f 'inside %g' 100; echo '::endgroup::'
      seq -f 'line %g ends' 4814 4999; echo needle"""
    site.machine.run("r/lines", script)
    return "r/lines"


def test_hostile_bytes_are_shown_and_do_nothing(site: Site, tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "hostile").write_bytes(HOSTILE)
    site.machine.run("r/hostile", f"cat {tmp_path}/hostile")
    tab.open_log("r/hostile")
    expect(tab.line(10)).to_contain_text("last")
    shown = tab.rows()
    assert shown[1] == '<script>window.harmed = 1</script><img src=x onerror="window.harmed = 2">'
    assert shown[3] == "broken \ufffd\ufffd\ufffd( utf-8 \ufffd\ufffd\ufffd and \ufffd\ufffd\ufffd\ufffd"
    assert shown[4] == "nul \u2400 bell \u2407 escape link end"
    assert shown[5] == "red true colour plain"
    assert shown[6] == "bidirectional ⟨U+202E⟩gnp.exe⟨U+202C⟩ and ⟨U+2066⟩isolated⟨U+2069⟩"
    assert shown[7].endswith("progress 100%")
    assert "50%" not in shown[7]
    tab.button("All 3 states of this line").click()
    expect(tab.line(7)).to_contain_text("progress 50%")
    links = tab.page.locator("#log-rows a[target=_blank]").evaluate_all("(links) => links.map((link) => link.href)")
    assert links == ["https://example.com/"]
    assert tab.page.evaluate("window.harmed") is None
    assert tab.page.locator("#log-rows script, #log-rows img").count() == 0
    colour = tab.page.get_by_text("true colour", exact=True).evaluate("(span) => getComputedStyle(span).color")
    assert colour == "rgb(255, 0, 255)"
    # No line is higher than it should be, nor reaches out of its row.
    heights = tab.page.locator("#log-rows [data-line]").evaluate_all("(all) => all.map((row) => row.offsetHeight)")
    assert max(heights[:6] + heights[7:]) <= 22, heights
    tab.page.get_by_role("button", name="About this log").click()
    expect(tab.page.get_by_text("bytes, 10 lines")).to_be_visible()


def test_a_million_empty_lines_scroll_to_any_place(site: Site, tab: Tab) -> None:
    site.machine.run("r/empty", "head -c 1000000 /dev/zero | tr '\\0' '\\n'; echo end")
    tab.open_log("r/empty", "#L500000")
    expect(tab.line(500_000)).to_be_in_viewport()
    tab.page.keyboard.press("End")
    expect(tab.line(1_000_001)).to_contain_text("end")
    bar = tab.page.get_by_role("scrollbar", name="Place in the log")
    box = bar.bounding_box()
    assert box is not None
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    tab.wait(lambda: tab.rows() and abs(min(tab.rows()) - 250_000) < 10_000, "a quarter is passed")
    tab.page.keyboard.press("Home")
    expect(tab.line(1)).to_be_in_viewport()


def test_a_line_of_a_hundred_megabytes_freezes_nothing(site: Site, tab: Tab) -> None:
    site.machine.run("r/long", "echo before; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo after")
    tab.open_log("r/long")
    expect(tab.line(3)).to_contain_text("after")
    expect(tab.line(2)).to_contain_text("95.4 MiB of this line not shown")
    shown = len(tab.rows()[2])
    tab.button("show more").click()
    tab.wait(lambda: len(tab.rows()[2]) > shown + 60_000, "more of it is shown")
    tab.page.locator("#log-rows").focus()
    tab.page.keyboard.press("w")
    began = tab.page.evaluate("performance.now()")
    tab.page.keyboard.press("End")
    expect(tab.line(3)).to_be_in_viewport()
    assert tab.page.evaluate("performance.now()") - began < 3000


def test_search_counts_marks_and_goes_from_hit_to_hit(tab: Tab, lines: str) -> None:
    tab.open_log(lines)
    tab.page.keyboard.press("/")
    field = tab.page.get_by_label("What to search for")
    expect(field).to_be_focused()
    field.fill("needle")
    field.press("Enter")
    panel = tab.page.get_by_role("complementary", name="Search in this log")
    expect(panel.get_by_role("status")).to_contain_text(re.compile(r"^2 lines in"))
    expect(tab.page.locator("[class*=tick-hit]")).to_have_count(2)
    panel.get_by_label("Lines around each hit").fill("1")
    field.press("Enter")
    expect(panel.get_by_role("button").filter(has_text="needle here")).to_contain_text("line 4710 says something")
    expect(panel.get_by_role("status")).to_contain_text(re.compile(r"^2 lines in"))
    panel.get_by_role("button").filter(has_text="ERROR: needle here").click()
    expect(tab.line(4711)).to_be_in_viewport()
    field.press("ArrowDown")
    expect(tab.line(5000)).to_be_in_viewport()
    field.press("ArrowDown")
    expect(tab.line(4711)).to_be_in_viewport()
    field.fill(r"^line 4\d{3} ends$")
    panel.get_by_text("Expression").click()
    field.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text(re.compile(r"^186 lines in"))
    field.press("Escape")
    expect(panel).to_have_count(0)
    expect(tab.page.locator("[class*=tick-hit]")).to_have_count(0)


def test_hits_come_in_while_a_log_is_written(site: Site, tab: Tab) -> None:
    task = site.task("r", "searched", "echo needle one")
    tab.open_log(task.log)
    tab.page.keyboard.press("/")
    tab.page.get_by_label("What to search for").fill("needle")
    tab.page.keyboard.press("Enter")
    status = tab.page.get_by_role("complementary").get_by_role("status")
    expect(status).to_contain_text(re.compile("^1 line in"))
    task.do("echo other; echo needle two")
    expect(status).to_contain_text(re.compile("^2 lines in"))
    task.end()


def test_a_link_means_the_same_line_live_and_archived(site: Site, tab: Tab) -> None:
    task = site.task("r", "linked", "seq -f 'number %g' 5000")
    for _ in range(2):
        for fragment, first, last in (("#L4711", 4711, 4711), ("#L100-103", 100, 103), ("#L5", 5, 5)):
            # Or the page would stay, and go to the lines of another fragment.
            tab.page.goto("about:blank")
            tab.open_log(task.log, fragment)
            expect(tab.line(first)).to_contain_text(f"number {first}")
            expect(tab.line(first)).to_be_in_viewport()
            selected = tab.page.locator("#log-rows [class*=selected]")
            expect(selected).to_have_count(last - first + 1)
            expect(tab.line(last)).to_have_class(re.compile("selected"))
        if site.machine.record(task.log)["state"] == "live":
            task.end()
            site.archived(task.log)


def test_selected_lines_are_linked_copied_and_downloaded(tab: Tab, lines: str) -> None:
    tab.open_log(lines)
    tab.page.keyboard.press("Home")
    tab.line(3).get_by_role("link", name="Line 3", exact=True).click()
    assert tab.page.url.endswith("#L3")
    tab.line(6).get_by_role("link", name="Line 6", exact=True).click(modifiers=["Shift"])
    assert tab.page.url.endswith("#L3-6")
    expect(tab.page.locator("#log-rows [class*=selected]")).to_have_count(4)
    tab.page.keyboard.press("c")
    expect(tab.page.get_by_text("4 lines copied")).to_be_visible()
    text = "\n".join(f"line {n} says something" for n in range(3, 7))
    assert tab.page.evaluate("navigator.clipboard.readText()") == text
    tab.button("Copy the selected lines").click()
    tab.page.get_by_role("menuitem", name="Copy lines with numbers").click()
    numbered = "\n".join(f"{n}\tline {n} says something" for n in range(3, 7))
    tab.wait(lambda: tab.page.evaluate("navigator.clipboard.readText()") == numbered, "lines with numbers are copied")
    with tab.page.expect_download() as saved:
        tab.button("Download").click()
        tab.page.get_by_role("menuitem", name="Download selected lines").click()
    assert Path(saved.value.path()).read_text() == text + "\n"
    assert saved.value.suggested_filename.startswith("r-lines-1-")

    # What is not in memory is fetched.
    tab.open_log(lines, "#L1-4800")
    expect(tab.line(1)).to_have_class(re.compile("selected"))
    tab.page.keyboard.press("c")
    expect(tab.page.get_by_text("4\u202f800 lines copied")).to_be_visible()
    copied = tab.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert (len(copied), copied[4710]) == (4800, "ERROR: needle here")


def test_a_log_is_downloaded_whole(site: Site, tab: Tab, lines: str) -> None:
    written = site.machine.call("logs", lines).stdout
    tab.open_log(lines)
    for name, read in (
        ("Download", Path.read_bytes),
        ("Download as .gz", lambda path: gzip.decompress(path.read_bytes())),
    ):
        with tab.page.expect_download() as saved:
            tab.button("Download").click()
            tab.page.get_by_role("menuitem", name=name, exact=True).click()
        assert read(Path(saved.value.path())) == written
    tab.button("Download").click()
    with tab.page.context.expect_page() as opened:
        tab.page.get_by_role("menuitem", name="Open as text").click()
    expect(opened.value.get_by_text("line 1 says something")).to_be_visible()
    opened.value.close()


def test_streams_are_told_apart(site: Site, tab: Tab, lines: str) -> None:
    tab.open_log(lines)
    streams = tab.page.get_by_label("Streams")
    streams.first.click()
    tab.page.get_by_role("option", name="stderr").click()
    expect(tab.page.get_by_text("Only stderr: the task wrote 1 lines to stderr")).to_be_visible()
    expect(tab.line(4711)).to_contain_text("ERROR: needle here")
    assert list(tab.rows()) == [4711]
    streams.first.click()
    tab.page.get_by_role("option", name="stdout").click()
    expect(tab.line(1)).to_be_attached()
    tab.page.locator("#log-rows").focus()
    tab.page.keyboard.press("End")
    expect(tab.line(5000)).to_contain_text("needle")
    tab.page.locator("#log-rows").evaluate("(box) => box.scrollBy(0, -5500)")
    tab.wait(lambda: {4710, 4712} <= set(tab.rows()), "lines around it are there")
    assert 4711 not in tab.rows()


def test_groups_fold_alone_and_all(tab: Tab, lines: str) -> None:
    tab.open_log(lines, "#L4712")
    tab.button("Group at line 4712").click()
    expect(tab.line(4713)).to_have_count(0)
    expect(tab.line(4814)).to_be_visible()
    tab.button("Unfold all groups").click()
    expect(tab.line(4713)).to_be_visible()
    tab.page.keyboard.press("f")
    expect(tab.line(4713)).to_have_count(0)
    # What is looked for is not hidden.
    tab.page.goto(tab.page.url.partition("#")[0] + "#L4720")
    expect(tab.line(4720)).to_be_in_viewport()


def test_all_is_reached_by_keyboard(tab: Tab, lines: str) -> None:
    tab.open_log(lines)
    expect(tab.page.locator("#log-rows")).to_be_focused()
    expect(tab.button("1 error")).to_be_visible()
    tab.page.keyboard.press("n")
    expect(tab.line(4711)).to_be_in_viewport()
    tab.page.keyboard.press("g")
    expect(tab.line(1)).to_be_in_viewport()
    tab.page.keyboard.press("PageDown")
    expect(tab.line(1)).not_to_be_in_viewport()
    tab.page.keyboard.press("Shift+G")
    expect(tab.line(5000)).to_be_in_viewport()
    tab.page.keyboard.press("w")
    expect(tab.page.get_by_role("switch", name="Wrap")).to_be_checked()
    tab.page.keyboard.press("Shift+?")
    expect(tab.page.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    tab.page.keyboard.press("i")
    expect(tab.page.get_by_role("complementary", name="About this log")).to_be_visible()
    # Tab goes through everything that can be used, and each shows that it is the one.
    seen = set()
    rounds = 0
    for _ in range(120):
        tab.page.keyboard.press("Tab")
        name = tab.page.evaluate(
            """() => { const one = document.activeElement;
            if (one === document.body) return [null, true];
            const style = getComputedStyle(one);
            return [one.getAttribute('aria-label') ?? one.innerText, style.outlineStyle !== 'none'
              || style.boxShadow !== 'none' || one.matches('input')] }"""
        )
        assert name[1], name
        # Past the last one the focus is the browser's, and then it begins anew.
        rounds += name[0] is None
        if rounds == 2:
            break
        seen.add(name[0])
    assert {"Search in this log", "Download", "About this log", "Keys", "To the end"} <= seen


def test_one_line_number_is_a_tab_stop_and_arrows_go_to_the_others(tab: Tab, lines: str) -> None:
    tab.open_log(lines, "#L100")
    expect(tab.line(100)).to_be_in_viewport()
    stops = tab.page.locator("#log-rows [data-number][tabindex='0']")
    expect(stops).to_have_count(1)
    tab.page.keyboard.press("Tab")
    number = tab.line(100).get_by_role("link", name="Line 100", exact=True)
    expect(number).to_be_focused()
    for _ in range(40):
        tab.page.keyboard.press("ArrowDown")
    expect(tab.line(140).get_by_role("link", name="Line 140", exact=True)).to_be_focused()
    expect(tab.line(140)).to_be_in_viewport()
    expect(stops).to_have_count(1)
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("ArrowUp")
    tab.page.keyboard.press("ArrowUp")
    tab.page.keyboard.press("Shift+Enter")
    expect(tab.page).to_have_url(re.compile("#L138-140$"))
    # The next Tab leaves the lines: nobody has to go through all of them.
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.closest('[data-line]')") is None


def test_errors_and_warnings_are_listed(tab: Tab, lines: str) -> None:
    tab.open_log(lines)
    tab.button("1 error").click()
    tab.page.get_by_role("menuitem").filter(has_text="ERROR: needle here").click()
    expect(tab.line(4711)).to_be_in_viewport()


def test_what_is_missing_is_shown_in_its_place(site: Site, new_tab: Callable[..., Tab]) -> None:
    log = f"{GAPPED.run}/{GAPPED.task}"
    for _ in range(2):
        tab = new_tab()
        # A link to a line behind what is missing, opened anew.
        tab.open_log(log, "#L350")
        expect(tab.line(350)).to_be_in_viewport()
        tab.page.goto(tab.page.url.partition("#")[0] + "#L100")
        expect(tab.page.get_by_text("parts missing")).to_be_visible()
        expect(tab.line(100)).to_contain_text("before 100")
        tab.page.locator("#log-rows").focus()
        tab.page.keyboard.press("End")
        expect(tab.line(402)).to_contain_text("last")
        expect(tab.line(401)).to_contain_text(re.compile(r"half of .*1 KiB are missing here \(lost\)"))
        # The lines between are known to be missing; what the task wrote before and after keeps its numbers.
        tab.page.goto(tab.page.url.partition("#")[0] + "#L301")
        first = tab.line(301)
        expect(first).to_contain_text("between 301")
        expect(first.get_by_role("note").filter(has_text="10 KiB are missing here (spool full)")).to_be_visible()
        tab.page.goto(tab.page.url.partition("#")[0] + "#L250")
        expect(tab.line(250)).to_contain_text("this line is missing")
        tab.page.goto(tab.page.url.partition("#")[0] + "#L100")
        expect(tab.page.get_by_role("note").filter(has_text="worker lost: said")).to_be_visible()
        tab.page.keyboard.press("i")
        about = tab.page.get_by_role("complementary", name="About this log")
        expect(about).to_contain_text("2 ranges missing")
        expect(about).to_contain_text("worker lost: said")
        tab.button("Verify now").click()
        expect(about).to_contain_text("Verified just now")
        expect(about).to_contain_text("as it was written; 2 ranges are missing, as its record says.")
        # The same, from the archive.
        site.archived(log)


def test_when_a_log_was_verified_is_kept_and_is_out_of_date_when_its_bytes_are_others(site: Site, tab: Tab) -> None:
    task = site.task("r", "verified", "echo one")
    tab.open_log("r/verified")
    tab.page.keyboard.press("i")
    about = tab.page.get_by_role("complementary", name="About this log")
    expect(about).to_contain_text("Never verified.")
    tab.button("Verify now").click()
    expect(about).to_contain_text("nothing wrong in the 4 bytes that there were")
    task.do("echo two")
    task.end()
    site.archived("r/verified")
    about.get_by_role("button", name="Close").click()
    tab.page.keyboard.press("i")
    expect(about).to_contain_text("out of date")
    expect(about).to_contain_text("Since then it has 8 bytes now, 4 were verified: verify it again.")
    tab.button("Verify now").click()
    expect(about).to_contain_text("complete, as it was written.")
    expect(about).not_to_contain_text("Since then")
    site.machine.call("verify", "r/verified")
    tab.page.reload()
    expect(tab.line(2)).to_contain_text("two")
    tab.page.keyboard.press("i")
    expect(about).to_contain_text(re.compile(r"Verified (just now|\d+ s ago)complete"))


def test_wrapped_lines_do_not_jump(site: Site, tab: Tab) -> None:
    site.machine.run(
        "r/wide", 'i=0; while [ $i -lt 600 ]; do printf "%d " $i; seq -s " " $((i % 300 + 1)); i=$((i+1)); done'
    )
    tab.open_log("r/wide", "#L300")
    tab.page.keyboard.press("w")
    tab.page.keyboard.press("End")
    tab.wait(lambda: 600 in tab.rows(), "the end is there")
    box = tab.page.locator("#log-rows")
    box.hover()
    tops: list[float] = []
    for _ in range(25):
        row = min(tab.rows())
        before = tab.line(row).evaluate("(row) => row.getBoundingClientRect().top")
        tab.page.mouse.wheel(0, -120)
        tab.page.wait_for_timeout(60)
        after = tab.line(row).evaluate("(row) => row.getBoundingClientRect().top")
        tops.append(after - before)
    # Each step moves what is seen by what the wheel was turned, though the rows above are measured only then.
    assert all(abs(moved - 120) < 25 for moved in tops), tops


def test_times_are_shown_in_the_zone_that_was_chosen(site: Site, lines: str, tab: Tab) -> None:
    tab.open(f"search?namespace={GAPPED.namespace}&run={GAPPED.run}")
    tab.page.get_by_label("Which logs say").fill("before 20")
    tab.page.keyboard.press("Enter")
    found = tab.page.get_by_role("region", name="Lines found")
    expect(found).to_contain_text("2023-11-14 22:13:20")
    # By keyboard, by a name that browsers need not list; what was found stays, with its times.
    tab.button("Time zone: local").press("Enter")
    chooser = tab.page.get_by_role("combobox", name="Show times in")
    expect(chooser).to_be_focused()
    chooser.fill("Kathmandu")
    expect(tab.page.get_by_role("option")).to_have_count(1)
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    expect(tab.button("Time zone: Asia/Kathmandu")).to_be_focused()
    expect(found).to_contain_text("2023-11-15 03:58:20")

    # Kept in the browser, and the same on all pages, the open ones too.
    found.get_by_role("link").filter(has_text="before 20").click()
    expect(tab.line(20)).to_be_in_viewport()
    times = tab.page.get_by_role("combobox", name="Times")
    times.click()
    tab.page.get_by_role("option", name="Asia/Kathmandu").click()
    expect(tab.line(20)).to_contain_text("2023-11-15 03:58:20")
    tab.page.reload()
    expect(tab.line(20)).to_contain_text("2023-11-15 03:58:20")
    tab.open("runs")
    row = tab.page.get_by_role("row").filter(has=tab.page.get_by_role("link", name=GAPPED.run))
    expect(row).to_contain_text("2023-11-15 03:58:20")
    tab.button("Time zone: Asia/Kathmandu").click()
    chooser.fill("local")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    expect(row).to_contain_text("2023-11-14 22:13:20")
