"""What no page may do, and what none may lack: faults collected while tests click."""

from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Page, Request

AXE = Path(__file__).with_name("axe.min.js").read_text()
# Each rule has its impact: those that find nothing serious need not look.
RUN = """options => {
  const slight = axe._audit.rules.filter(rule => ["minor", "moderate"].includes(rule.impact));
  options.rules = Object.fromEntries(slight.map(rule => [rule.id, {enabled: false}]));
  return axe.run(document, options);
}"""


class Watch:
    """Collects foreign requests, console errors and uncaught exceptions of pages.

    `goes_to` is where a person may be led to, as to Stripe's pages; nothing is loaded from there.
    """

    def __init__(self, base_url: str, goes_to: str = "") -> None:
        self.faults: list[str] = []
        self._own = (base_url, "data:", "blob:", "about:")
        self._goes_to = goes_to

    def over(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("request", self._on_request)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))

    def _on_request(self, request: Request) -> None:
        is_led = self._goes_to and request.is_navigation_request()
        if is_led and request.url.startswith(self._goes_to):
            return
        if not request.url.startswith(self._own):
            self.faults.append(f"loads {request.url}")

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
