"""Clicks of staff's daily tasks, counted and compared with the table in the runbook."""

import re
from typing import Any

from playwright.sync_api import Page

from tests.browser.watch import faults_by_scheme
from tests.support.forks import ROOT

MOST = 9  # "in under ten clicks"
_RUNBOOK = (ROOT / "platform/docs/operations.md").read_text()
# The tasks of the runbook's table, with the number of clicks from the overview or the page before.
DOCUMENTED = {
    task: int(count)
    for task, count in re.findall(
        r"^\| ([^|]+) \| (\d+) \| [^|]+ \|$",
        _RUNBOOK.partition("### How many clicks")[2].partition("\n### ")[0],
        re.MULTILINE,
    )
}


class Clicks:
    """A page whose clicks are counted, and where each page is looked at."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0
        self.faults: list[str] = []

    def click(self, target: Any) -> None:
        """Click a locator's first visible element."""
        target.locator("visible=true").first.click()
        self.count += 1
        self.page.wait_for_load_state()

    def press(self, role: str, name: str) -> None:
        """Click a button or a link."""
        self.click(self.page.get_by_role(role, name=name, exact=True))  # type: ignore[arg-type]

    def open(self, name: str) -> None:
        """Click a row of a list."""
        self.click(self.page.locator("#result_list").get_by_role("link", name=name, exact=True))
        self.page.wait_for_url("**/change/**")

    def act(self, name: str) -> None:
        """Click one of a page's actions, which are in a menu on a phone."""
        menu = self.page.locator("a", has_text="more_horiz").locator("visible=true")
        if menu.count():
            self.click(menu)
        self.press("link", name)

    def done(self, task: str, *, is_wide: bool = True) -> None:
        """End a task: it takes the clicks that the runbook says; menus of a phone add some."""
        assert self.count <= MOST, task
        if is_wide:
            assert self.count == DOCUMENTED[task], task
        self.count = 0

    def look(self) -> None:
        """Collect what is wrong with the page as it is now."""
        place = self.page.url.partition("/admin/")[2]
        width = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        self.faults += [f"{place}: {width} px too wide"] if width > 0 else []
        self.faults += [f"{place}: {fault}" for fault in faults_by_scheme(self.page)]
