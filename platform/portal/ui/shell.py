"""The frame around every page: service name, navigation, settings tabs, team and balance."""

from dataclasses import dataclass, replace
from functools import cached_property

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access import Actor
from accounts.models import Team
from api.models import Service
from api.service import current_service
from billing.models import CreditAccount
from portal.access import is_view_as, recognise
from portal.brand.current import LoadedBrand, Preview, cache
from portal.ui.banners import Banner, banners_for


@dataclass(frozen=True)
class Link:
    """A way to go. `is_current` marks where the reader is."""

    title: str
    url: str
    icon: str = ""
    is_current: bool = False


# The page of a request's charge; its id follows.
REQUEST_URL = "/usage/requests/"
PUBLIC = (
    (gettext_lazy("Models"), "models"),
    (gettext_lazy("Docs"), "docs"),
    (gettext_lazy("Status"), "status"),
)


class Shell:
    """Looks up what the templates around a page ask for, and nothing that they don't."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def service(self) -> Service:
        """The service's row: its name, tagline and contact address; read once a request."""
        if self.preview:
            return self.preview.service
        found: Service | None = getattr(self._request, "service_row", None)
        if found is None:
            found = self._request.service_row = current_service()  # type: ignore[attr-defined]
        return found

    @property
    def preview(self) -> Preview | None:
        """The draft of the brand that this page is shown with; None on every page but previews."""
        return getattr(self._request, "brand_preview", None)

    @cached_property
    def brand(self) -> LoadedBrand:
        """The brand: logo, colors, the home page's words, legal texts."""
        return self.preview.brand if self.preview else cache.brand_of(self.service)

    @cached_property
    def image_url(self) -> str:
        """The picture for links to a public page: the logo if it is a PNG, nothing for an SVG."""
        url = self.brand.touch_icon_url if self.brand.logo else static("og.png")
        return self._request.build_absolute_uri(url) if url else ""

    @cached_property
    def public_links(self) -> list[Link]:
        """The public links."""
        return _mark_one([self._link(str(title), name) for title, name in PUBLIC])

    @property
    def is_sign_up_open(self) -> bool:
        """Whether sign-up is open; invited people can always sign up."""
        return bool(settings.SIGNUP_OPEN)

    @cached_property
    def rail(self) -> list[list[Link]]:
        """The member's links, in groups."""
        groups = [
            [
                (_("Dashboard"), "dashboard", "layout-dashboard"),
                (_("Usage"), "usage", "chart-column"),
                (_("API keys"), "apikeys", "key-round"),
            ],
            [(_("Chat"), "chat", "message-square"), (_("Playground"), "playground", "terminal")],
            [(_("Team"), "team", "users"), (_("Settings"), "profile", "settings")],
            [
                (_("Models"), "models", "layers"),
                (_("Docs"), "docs", "book-open"),
                (_("Status"), "status", "activity"),
            ],
        ]
        if self.actor is not None and self.actor.may_see_billing:
            groups[0].append((_("Billing"), "billing", "credit-card"))
        return [_mark_one([self._link(*link) for link in group]) for group in groups]

    @cached_property
    def settings_tabs(self) -> list[Link]:
        """The pages of the member's settings; the one that is shown is current."""
        # The profile's address is the beginning of others' that are not of the settings.
        tabs = [(title, reverse(name), name != "profile") for title, name in settings_tabs()]
        here = self._request.path
        inside = [url for _, url, deep in tabs if here == url or (deep and here.startswith(url))]
        current = max(inside, key=len, default=None)
        return [Link(title, url, is_current=url == current) for title, url, _ in tabs]

    @cached_property
    def actor(self) -> Actor | None:
        """The member whose page it is; None for readers who are signed out or in no team.

        Looked up where the page's view has not: allauth's views know nothing of teams.
        """
        recognise(self._request)
        return getattr(self._request, "actor", None)

    @property
    def viewed_team(self) -> Team | None:
        """The team whose portal a member of staff views; None on a member's own pages."""
        return self.actor.team if self.actor and is_view_as(self._request) else None

    @property
    def frame(self) -> str:
        """The template around pages that anyone may read: a member's shell stays."""
        return "app.html" if self.actor is not None else "visitor.html"

    @cached_property
    def banners(self) -> list[Banner]:
        """What stops the team from working, or soon costs more."""
        if self.actor is None:
            return []
        return banners_for(self.actor, self.account, self.service.contact_email)

    @property
    def zone(self) -> str:
        """The zone that this page's times are in."""
        return timezone.get_current_timezone_name()

    @property
    def zone_note(self) -> str:
        """The note that names the zones of a page's times and days."""
        if self.zone == "UTC":
            return _("Times in {zone}.").format(zone=self.zone)
        return _("Times in {zone}, days in UTC.").format(zone=self.zone)

    @property
    def teams(self) -> list[Team]:
        """The teams that the member can act for."""
        return getattr(self._request, "teams", [])

    @cached_property
    def account(self) -> CreditAccount | None:
        """The team's credit account."""
        if self.actor is None:
            return None
        return getattr(self.actor.team, "credit_account", None)

    @property
    def money_url(self) -> str:
        """The page the balance links to."""
        may = self.actor is not None and self.actor.may_see_billing
        return reverse("billing" if may else "usage")

    def _link(self, title: str, name: str, icon: str = "") -> Link:
        url = reverse(name)
        path = self._request.path
        if name == "profile":  # stands for all pages of the settings
            return Link(title, url, icon, any(tab.is_current for tab in self.settings_tabs))
        if name == "billing" and path.startswith(reverse("statement")):  # one click away from it
            return Link(title, url, icon, is_current=True)
        return Link(title, url, icon, path == url or path.startswith(f"{url}/"))


def _mark_one(links: list[Link]) -> list[Link]:
    """Return the links with one that is current: the models' address is within the docs'."""
    here = max((link.url for link in links if link.is_current), key=len, default="")
    return [replace(link, is_current=link.url == here) for link in links]


def shell(request: HttpRequest) -> dict[str, Shell]:
    """Return every template its `shell` (a context processor)."""
    return {"shell": Shell(request)}


_TABS = (
    (gettext_lazy("Profile"), "profile"),
    (gettext_lazy("Password"), "account_change_password"),
    (gettext_lazy("Email"), "account_email"),
    (gettext_lazy("Two-step & passkeys"), "mfa_index"),
    (gettext_lazy("Sessions"), "usersessions_list"),
    (gettext_lazy("Notifications"), "notifications"),
    (gettext_lazy("Your data"), "your_data"),
)
_CONNECTIONS = (gettext_lazy("Connected accounts"), "socialaccount_connections")


def settings_tabs() -> list[tuple[str, str]]:
    """Return the tabs of this service: connections only where there is something to connect."""
    tabs = [*_TABS, _CONNECTIONS] if settings.SOCIAL_PROVIDERS else [*_TABS]
    return [(str(title), name) for title, name in tabs]
