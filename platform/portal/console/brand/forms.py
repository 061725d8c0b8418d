"""The forms of a draft of the brand, and of one email's words."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from portal.brand.colors import DARK, LIGHT, ColorError, Scheme, parse_accent
from portal.brand.current import DOCUMENTS
from portal.brand.logos import MOST_BYTES, LogoError, parse_logo
from portal.brand.texts import TextError, check_placeholders
from portal.emails.texts import EMAILS
from portal.models import BrandDraft

MOST_POINTS, LONGEST_POINT = 6, 100
LONGEST_DOCUMENT = 60_000
_LEGAL = {"terms": "Terms of Service", "privacy": "Privacy Policy", "imprint": "Imprint"}
_SHIPPED = "Empty: the default text."


def _line(label: str, help_text: str = "", **options: Any) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(
        label=label, help_text=help_text, required=False, widget=widget, **options
    )


def _text(label: str, help_text: str = "", rows: int = 4, **options: Any) -> forms.CharField:
    widget = UnfoldAdminTextareaWidget(attrs={"rows": rows})
    return forms.CharField(
        label=label, help_text=help_text, required=False, widget=widget, **options
    )


class DraftForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A draft, except the words of single emails."""

    name = forms.CharField(max_length=80, widget=UnfoldAdminTextInputWidget())
    tagline = _line("Tagline", "For search engines and links, and the home page's title.")
    contact_email = forms.EmailField(
        label="Support address",
        required=False,
        widget=UnfoldAdminEmailInputWidget(),
        help_text="In the footer, in emails and where a customer needs help.",
    )
    logo_file = forms.FileField(
        label="Logo",
        required=False,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".svg,.png"}),
        help_text=(
            f"Square, SVG or PNG (64 to 1024 px), up to {MOST_BYTES // 1000} kB."
            " It is the browser's icon, too."
        ),
    )
    removes_logo = forms.BooleanField(
        label="Use the default logo", required=False, widget=UnfoldBooleanWidget
    )
    accent_light = _line("Accent in light", "Such as #0a6b57. Empty: the default color.")
    accent_dark = _line("Accent in dark", "Such as #5fd0b2. Empty: the default color.")
    headline = _line("Headline", "Empty: the tagline, or the default.", max_length=120)
    lead = _text("Lead", _SHIPPED, max_length=500)
    points = _text("Points", f"One per line, up to {MOST_POINTS}. Empty: none.", max_length=800)
    email_opening = _line("Opening", "The first line of every email. Empty: none.", max_length=200)
    email_closing = _text("Closing", "The last lines. Empty: none.", rows=3, max_length=600)
    email_signature = _text(
        "Signature",
        "Below the name and the support address, such as your company's address.",
        rows=3,
        max_length=600,
    )

    class Meta:
        model = BrandDraft
        fields = (
            *("name", "tagline", "contact_email", "accent_light", "accent_dark", "headline"),
            *("lead", "points"),
            *(f"{name}_{kind}" for name in DOCUMENTS for kind in ("url", "text")),
            *("email_opening", "email_closing", "email_signature"),
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, title in _LEGAL.items():
            which = "Empty: none." if name == "imprint" else _SHIPPED
            self.fields[f"{name}_url"] = _line(
                f"{title}: link", "An https address, instead of a text.", max_length=300
            )
            self.fields[f"{name}_text"] = _text(
                f"{title}: text",
                f"Plain text. “# ” begins a heading, “- ” a point of a list. {which}",
                rows=6,
                max_length=LONGEST_DOCUMENT,
            )
        self.initial.update({name: getattr(self.instance, name) for name in self.Meta.fields})

    @property
    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields as the page shows them."""
        legal = [f"{name}_{kind}" for name in DOCUMENTS for kind in ("url", "text")]
        sections = {
            "Name and logo": ["name", "tagline", "contact_email", "logo_file", "removes_logo"],
            "Colors": ["accent_light", "accent_dark"],
            "Home page": ["headline", "lead", "points"],
            "Legal": legal,
            "All emails": ["email_opening", "email_closing", "email_signature"],
        }
        return [(title, [self[name] for name in names]) for title, names in sections.items()]

    def clean_name(self) -> str:
        """Return the name on one line."""
        return " ".join(str(self.cleaned_data["name"]).split())

    def clean_logo_file(self) -> tuple[bytes, str] | None:
        """Return the logo to store with its content type. Raise ValidationError."""
        upload = self.cleaned_data["logo_file"]
        if not upload:
            return None
        try:
            return parse_logo(upload.read(MOST_BYTES + 1))
        except LogoError as error:
            raise ValidationError(str(error)) from None

    def clean_accent_light(self) -> str:
        """Return the color. Raise ValidationError for one that isn't readable."""
        return _accent(self.cleaned_data["accent_light"], LIGHT)

    def clean_accent_dark(self) -> str:
        """Return the color. Raise ValidationError for one that isn't readable."""
        return _accent(self.cleaned_data["accent_dark"], DARK)

    def clean_points(self) -> str:
        """Return the points. Raise ValidationError for too many or too long ones."""
        lines = [line.strip() for line in self.cleaned_data["points"].splitlines() if line.strip()]
        if len(lines) > MOST_POINTS:
            raise ValidationError(f"There are {len(lines)} points; the most is {MOST_POINTS}.")
        if any(len(line) > LONGEST_POINT for line in lines):
            raise ValidationError(f"A point has at most {LONGEST_POINT} characters.")
        return "\n".join(lines)

    def clean(self) -> Any:
        """Raise ValidationError for a document that has both a link and a text."""
        cleaned = super().clean()
        for name in DOCUMENTS:
            url = self.cleaned_data.get(f"{name}_url", "")
            if url and self.cleaned_data.get(f"{name}_text"):
                self.add_error(f"{name}_url", "Give a link or a text, not both.")
            elif url and not _is_link(url):
                self.add_error(f"{name}_url", "Enter an address that begins with https://.")
        return cleaned

    def save(self, commit: bool = True) -> BrandDraft:
        """Save the draft."""
        draft: BrandDraft = super().save(commit=False)
        if self.cleaned_data["removes_logo"]:
            draft.logo, draft.logo_type = b"", ""
        elif self.cleaned_data["logo_file"]:
            draft.logo, draft.logo_type = self.cleaned_data["logo_file"]
        if commit:
            draft.save()
        return draft


class EmailForm(forms.Form):
    """An email's subject and body; either may be left as it ships."""

    subject = _line("Subject", _SHIPPED, max_length=200)
    body = _text(
        "Body",
        "Plain text. An empty line begins a paragraph. A paragraph such as “View usage:"
        " {usage_url}” becomes a button.",
        rows=12,
        max_length=5_000,
    )

    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._text = EMAILS[name]

    def clean_subject(self) -> str:
        """Return the subject on one line. Raise ValidationError for its placeholders."""
        subject = " ".join(str(self.cleaned_data["subject"]).split())
        _check(lambda: check_placeholders(subject, self._text.placeholders))
        return subject

    def clean_body(self) -> str:
        """Return the body. Raise ValidationError for its placeholders."""
        body = str(self.cleaned_data["body"]).strip()
        if body:
            required = self._text.required
            _check(lambda: check_placeholders(body, self._text.placeholders, required))
        return body


def _check(check: Callable[[], None]) -> None:
    try:
        check()
    except TextError as error:
        raise ValidationError(str(error)) from None


def _accent(text: str, scheme: Scheme) -> str:
    if not text.strip():
        return ""
    try:
        return parse_accent(text, scheme)
    except ColorError as error:
        raise ValidationError(str(error)) from None


def _is_link(url: str) -> bool:
    try:
        URLValidator(schemes=["https"])(url)
    except ValidationError:
        return False
    return urlsplit(url).username is None
