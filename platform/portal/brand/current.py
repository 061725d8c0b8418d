"""The published brand as a process holds it, and a draft in its place for a preview.

Every page reads the service's row, and with it the digest of the published brand. A process loads
the brand's row only if the digest is not that of the brand it holds, so the brand costs no query of
its own, and a published change is on the next page of every process.
"""

import json
from copy import copy
from dataclasses import dataclass
from hashlib import sha256

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse

from api.models import Service
from portal.brand.colors import (
    DARK,
    LIGHT,
    SHIPPED_DARK,
    SHIPPED_LIGHT,
    Shades,
    shades_of,
    stylesheet,
)
from portal.brand.logos import PNG
from portal.brand.texts import Block, paragraphs
from portal.models import Brand, BrandDraft, BrandFields

FIELDS = tuple(field.name for field in BrandFields._meta.get_fields())
DOCUMENTS = ("terms", "privacy", "imprint")
_DRAFT_URL = "console:brand_draft_file"


@dataclass(frozen=True)
class LoadedBrand:
    """A brand, ready for pages and emails. `digest` is empty for what ships."""

    digest: str
    row: BrandFields
    light: Shades
    dark: Shades
    terms_version: str = ""
    is_draft: bool = False

    @property
    def logo(self) -> bytes:
        """The logo's file; empty for the one that ships."""
        return bytes(self.row.logo)

    @property
    def icon_url(self) -> str:
        """The URL of the logo, which is the browser's icon too."""
        return self._file("logo") if self.logo else static("icon.svg")

    @property
    def icon_type(self) -> str:
        """The content type of the logo."""
        return self.row.logo_type if self.logo else "image/svg+xml"

    @property
    def touch_icon_url(self) -> str:
        """The URL of the icon on a phone's home screen, which must be a PNG, or empty."""
        if not self.logo:
            return static("icon-180.png")
        return self.icon_url if self.row.logo_type == PNG else ""

    @property
    def css_url(self) -> str:
        """The URL of the colors' stylesheet; empty for those that ship."""
        return self._file("colors") if self.has_colors else ""

    @property
    def has_colors(self) -> bool:
        """Whether an accent is set."""
        return bool(self.row.accent_light or self.row.accent_dark)

    @property
    def css(self) -> str:
        """The stylesheet of the accent colors."""
        return stylesheet(self.light, self.dark)

    @property
    def points(self) -> list[str]:
        """The home page's points."""
        return [line.strip() for line in self.row.points.splitlines() if line.strip()]

    @property
    def has_imprint(self) -> bool:
        """Whether there is an imprint."""
        return bool(self.row.imprint_url or self.row.imprint_text)

    def document_url(self, name: str) -> str:
        """Return the address of a legal document elsewhere, or an empty text."""
        return str(getattr(self.row, f"{name}_url"))

    def document(self, name: str) -> list[Block]:
        """Return a legal document's text; empty where the one that ships is shown."""
        return paragraphs(str(getattr(self.row, f"{name}_text")))

    def email_text(self, name: str) -> dict[str, str]:
        """Return the subject and body that were written for an email; either may be missing."""
        found: dict[str, str] = self.row.email_texts.get(name, {})
        return found

    def _file(self, kind: str) -> str:
        name = _DRAFT_URL if self.is_draft else "brand_file"
        return reverse(name, args=[self.digest, kind])


@dataclass(frozen=True)
class Preview:
    """A draft in place of the published brand, for one request. `theme` is light, dark or empty."""

    service: Service
    brand: LoadedBrand
    theme: str = ""


def digest_of(row: BrandFields, *more: str) -> str:
    """Return the digest of a brand's fields. It is never empty."""
    found = sha256()
    for name in FIELDS:
        value = getattr(row, name)
        if isinstance(value, dict):
            value = json.dumps(value, sort_keys=True)
        found.update(value.encode() if isinstance(value, str) else bytes(value))
        found.update(b"\0")
    found.update("\0".join(more).encode())
    return found.hexdigest()


def load(row: BrandFields, digest: str, *, is_draft: bool = False) -> LoadedBrand:
    """Return a row's brand."""
    terms_version = row.terms_version if isinstance(row, Brand) else ""
    light = shades_of(row.accent_light, LIGHT) if row.accent_light else SHIPPED_LIGHT
    dark = shades_of(row.accent_dark, DARK) if row.accent_dark else SHIPPED_DARK
    return LoadedBrand(digest, row, light, dark, terms_version, is_draft)


class BrandCache:
    """The brand that a process holds."""

    def __init__(self) -> None:
        self._held = SHIPPED

    def brand_of(self, service: Service) -> LoadedBrand:
        """Return the published brand that the service's row names, in at most one query."""
        if not service.brand_digest:
            return SHIPPED
        held = self._held
        if held.digest != service.brand_digest:
            row = Brand.objects.filter(pk=1).first()
            # Its own digest: another brand may have been published since the service was read.
            held = self._held = load(row, row.digest) if row is not None else SHIPPED
        return held

    def held(self, digest: str) -> LoadedBrand | None:
        """Return the brand that is held if it has this digest: without a query."""
        held = self._held
        return held if digest and held.digest == digest else None


SHIPPED = load(Brand(), "")
cache = BrandCache()


def preview_of(draft: BrandDraft, service: Service, theme: str = "") -> Preview:
    """Return the draft as a preview."""
    shown = copy(service)
    shown.name, shown.tagline, shown.contact_email = draft.name, draft.tagline, draft.contact_email
    return Preview(shown, load(draft, digest_of(draft), is_draft=True), theme)


def terms_version(brand: LoadedBrand) -> str:
    """Return the version of the terms that sign-ups accept."""
    return brand.terms_version or str(settings.TERMS_VERSION)
