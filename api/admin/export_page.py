"""The page that exports the catalogue and compares a file with it."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from api.catalogue.check import LONGEST_FILE_BYTES, read_text
from api.catalogue.export import changes_by, export_catalogue
from api.catalogue.reader import CatalogueError
from api.models import Service

_PERMISSIONS = (
    *("api.view_service", "api.view_upstream", "api.view_model", "api.view_route"),
    *("api.view_routecost", "billing.view_priceversion", "accounts.view_plan"),
)


class CompareForm(forms.Form):
    """A catalogue file to compare with the catalogue."""

    file = forms.FileField(required=False, widget=UnfoldAdminFileFieldWidget, label="File")
    text = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}), label="Or paste it"
    )

    diff = ""
    details: tuple[str, ...] = ()
    is_same = False

    def clean(self) -> Any:
        """Compare the file. Its problems, each with its location, become the form's errors."""
        cleaned: Any = super().clean()
        upload, text = self.cleaned_data.get("file"), self.cleaned_data.get("text")
        if not (upload or text):
            raise forms.ValidationError("Upload a file, or paste one.")
        name = upload.name if upload else "file.toml"
        content = upload.read(LONGEST_FILE_BYTES + 1) if upload else (text or "").encode()
        try:
            changes, self.diff = changes_by(
                read_text(content, name, settings.READ_ENVIRONMENT), name
            )
        except CatalogueError as error:
            raise forms.ValidationError(error.problems) from None
        self.details = tuple(changes.details)
        self.is_same = changes.is_empty()
        return cleaned


def require_permissions(request: HttpRequest) -> None:
    """Raise PermissionDenied for staff who may not view everything in an export."""
    if not request.user.has_perms(_PERMISSIONS):
        raise PermissionDenied


def download() -> HttpResponse:
    """Return the catalogue as a file with the name of the one that was last loaded."""
    name = Service.objects.values_list("catalogue", flat=True).first() or "catalogue"
    safe = "".join(each for each in name if each.isalnum() or each in "-_") or "catalogue"
    response = HttpResponse(export_catalogue(), content_type="application/toml")
    response["Content-Disposition"] = f'attachment; filename="{safe}.toml"'
    return response
