"""Where Stripe tells of events."""

import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from kombu.exceptions import OperationalError

from billing.failpoints import failpoint
from billing.payments import inbox
from billing.payments.tasks import handle_stripe_event
from billing.stripe_api.webhooks import ForgedEventError

log = structlog.get_logger(__name__)


@csrf_exempt  # Stripe's signature stands in for the token
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Takes an event: 200 once it is written down, 400 for what Stripe did not send."""
    try:
        event, is_new = inbox.receive(request.body, request.headers.get("Stripe-Signature", ""))
    except ForgedEventError as error:
        log.warning("stripe_event_refused", reason=str(error))
        return HttpResponse("This is no event of ours.\n", status=400, content_type="text/plain")
    failpoint("after_event_kept")
    if is_new and event.state == event.State.RECEIVED:
        try:
            handle_stripe_event.delay(event.pk)
        except OperationalError:
            log.warning("stripe_event_waits", event_id=event.pk)  # for the next round of Celery's
    return HttpResponse("Taken.\n", content_type="text/plain")
