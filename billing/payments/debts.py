"""What disputes took back that was spent already: collected when the team can pay all of it."""

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Team
from billing.ledger import postings
from billing.models import Dispute


def collect(team: Team | None = None) -> int:
    """Collects what a team, or every team, owes for disputes. Returns how many debts are paid.

    A debt that is more than the team has waits, whole.
    """
    owed = Dispute.objects.filter(owed_nanos__gt=0, collected_at=None, is_reinstated=False)
    if team is not None:
        is_teams = Q(order__team=team) | Q(subscription_payment__subscription__team=team)
        owed = owed.filter(is_teams)
    ids = list(owed.order_by("created_at", "pk").values_list("pk", flat=True))
    return sum(_collect(stripe_id) for stripe_id in ids)


def _collect(stripe_id: str) -> bool:
    with transaction.atomic():
        dispute = Dispute.objects.select_related("order__team").get(pk=stripe_id)
        account = postings.open_account(dispute.team)
        try:
            postings.collect(account, reference=stripe_id, memo=dispute.payment)
        except (postings.InsufficientCreditsError, postings.UnknownReferenceError):
            return False  # too little there, or reinstated meanwhile
        # No other column: who notes the dispute's news holds other locks.
        Dispute.objects.filter(pk=stripe_id).update(collected_at=timezone.now())
    return True
