"""The pages without a mouse: every step by Tab and Enter, the focus always seen, and never lost."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, expect

from tests.browser.tab import Site, Tab

MAX_STOPS = 60

# Which element has the focus, and what keeps somebody from seeing that.
_FOCUS = """() => {
    const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
    const name = at.getAttribute('aria-label') || at.innerText?.trim().slice(0, 40) || at.id || at.tagName;
    // Behind the last element comes the browser's own frame.
    if (at === document.body) return ['the browser', ''];
    if (box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth)
        return [name, 'it is out of sight'];
    const [x, y] = [box.left + box.width / 2, Math.max(0, box.top) + Math.min(box.height, 20) / 2];
    const top = document.elementFromPoint(x, y);
    if (top !== null && !at.contains(top) && !top.contains(at) && at.tagName !== 'INPUT')
        return [name, `it is under ${top.outerHTML.slice(0, 80)}`];
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none';
    return [name, ring || at.tagName === 'INPUT' || at.tagName === 'TEXTAREA' ? '' : 'it looks like any other'];
}"""


class Walk:
    """Goes through a page by Tab, and keeps where the focus could not be seen."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.unseen: list[tuple[str, str]] = []

    def to(self, target: Locator) -> None:
        """Presses Tab until an element has the focus."""
        expect(target).to_be_visible()
        wanted = target.element_handle()
        stops = []
        for _ in range(MAX_STOPS):
            self.tab.page.keyboard.press("Tab")
            name, problem = self._look()
            stops.append(name)
            if problem:
                self.unseen.append((name, problem))
            if wanted.evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"not reached within {MAX_STOPS} stops: {stops}")

    def press(self, target: Locator) -> None:
        """Goes there, and presses Enter."""
        self.to(target)
        self.tab.page.keyboard.press("Enter")

    def _look(self) -> tuple[str, str]:
        found: list[Any] = self.tab.page.evaluate(_FOCUS)
        return str(found[0]), str(found[1])


def test_from_the_list_of_runs_to_a_log(site: Site, tab: Tab) -> None:
    site.machine.run("walked/one", "seq -f 'line %g' 200")
    page, walk = tab.page, Walk(tab)
    tab.open("runs")
    expect(page.get_by_role("link", name="walked")).to_be_visible()
    # Past the links of all pages in one step.
    walk.press(tab.button("Skip to the page"))
    expect(page.get_by_role("main")).to_be_focused()
    walk.press(page.get_by_role("link", name="walked"))
    expect(page).to_have_url(re.compile("/runs/default/walked$"))
    expect(page.get_by_role("main")).to_be_focused()
    walk.press(page.get_by_role("link", name="one").first)
    expect(page).to_have_url(re.compile("/logs/default/walked/one/1$"))
    expect(page.locator("#log-rows")).to_be_focused()
    page.keyboard.press("End")
    expect(tab.line(200)).to_be_in_viewport()

    # From there to another page, by the links of all pages.
    for name in ("Search", "Workers"):
        walk.press(page.get_by_role("navigation").get_by_role("link", name=name))
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    assert not walk.unseen, walk.unseen


def test_a_token_is_made_and_revoked(site: Site, tab: Tab) -> None:
    page, walk = tab.page, Walk(tab)
    tab.open("access")
    new = tab.button("New token")
    walk.to(page.get_by_role("tab", name="Tokens"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Certificates")).to_be_focused()
    expect(page.get_by_role("region", name="Certificates")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    walk.press(new)
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    page.keyboard.type("by keyboard")
    # Every field of the form can be reached, and the form does not let go of the focus.
    walk.press(tab.button("Make the token"))
    expect(tab.button("Copy")).to_be_focused()
    walk.press(tab.button("I have it"))
    expect(new).to_be_focused()
    expect(page.get_by_role("dialog")).to_have_count(0)
    walk.press(tab.button("Revoke by keyboard"))
    expect(tab.button("Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(tab.button("Revoke by keyboard")).to_be_focused()
    page.keyboard.press("Enter")
    walk.press(page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True))
    # Its row is gone: the list has the focus.
    expect(tab.button("Revoke by keyboard")).to_have_count(0)
    expect(page.get_by_role("region", name="Tokens")).to_be_focused()
    assert not walk.unseen, walk.unseen


def test_the_stores_keys_are_rotated(site: Site, tab: Tab) -> None:
    page, walk = tab.page, Walk(tab)
    tab.open("storage")
    rotate = tab.button("Rotate…")
    expect(tab.button("Back up now…")).to_be_visible()
    walk.press(rotate)
    walk.press(tab.button("Make it"))
    expect(page.get_by_text("was made; new logs use it")).to_be_visible()
    expect(rotate).to_be_focused()
    assert not walk.unseen, walk.unseen
