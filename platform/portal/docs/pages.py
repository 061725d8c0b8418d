"""The documentation's pages, in reading order. Each is a template of its own."""

from dataclasses import dataclass

from django.urls import reverse

from api.operations import OPERATIONS
from api.operations.base import Operation


@dataclass(frozen=True)
class Page:
    """A page at `/docs/<slug>`, whose text is `templates/docs/pages/<slug>.html`.

    A page of an `operation` needs no template of its own: it can be made from the operation.
    `summary` stands under its title and in lists. `is_wide` gives a wide table the room of the
    contents beside the text.
    """

    slug: str
    title: str
    group: str
    summary: str
    is_wide: bool = False

    operation: Operation | None = None

    @property
    def templates(self) -> list[str]:
        """The templates of its text, the first that exists: its own, or one for any operation."""
        return [f"docs/pages/{self.slug}.html", "docs/pages/operation.html"]

    @property
    def url(self) -> str:
        """Its address. The first page is the documentation's own."""
        if self is FIRST:
            return reverse("docs")
        return reverse("docs_page", args=[self.slug])


START, ENDPOINTS, FEATURES = "Start", "Endpoints", "Features"
RUNNING, CLIENTS = "In production", "Clients"

FIRST = Page("quick-start", "Quick start", START, "From nothing to a first answer, in three steps.")
_BEFORE = (
    FIRST,
    Page("authentication", "Authentication", START, "Keys: how to send, limit and replace them."),
    Page(
        "models",
        "Models",
        START,
        "What can be called, what each model takes and makes, and at what price.",
        is_wide=True,
    ),
)
_AFTER = (
    Page("streaming", "Streaming", FEATURES, "Read an answer while it is being made."),
    Page("tools", "Tools", FEATURES, "Let a model call your functions."),
    Page("reasoning", "Reasoning", FEATURES, "Where a model's thinking goes, and what it costs."),
    Page("json", "JSON and schemas", FEATURES, "Answers that a program can read."),
    Page("caching", "Caching", FEATURES, "Input that was sent before, for less."),
    Page("cancellation", "Cancellation", FEATURES, "Stop an answer, and pay for what came."),
    Page("errors", "Errors and retries", RUNNING, "Every error, and which are worth a retry."),
    Page("rate-limits", "Rate limits", RUNNING, "How much a key may ask for in a minute."),
    Page("pricing", "Pricing", RUNNING, "What is charged, with a cost worked out."),
    Page("sdks", "SDKs", CLIENTS, "The same request in Python, Node, fetch, Go and curl."),
    Page("endpoints", "IDE and coding endpoints", CLIENTS, "The addresses, and how they differ."),
    Page("coding-agents", "Coding agents", CLIENTS, "Set up an agent or an editor."),
)


def pages() -> tuple[Page, ...]:
    """Return all pages. Those of the endpoints come from the operations themselves."""
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
