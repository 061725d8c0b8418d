"""The console's pages about staff: their log as a file."""

from collections.abc import Iterator
from typing import cast

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.models import User
from portal.console.access import StaffRequest, staff_page
from portal.ui.csv import Row, csv_response

_BATCH_ENTRIES = 1000
_HEADER: Row = ["time_utc", "user", "action", "type", "object_id", "object", "changes"]


@require_safe
@staff_page("admin.view_logentry")
def log_csv(request: StaffRequest) -> HttpResponseBase:
    """Download the entries of the staff log that the list shows with the same query."""
    try:
        listed = admin.site.get_model_admin(LogEntry).get_changelist_instance(request)
    except IncorrectLookupParameters:
        raise BadRequest("The staff log has no such filter.") from None
    return csv_response("staff-log", _HEADER, _log_batches(listed.queryset))


def _log_batches(entries: QuerySet[LogEntry]) -> Iterator[list[Row]]:
    """Yield the entries, newest first, batch by batch, each a query of its own."""
    entries = entries.select_related("user", "content_type").order_by("-pk")
    batch = list(entries[:_BATCH_ENTRIES])
    while batch:
        yield [_log_row(entry) for entry in batch]
        batch = list(entries.filter(pk__lt=batch[-1].pk)[:_BATCH_ENTRIES])


def _log_row(entry: LogEntry) -> Row:
    # The stubs of Django leave the foreign keys of this model open.
    kind = cast("ContentType | None", entry.content_type)
    user = cast(User, entry.user)
    return [
        entry.action_time.isoformat(),
        user.email,
        str(entry.get_action_flag_display()),
        f"{kind.app_label}.{kind.model}" if kind else "",
        entry.object_id,
        entry.object_repr,
        entry.get_change_message(),
    ]
