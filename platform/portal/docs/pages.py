"""The documentation's pages, in reading order. Each is a template of its own."""

from dataclasses import dataclass

from django.urls import reverse


@dataclass(frozen=True)
class Page:
    """A page at `/docs/<slug>`, whose text is `templates/docs/pages/<slug>.html`.

    `summary` stands under its title and in lists. `is_wide` gives a wide table the room of the
    contents beside the text.
    """

    slug: str
    title: str
    group: str
    summary: str
    is_wide: bool = False

    @property
    def template(self) -> str:
        """The template of its text."""
        return f"docs/pages/{self.slug}.html"

    @property
    def url(self) -> str:
        """Its address. The first page is the documentation's own."""
        if self is PAGES[0]:
            return reverse("docs")
        return reverse("docs_page", args=[self.slug])


START, ENDPOINTS, FEATURES = "Start", "Endpoints", "Features"
RUNNING, CLIENTS = "In production", "Clients"

PAGES = (
    Page("quick-start", "Quick start", START, "From nothing to a first answer, in three steps."),
    Page("authentication", "Authentication", START, "Keys: how to send, limit and replace them."),
    Page(
        "models",
        "Models",
        START,
        "What can be called, what each model takes and makes, and at what price.",
        is_wide=True,
    ),
    Page("chat-completions", "Chat completions", ENDPOINTS, "Answer a conversation."),
    Page("completions", "Completions", ENDPOINTS, "Continue a text, as older clients do."),
    Page("images", "Images", ENDPOINTS, "Make pictures of a text."),
    Page("videos", "Videos", ENDPOINTS, "Order a video and ask for it until it is made."),
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
_BY_SLUG = {page.slug: page for page in PAGES}


def find_page(slug: str) -> Page | None:
    """Return the page of that slug, or None."""
    return _BY_SLUG.get(slug)


def neighbours(page: Page) -> tuple[Page | None, Page | None]:
    """Return the pages before and after a page."""
    place = PAGES.index(page)
    after = PAGES[place + 1] if place + 1 < len(PAGES) else None
    return (PAGES[place - 1] if place else None), after


def groups() -> list[tuple[str, list[Page]]]:
    """Return the pages by group, in reading order."""
    names = dict.fromkeys(page.group for page in PAGES)
    return [(name, [page for page in PAGES if page.group == name]) for name in names]
