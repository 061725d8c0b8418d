"""A team that has been at work for a while: some of everything that pages show."""

import hashlib
import json
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from accounts import audit, invitations, teams
from accounts.access import Actor
from accounts.models import ApiKey, Membership, Role, Team, User, WebhookDelivery
from accounts.webhooks.events import EventType, publish
from api.models import ModelHealthHour
from api.webhooks import endpoints
from billing.ledger import postings
from billing.ledger.budgets import set_budget
from billing.models import (
    CatalogueVersion,
    CreditAccount,
    Order,
    PaymentCustomer,
    PriceVersion,
    UsageRecord,
)
from billing.usage import records
from portal.models import ChatPreference, Conversation
from tests.billing.ledger_calls import Customer
from tests.cast import issue
from tests.portal.serving import serve

MODEL = "glm-5.2"
GRANT_NANOS = 8_642_131_797_531
COST_NANOS = 7_531_864_297
ORDER_CENTS = 97_531
ROLES = (Role.ADMIN, Role.DEVELOPER, Role.BILLING)
EMAIL_ID = "20261121-120000-1-0"


@dataclass(frozen=True)
class Filled:
    """A filled team, and one object for each argument that an address of its pages takes."""

    team: Team
    owner: User
    key: ApiKey
    record: UsageRecord
    arguments: dict[str, Any]


def fill(owner: User, team: Team, text: str, error: str = "", *, many: int = 3) -> Filled:
    """Fill the team; `text` is in every name that a person gives, `error` in failed requests.

    There are so `many` of each thing, and ten times as many requests. Some of it is done as the
    product does it, the rest are rows.
    """
    owner.name = team.name = text
    owner.save(update_fields=["name"])
    team.save(update_fields=["name"])
    actor = Actor(team=team, user=owner, role=Role.OWNER)
    account = postings.open_account(team)
    postings.grant(account, GRANT_NANOS, reference=f"filled {team.pk}", memo=text)
    keys = [issue(team, owner, f"{text} {number}").key for number in range(many)]
    version = CatalogueVersion.objects.get(pk=1).version
    price = PriceVersion.objects.filter(product__sku=MODEL).first() or PriceVersion(pk=1)
    record = serve(
        Customer(team, account, keys[0], version),
        hold_nanos=COST_NANOS,
        model=MODEL,
        price_version_id=price.pk,
        output_nanos=COST_NANOS,
        end_user=text,
        session_id=text,
        finish_reason="stop",
        first_token_ms=300,
    )
    _serve_many(account, keys, text, error, price.pk, 10 * many)
    members = _add_members(team, text, many)
    invitation, token = _invite(actor, many)
    for number in range(many):
        audit.record(actor, "key.created", f"{text} {number}", ip_address="192.0.2.1")
    passkey = _passkey(owner, text)
    delivery = _add_webhook(actor, text, many)
    return Filled(
        team=team,
        owner=owner,
        key=keys[0],
        record=record,
        arguments={
            "digest": "0" * 64,
            "kind": "logo",
            "key_id": keys[0].pk,
            "endpoint_id": delivery.endpoint_id,
            "delivery_id": delivery.pk,
            "request_id": record.request_id,
            "day": "2020-01-01",
            "conversation_id": _converse(owner, team, record, text, many),
            "member_id": members[0].pk,
            "rule_id": set_budget(team, "team", "month", 10**12),
            "invitation_id": invitation.pk,
            "token": token,
            "pk": passkey.pk,
            "slug": "streaming",
            "agent_slug": "codex",
            "name": "plus",
            "model_name": MODEL,
            "email_id": EMAIL_ID,
            "invoice_id": "in_of_no_plan",
            "session_id": _sign_in_elsewhere(owner).pk,
            "code": "nobodyscode",  # of a referral; every one is answered alike
            "order_id": _order(owner, account, text, many).pk,
            "uidb36": "1",
            "key": "set-password",
        },
    )


def _add_webhook(actor: Actor, text: str, count: int) -> WebhookDelivery:
    """Add an endpoint to which events wait to be sent; return one of the deliveries."""
    endpoint, _secret = endpoints.create(
        actor,
        "https://example.com/hook",
        events=[],
        low_balance_nanos=10**9,
        ip_address=None,
    )
    for number in range(count):
        publish(actor.team.pk, EventType.TEST, {"message": f"{text} {number}"})
    delivery = endpoint.deliveries.latest("pk")
    WebhookDelivery.objects.filter(pk=delivery.pk).update(excerpt=text, status=500, attempts=1)
    return delivery


def _serve_many(
    account: Any, keys: list[ApiKey], text: str, error: str, price_id: int, count: int
) -> None:
    now = timezone.now()
    UsageRecord.objects.bulk_create(
        UsageRecord(
            request_id=uuid.uuid4(),
            account=account,
            key=keys[number % len(keys)],
            price_version_id=price_id,
            model=MODEL,
            surface="openai",
            endpoint="chat_completions",
            end_user=text,
            session_id=f"{text[:100]} {number // 3}",
            outcome="upstream_error" if number % 3 == 0 else "completed",
            status=400 if number % 3 == 0 else 200,
            error=error if number % 3 == 0 else "",
            latency_ms=number,
            created_at=now - timedelta(hours=number),
        )
        for number in range(count)
    )
    records.roll_up(now - timedelta(days=40))
    hour = now.replace(minute=0, second=0, microsecond=0)
    for ago in range(0, 600, 24):
        ModelHealthHour.objects.get_or_create(
            model=MODEL,
            hour=hour - timedelta(hours=ago),
            defaults={"succeeded": 3, "failed": ago % 7},
        )


def _order(owner: User, account: CreditAccount, text: str, many: int) -> Order:
    """Buy credits, some of which go back, leaves a card, and return the oldest order."""
    PaymentCustomer.objects.create(
        team=account.team,
        stripe_id=f"cus_{account.pk}",
        payment_method_id=f"pm_{account.pk}",
        card_brand="visa",
        card_last_four="4242",
    )
    states = (Order.State.PAID, Order.State.FAILED, Order.State.OPEN)
    orders = [
        Order(
            team=account.team,
            user=owner,
            amount_cents=ORDER_CENTS,
            credit_nanos=ORDER_CENTS * 10_000_000,
            is_live=False,
            state=states[number % 3],
            payment_intent_id=f"pi_{account.pk}_{number}",
            charge_id=f"ch_{account.pk}_{number}",
            invoice_id=f"in_{account.pk}_{number}",
            failure=text if number % 3 == 1 else "",
            created_at=timezone.now() - timedelta(days=many - number),
            ended_at=timezone.now(),
        )
        for number in range(many)
    ]
    for order in Order.objects.bulk_create(orders):
        if order.state == Order.State.PAID:
            reference = str(order.payment_intent_id)
            postings.top_up(account, order.credit_nanos, reference=reference, memo=text)
            order.refunds.create(
                amount_cents=1, credit_nanos=10_000_000, reason=text, state="succeeded"
            )
    return orders[0]


def _add_members(team: Team, text: str, many: int) -> list[Membership]:
    made = []
    for number in range(many):
        user, _ = teams.sign_up(f"member{number}.{team.pk}@example.com", None, text)
        made.append(Membership.objects.create(user=user, team=team, role=ROLES[number % 3]))
    return made


def _invite(actor: Actor, many: int) -> tuple[Any, str]:
    for number in range(many):
        invitations.invite(actor, f"other{number}.{actor.team.pk}@example.com", Role.DEVELOPER)
    return invitations.invite(actor, f"invited.{actor.team.pk}@example.com", Role.DEVELOPER)


def _sign_in_elsewhere(owner: User) -> UserSession:
    key = uuid.uuid4().hex
    return UserSession.objects.create(
        user=owner, ip="192.0.2.1", user_agent="curl/8", session_key=key
    )


def _passkey(owner: User, text: str) -> Authenticator:
    """Register a passkey, as it would come from a device that attests nothing."""
    public_key = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    credential_id = secrets.token_bytes(16)
    attested = AttestedCredentialData.create(Aaguid(bytes(16)), credential_id, public_key)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    made = AuthenticatorData.create(hashlib.sha256(b"testserver").digest(), flags, 1, attested)
    client = {"type": "webauthn.create", "challenge": "AA", "origin": "http://testserver"}
    response = {
        "clientDataJSON": websafe_encode(json.dumps(client).encode()),
        "attestationObject": websafe_encode(AttestationObject.create("none", made, {})),
    }
    name = websafe_encode(credential_id)
    credential = {"id": name, "rawId": name, "type": "public-key", "response": response}
    data = {"name": text, "credential": credential}
    return Authenticator.objects.create(user=owner, type=Authenticator.Type.WEBAUTHN, data=data)


def _converse(owner: User, team: Team, record: UsageRecord, text: str, many: int) -> uuid.UUID:
    ChatPreference.objects.update_or_create(user=owner, defaults={"stores_conversations": True})
    for _ in range(many):
        stored = Conversation.objects.create(user=owner, team=team, title=text[:120], model=MODEL)
        stored.messages.create(position=0, role="user", content=text)
        stored.messages.create(
            position=1,
            role="assistant",
            content=text,
            reasoning=text,
            request_id=record.request_id,
        )
    return stored.id
