"""The documentation's pages, in reading order. Each is a template of its own."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from api.operations import OPERATIONS
from api.operations.base import Operation
from portal.docs.agents import AGENTS, Agent


@dataclass(frozen=True)
class Page:
    """A page at `/docs/<slug>`, whose text is `templates/docs/pages/<slug>.html`.

    The page of an `operation` or an `agent` needs no template: it can be generated from it.
    `summary` is shown under the title and in lists. Texts are kept in English, and translated when
    they are read.
    """

    slug: str
    english_title: str
    english_group: str
    english_summary: str
    operation: Operation | None = None
    agent: Agent | None = None

    @property
    def title(self) -> str:
        """The title in the reader's language."""
        return gettext(self.english_title)

    @property
    def group(self) -> str:
        """The group of pages that it belongs to, in the reader's language."""
        return gettext(self.english_group)

    @property
    def summary(self) -> str:
        """The page in a sentence, in the reader's language."""
        return gettext(self.english_summary).replace("{title}", self.title)

    @property
    def templates(self) -> list[str]:
        """Template names to try in order: the page's own, then the one for all of its kind."""
        kind = "agent" if self.agent is not None else "operation"
        return [f"docs/pages/{self.slug}.html", f"docs/pages/{kind}.html"]

    @property
    def url(self) -> str:
        """The page's URL. The first page is served at the documentation's root."""
        if self is FIRST:
            return reverse("docs")
        return reverse("docs_page", args=[self.slug])

    @property
    def markdown_url(self) -> str:
        """The page's URL as Markdown."""
        return reverse("docs_markdown", args=[self.slug])


START, ENDPOINTS, FEATURES = _("Start"), _("Endpoints"), _("Features")
RUNNING, CLIENTS = _("In production"), _("Clients")

FIRST = Page("quick-start", _("Quick start"), START, _("Send your first request in three steps."))
_BEFORE = (
    FIRST,
    Page("authentication", _("Authentication"), START, _("Send, restrict and rotate API keys.")),
    Page(
        "model-list",
        _("Model list"),
        START,
        _("Limits, capabilities and prices of models over the API."),
    ),
)
_AFTER = (
    Page("streaming", _("Streaming"), FEATURES, _("Read a response while it's generated.")),
    Page("tools", _("Tools"), FEATURES, _("Let a model call your functions.")),
    Page(
        "reasoning", _("Reasoning"), FEATURES, _("Where reasoning is returned, and what it costs.")
    ),
    Page("json", _("JSON and schemas"), FEATURES, _("Responses your program can parse.")),
    Page("caching", _("Caching"), FEATURES, _("Pay less for repeated input.")),
    Page(
        "cancellation",
        _("Cancellation"),
        FEATURES,
        _("Stop a response and pay only for what was generated."),
    ),
    Page("errors", _("Errors and retries"), RUNNING, _("All errors, and which ones to retry.")),
    Page(
        "idempotency",
        _("Idempotent requests"),
        RUNNING,
        _("Repeat a request without paying twice."),
    ),
    Page("max-cost", _("Maximum cost"), RUNNING, _("Limit what a single request can cost.")),
    Page(
        "webhooks",
        _("Webhooks"),
        RUNNING,
        _("Get notified about balances, budgets, payments and jobs."),
    ),
    Page("rate-limits", _("Rate limits"), RUNNING, _("Requests and tokens per minute, per key.")),
    Page("pricing", _("Pricing"), RUNNING, _("How requests are charged, with an example.")),
    Page("sdks", _("SDKs"), CLIENTS, _("The same request in Python, Node, fetch, Go and curl.")),
    Page("endpoints", _("IDE and coding endpoints"), CLIENTS, _("Base URLs and how they differ.")),
    Page("mcp", _("MCP server"), CLIENTS, _("Balance, usage, prices and keys as tools.")),
    Page("coding-agents", _("Coding agents"), CLIENTS, _("Set up an agent or an editor.")),
    *(
        Page(
            f"agents/{agent.slug}",
            agent.name,
            _("Coding agents"),
            _("Set up {title} with a key of its own, and test it."),
            agent=agent,
        )
        for agent in AGENTS
    ),
)


def pages() -> tuple[Page, ...]:
    """Return all pages, with the endpoints' pages generated from the operations."""
    endpoints = tuple(
        Page(page.slug, page.title, ENDPOINTS, page.summary, operation=operation)
        for operation in OPERATIONS.values()
        if (page := operation.page) is not None
    )
    return (*_BEFORE, *endpoints, *_AFTER)


def find_page(slug: str) -> Page | None:
    """Return the page of that slug, or None."""
    return next((page for page in pages() if page.slug == slug), None)


def neighbours(page: Page) -> tuple[Page | None, Page | None]:
    """Return the pages before and after a page."""
    ordered = pages()
    place = ordered.index(page)
    after = ordered[place + 1] if place + 1 < len(ordered) else None
    return (ordered[place - 1] if place else None), after


def groups() -> list[tuple[str, list[Page]]]:
    """Return the pages by group, in reading order."""
    ordered = pages()
    names = dict.fromkeys(page.group for page in ordered)
    return [(name, [page for page in ordered if page.group == name]) for name in names]
