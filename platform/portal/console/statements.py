"""The pages of upstreams' statements: import, comparison, lines, corrections."""

from collections.abc import Callable, Iterator
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.staff_actions import log_for_staff
from api.models import UsageSource
from api.tasks import read_usage as read_usage_task
from billing.models import StatementLine, UpstreamStatement
from billing.reconciliation import statements
from billing.reconciliation.export_file import ExportError
from billing.reconciliation.statements import StatementError
from portal.console.access import StaffRequest, staff_page
from portal.console.shell import page
from portal.console.statement_forms import ColumnsForm, ConfirmForm, UploadForm
from portal.console.statement_queries import (
    LineFilter,
    drift_rows,
    line_batches,
    line_page,
    recent_statements,
    upstream_sums,
    usage_rows,
    usage_sources,
)
from portal.ui.csv import Row, csv_response

ADD, CORRECT = "billing.add_upstreamstatement", "billing.correct_usage"
VIEW = "billing.view_upstreamstatement"
_HEADER: Row = [
    *("upstream_request_id", "line", "time", "model", "state", "request_id"),
    *("input_tokens", "our_input_tokens", "cached_tokens", "our_cached_tokens"),
    *("output_tokens", "our_output_tokens", "cost_nanos", "our_cost_nanos"),
    *("is_estimated", "correction", "correction_nanos"),
]


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page(VIEW)
def index(request: StaffRequest) -> HttpResponse:
    """List the statements, and store a file that was uploaded."""
    may_add = request.user.has_perm(ADD)
    if request.method == "POST" and not may_add:
        raise PermissionDenied
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file: UploadedFile = form.cleaned_data["file"]
        name, size = file.name or "", file.size or 0
        try:
            found, is_new = statements.upload(
                request.user, form.cleaned_data["upstream"], name, size, file.chunks
            )
        except StatementError as error:
            form.add_error("file", str(error))
        else:
            if not is_new:
                messages.info(request, "This file was imported before.")
            return redirect("console:statement", found.pk)
    context = {
        "title": "Upstream reconciliation",
        "form": form if may_add else None,
        "statements": recent_statements(),
        "upstreams": upstream_sums(),
        "sources": usage_sources(),
    }
    return page(request, "console/statements.html", context)


@require_safe
@staff_page(VIEW)
def usage(request: StaffRequest, source_id: int) -> HttpResponse:
    """Show the sums that an upstream's API reports beside ours, by day and by model."""
    source = _source(source_id)
    day, model = request.GET.get("day"), request.GET.get("model")
    context = {
        "title": f"Usage reported by {source.upstream}",
        "source": source,
        "day": day,
        "model": model,
        "may_read": request.user.has_perm(ADD),
        **usage_rows(source, day, model),
    }
    return page(request, "console/usage.html", context)


@require_POST
@staff_page(ADD)
def read_usage(request: StaffRequest, source_id: int) -> HttpResponse:
    """Have Celery read an upstream's usage now."""
    source = _source(source_id)
    transaction.on_commit(lambda: read_usage_task.delay(source.pk), robust=True)
    log_for_staff(request.user, source, "read now")
    messages.success(request, "The usage is being read. Reload the page in a moment.")
    return redirect("console:usage", source.pk)


@require_safe
@staff_page(VIEW)
def statement(request: StaffRequest, statement_id: UUID) -> HttpResponse:
    """Show a statement: its columns to confirm, or the comparison."""
    return _shown(request, _statement(statement_id))


@require_POST
@staff_page(ADD)
def columns(request: StaffRequest, statement_id: UUID) -> HttpResponse:
    """Have the file read by the columns that were chosen."""
    found = _statement(statement_id)
    try:
        form = ColumnsForm(found, statements.header_of(found), request.POST)
    except ExportError:
        return _refused(request, found, "This file was read already.")
    if not form.is_valid():
        return _shown(request, found, columns_form=form)
    return _done(
        request,
        found,
        lambda: statements.start(found, request.user, form.mapping, form.cleaned_data["cost_unit"]),
        "The file is being read. Reload the page in a moment.",
    )


@require_POST
@staff_page(ADD)
def compare(request: StaffRequest, statement_id: UUID) -> HttpResponse:
    """Have a statement compared with the current records."""
    found = _statement(statement_id)
    return _done(
        request,
        found,
        lambda: statements.compare_again(found, request.user),
        "The statement is being compared. Reload the page in a moment.",
    )


@require_POST
@staff_page(ADD)
def discard(request: StaffRequest, statement_id: UUID) -> HttpResponse:
    """Delete a statement that corrected nothing."""
    found = _statement(statement_id)
    try:
        statements.discard(found, request.user)
    except StatementError as error:
        return _refused(request, found, str(error))
    messages.success(request, "The statement was discarded.")
    return redirect("console:statements")


@require_POST
@staff_page(CORRECT)
def confirm(request: StaffRequest, statement_id: UUID) -> HttpResponse:
    """Have the corrections that were shown posted."""
    found = _statement(statement_id)
    form = ConfirmForm(request.POST)
    if not form.is_valid():
        return _shown(request, found, confirm_form=form)
    data = form.cleaned_data
    return _done(
        request,
        found,
        lambda: statements.confirm(
            found, request.user, compared_at=data["compared_at"], reason=data["reason"]
        ),
        "The corrections are being posted. Reload the page in a moment.",
    )


@require_safe
@staff_page(VIEW)
def lines(request: StaffRequest, statement_id: UUID) -> HttpResponseBase:
    """List a statement's lines, or download them."""
    found = _statement(statement_id)
    chosen = LineFilter.read(request.GET)
    if "csv" in request.GET:
        rows = _rows(line_batches(found, chosen))
        return csv_response(f"{found.upstream}-{found.pk}"[:80], _HEADER, rows)
    shown, following = line_page(found, chosen, request.GET.get("after", ""))
    context = {
        "title": f"Lines of {found}",
        "statement": found,
        "lines": shown,
        "chosen": chosen,
        "states": LineFilter.SHOWN,
        "query": urlencode(chosen.query),
        "following": following,
    }
    return page(request, "console/statement_lines.html", context)


def _shown(
    request: StaffRequest,
    found: UpstreamStatement,
    *,
    columns_form: ColumnsForm | None = None,
    confirm_form: ConfirmForm | None = None,
) -> HttpResponse:
    """Return the statement's page, with the forms that its state and the permissions allow."""
    context: dict[str, object] = {"title": str(found), "statement": found, "state": found.state}
    if found.state in (found.State.UPLOADED, found.State.FAILED):
        try:
            preview = statements.header_of(found)
        except ExportError as error:
            context["problem"] = str(error)
        else:
            context["preview"] = preview
            if request.user.has_perm(ADD):
                context["columns_form"] = columns_form or ColumnsForm(found, preview)
    elif found.compared_at is not None:
        context["sums"] = sums = statements.open_corrections(found)
        context["days"] = drift_rows(found.drift["days"])
        context["models"] = drift_rows(found.drift["models"])
        context["corrected"] = found.corrections.count()
        if sums.count and found.state == found.State.READY and request.user.has_perm(CORRECT):
            initial = {"compared_at": found.compared_at.isoformat()}
            context["confirm_form"] = confirm_form or ConfirmForm(initial=initial)
    context["may_change"] = request.user.has_perm(ADD) and found.state not in (
        found.State.QUEUED,
        found.State.CORRECTING,
    )
    return page(request, "console/statement.html", context)


def _done(
    request: HttpRequest, found: UpstreamStatement, act: Callable[[], None], told: str
) -> HttpResponse:
    try:
        act()
    except StatementError as error:
        return _refused(request, found, str(error))
    messages.success(request, told)
    return redirect("console:statement", found.pk)


def _refused(request: HttpRequest, found: UpstreamStatement, why: str) -> HttpResponse:
    messages.error(request, why)
    return redirect("console:statement", found.pk)


def _statement(statement_id: UUID) -> UpstreamStatement:
    found = UpstreamStatement.objects.select_related("uploaded_by", "confirmed_by")
    try:
        return found.get(pk=statement_id)
    except UpstreamStatement.DoesNotExist:
        raise Http404("There is no such statement.") from None


def _source(source_id: int) -> UsageSource:
    found = UsageSource.objects.select_related("upstream").filter(pk=source_id).first()
    if found is None:
        raise Http404("There is no such source.")
    return found


def _rows(batches: Iterator[list[StatementLine]]) -> Iterator[list[Row]]:
    for batch in batches:
        yield [
            [
                *(line.upstream_request_id, line.line_number, line.at.isoformat(), line.model),
                *(line.state, str(line.request_id or "")),
                *(line.input_tokens, line.our_input_tokens),
                *(line.cached_tokens, line.our_cached_tokens),
                *(line.output_tokens, line.our_output_tokens),
                *(line.cost_nanos, line.our_cost_nanos),
                *("yes" if line.is_estimated else "no", line.correction, line.correction_nanos),
            ]
            for line in batch
        ]
