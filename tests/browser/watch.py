"""What no page may do, and what none may lack: faults collected while tests click."""

import random
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import ConsoleMessage, Error, Page, Request

from tests.support.sampling import IN_CI

SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
AXE = Path(__file__).with_name("axe.min.js").read_text()
# Each rule has its impact: those that find nothing serious need not look.
RUN = """options => {
  const slight = axe._audit.rules.filter(rule => ["minor", "moderate"].includes(rule.impact));
  options.rules = Object.fromEntries(slight.map(rule => [rule.id, {enabled: false}]));
  return axe.run(document, options);
}"""

WEAR = """scheme => location.pathname.startsWith("/admin/")
  && document.documentElement.classList.toggle("dark", scheme === "dark")"""


class Watch:
    """Collects foreign requests, console errors and uncaught exceptions of pages.

    `goes_to` is where a person may be led to, as to Stripe's pages; nothing is loaded from there.
    """

    def __init__(self, base_url: str, goes_to: str = "") -> None:
        self.faults: list[str] = []
        self._own = (base_url, "data:", "blob:", "about:")
        self._goes_to = goes_to
        self._handlers: list[tuple[Any, Any]] = [
            ("request", self._on_request),
            ("console", self._on_console),
            ("pageerror", self._on_error),
        ]

    def over(self, page: Page) -> None:
        """Watch a page from now on."""
        for event, handler in self._handlers:
            page.on(event, handler)

    def leave(self, page: Page) -> None:
        """Watch the page no longer."""
        for event, handler in self._handlers:
            page.remove_listener(event, handler)

    def _on_request(self, request: Request) -> None:
        is_led = self._goes_to and request.is_navigation_request()
        if is_led and request.url.startswith(self._goes_to):
            return
        if not request.url.startswith(self._own):
            self.faults.append(f"loads {request.url}")

    def _on_error(self, error: Error) -> None:
        self.faults.append(f"uncaught: {error.stack or error}")

    def _on_console(self, message: ConsoleMessage) -> None:
        # The browser itself reports statuses that a test asks for on purpose.
        if message.type == "error" and "the server responded with a status of" not in message.text:
            self.faults.append(f"console: {message.text}")


def accessibility_faults(page: Page, *, only: tuple[str, ...] = ()) -> list[str]:
    """Return axe-core's serious and critical findings on the page as it is now.

    `only` names the rules to check instead of all, which takes a fraction of the time.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(only)} if only else {})
    found: dict[str, Any] = page.evaluate(RUN, options)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


def faults_by_scheme(page: Page) -> list[str]:
    """Return `accessibility_faults` in light and in dark; outside CI, in either by chance."""
    found = []
    for place, scheme in enumerate(random.sample(SCHEMES, len(SCHEMES) if IN_CI else 1)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # The admin's pages take the scheme that they are loaded with.
        page.evaluate(WEAR, scheme)
        # The second has other colours, but the same elements.
        only = ("color-contrast",) if place else ()
        found += [f"{scheme}: {fault}" for fault in accessibility_faults(page, only=only)]
    return found
