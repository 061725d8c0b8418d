"""A row of every model, for the admin's pages to show."""

import uuid

from django.contrib.auth.models import Group
from django.utils import timezone

from accounts import models as accounts
from accounts import teams
from accounts.models import Team, User, WebhookDelivery, WebhookEndpoint, WebhookEvent
from api import models as api
from billing import models
from billing.ledger import postings
from tests.cast import issue, member


def _add_measurements(route: api.Route) -> None:
    """Make a row of each table about how models and routes do."""
    now, model = timezone.now(), route.model.name
    api.ModelHealth.objects.create(model=model, minute=now)
    api.ModelHealthHour.objects.create(model=model, hour=now)
    api.ModelFigures.objects.create(model=model)
    api.TokenRatio.objects.create(model=model)
    api.RouteEjection.objects.create(route=route, retry_at=now, reason="failed: HTTP 503")


def _add_authorizations(n: int, key: accounts.ApiKey) -> None:
    """Make a row of each way in which a program gets a key."""
    now, digest = timezone.now(), bytes([n])
    accounts.DeviceSignIn.objects.create(
        device_digest=digest, client="Claude Code", ip_address="192.0.2.1", expires_at=now
    )
    accounts.AppAuthorization.objects.create(digest=digest, challenge=b"", key=key, expires_at=now)


def _add_observations(key: accounts.ApiKey) -> None:
    """Make a row of each kind that says how a key is used."""
    api.KeyAddress.objects.create(key=key, address="192.0.2.1")
    api.KeyGuard.objects.create(key=key)
    api.KeyNetwork.objects.create(key=key, network="192.0.2.0")
    api.KeyIncident.objects.create(key=key, kind="spike", reference="test", is_frozen=False)


def _add_webhooks(team: Team) -> None:
    endpoint = WebhookEndpoint.objects.create(team=team, url="https://example.com/hook")
    event = WebhookEvent.objects.create(team=team, type="webhook.test", data={})
    WebhookDelivery.objects.create(event=event, endpoint=endpoint)


def _add_staff(n: int, user: User, team: Team) -> None:
    accounts.StaffNote.objects.create(team=team, author=user, text=f"Note {n}")
    accounts.StaffInvitation.objects.create(
        email=f"clerk{n}@example.com",
        role=Group.objects.get(name="Support"),
        digest=bytes([n]),
        expires_at=timezone.now(),
    )


def _add_upstream(n: int, model: api.Model) -> api.Upstream:
    upstream = api.Upstream.objects.create(name=f"upstream-{n}", base_url="http://127.0.0.1/v1")
    api.UpstreamKey.objects.create(upstream=upstream)
    source = api.UsageSource.objects.create(upstream=upstream, kind="openai")
    api.ReportedUsage.objects.create(source=source, day=timezone.now().date(), model="m")
    route = api.Route.objects.create(model=model, upstream=upstream, upstream_model="m")
    api.RouteCost.objects.create(route=route, effective_from=timezone.now())
    _add_measurements(route)
    return upstream


def add_rows(n: int) -> None:
    """Make one more row of every model."""
    now = timezone.now()
    user, team = member(f"user{n}@example.com", None, f"User {n}")
    account = postings.open_account(team)
    postings.grant(account, 10**9 + 1, reference=f"admin {n}", memo="test")
    credit = postings.Credit("grant", f"admin {n}")
    postings.claw_back(account, 1, reference=f"admin {n}", credit=credit)
    key = issue(team, user, f"key {n}", budget_month_nanos=n).key
    accounts.Plan.objects.create(name=f"plan-{n}", title=f"Plan {n}")
    product = models.Product.objects.create(sku=f"sku-{n}")
    price = models.PriceVersion.objects.create(product=product, effective_from=now)
    model = api.Model.objects.create(name=f"model-{n}", product=product)
    api.ModelAlias.objects.create(name=f"alias-{n}", model=model)
    upstream = _add_upstream(n, model)
    api.Service.objects.get_or_create(pk=1)
    _add_authorizations(n, key)
    _add_observations(key)
    api.IdempotentRequest.objects.create(
        id=f"{n:064x}", key=key, request_id=uuid.uuid4(), lease_id=1, expires_at=now
    )
    ids = {"account": account, "key": key, "price_version": price, "model": model.name}
    request_id = uuid.uuid4()
    times = {"expires_at": now, "next_poll_at": now}
    api.VideoJob.objects.create(
        pk=request_id, team=team, upstream=upstream, cost_nanos=1, **times, **ids
    )
    chat_times = {"expires_at": now, "next_run_at": now}
    api.ChatJob.objects.create(pk=request_id, team=team, held_nanos=1, **chat_times, **ids)
    models.Reservation.objects.create(
        id=request_id, amount_nanos=1, surface="v1", tokens_counted=1, expires_at=now, **ids
    )
    models.UsageRecord.objects.create(
        request_id=request_id, surface="v1", endpoint="chat", outcome="completed", **ids
    )
    models.KeySpend.objects.create(key=key, day=now.date(), month=now.date())
    _add_budget(n, team, account)
    models.RateWindow.objects.create(key=key, started_at=now)
    models.UsageHour.objects.create(hour=now, account=account, key=key, model=model.name)
    models.ServiceHour.objects.create(hour=now, model=model.name)
    models.TeamDay.objects.create(day=now.date(), account=account)
    models.MarginDay.objects.create(day=now.date(), account=account, model=model.name)
    models.TaskRun.objects.create(name=f"task {n}", finished_at=now)
    accounts.AuditEntry.objects.create(
        team=team, actor=user, actor_label=user.email, action="key.created"
    )
    _add_staff(n, user, team)
    _add_proofs(n, account)
    models.ManualPosting.objects.create(
        team=team, kind="grant", amount_nanos=n, reason="test", requested_by=user
    )
    models.ContractPrice.objects.create(
        team=team, effective_from=now, factor_millionths=850_000, reason="test", requested_by=user
    )
    accounts.Invitation.objects.create(
        team=team, email=f"guest{n}@example.com", role="admin", digest=bytes([n]), expires_at=now
    )
    accounts.NotificationSettings.objects.create(user=user)
    accounts.SentNotice.objects.create(
        user=user, team=team, kind="low_balance", reference=f"test {n}"
    )
    _add_webhooks(team)
    _add_status(n)
    models.ProcessLease.objects.create(process=f"web {n}", started_at=now, renewed_at=now)
    models.FreeWindow.objects.create(
        subject=f"team {team.pk}", started_at=now, requests=1, tokens=1
    )
    _add_alerts(n)
    _add_payments(n, user, team)


def _add_proofs(n: int, account: models.CreditAccount) -> None:
    now = timezone.now()
    models.SigningKey.objects.create(id=f"{n:043}", public_key=f"{n:043}", signs_from=now)
    models.DayRoot.objects.create(
        account=account,
        day=now.date(),
        first_sequence=1,
        last_sequence=2,
        root=bytes(32),
        chain=bytes(32),
        chunk_hashes=bytes(32),
    )


def _add_budget(n: int, team: accounts.Team, account: models.CreditAccount) -> None:
    budget = {"limit_nanos": 100, "series_id": n}
    models.BudgetRule.objects.create(team=team, scope="team", period="day", **budget)
    spend = models.BudgetSpend.objects.create(account=account, starts_on="2026-12-01", **budget)
    models.BudgetWarning.objects.create(spend=spend, percent=50, spent_nanos=50, limit_nanos=100)


def _add_status(n: int) -> None:
    event = api.StatusEvent.objects.create(kind="incident", title=f"Incident {n}")
    api.StatusUpdate.objects.create(event=event, text="We are looking into it.")
    api.StatusSubscriber.objects.create(email=f"reader{n}@example.com")


def _add_alerts(n: int) -> None:
    alert = models.LedgerAlert.objects.create(
        kind="overrun", reference=f"request {n}", detail="test"
    )
    target = api.AlertTarget.objects.create(
        name=f"target {n}", channel="email", address=f"staff{n}@example.com"
    )
    api.AlertDelivery.objects.create(alert=alert, target=target)


def _add_payments(n: int, user: User, team: Team) -> None:
    now = timezone.now()
    order = models.Order.objects.create(
        team=team, user=user, amount_cents=1250, credit_nanos=12_500_000_000, is_live=False
    )
    models.PaymentCustomer.objects.create(team=team, stripe_id=f"cus_{n}")
    models.StripeEvent.objects.create(
        id=f"evt_{n}",
        type="checkout.session.completed",
        object_id=f"cs_{n}",
        created_at=now,
        state=models.StripeEvent.State.HANDLED,
    )
    models.Refund.objects.create(
        order=order,
        amount_cents=50,
        credit_nanos=500_000_000,
        reason="test",
        requested_by=user,
    )
    models.Dispute.objects.create(
        stripe_id=f"du_{n}", order=order, amount_cents=100, status="needs_response", handled_by=user
    )
    models.FraudWarning.objects.create(stripe_id=f"issfr_{n}", order=order, fraud_type="stolen")
    models.AutoTopUp.objects.create(
        team=team, threshold_nanos=10**9, amount_cents=1000, monthly_limit_cents=5000
    )
    _add_plans(n, team)
    _add_codes(n, user, team)
    _add_statement(n, user, postings.open_account(team))


def _add_plans(n: int, team: Team) -> None:
    plan = accounts.Plan.objects.create(name=f"sold-{n}", title=f"Sold {n}")
    models.PlanOffer.objects.create(plan=plan, price_cents=2000)
    price = models.PlanPrice.objects.create(
        plan=plan, price_cents=2000, credit_nanos=10**9, credit_days=31, is_live=False
    )
    subscription = models.Subscription.objects.create(team=team, price=price, is_live=False)
    payment = models.SubscriptionPayment.objects.create(
        invoice_id=f"in_{n}", subscription=subscription, amount_cents=2000
    )
    models.PlanRefund.objects.create(
        stripe_id=f"re_{n}",
        payment=payment,
        amount_cents=500,
        revenue_nanos=1,
        credit_nanos=1,
        owed_nanos=0,
        state="succeeded",
    )


def _add_codes(n: int, user: User, team: Team) -> None:
    code = models.CreditCode.objects.create(
        code=f"CODE{n}", amount_nanos=10**9, redemptions_limit=5
    )
    models.CodeRedemption.objects.create(code=code, team=team, user=user)
    models.ReferralLink.objects.create(team=team, code=f"link{n}")
    referred = teams.create_team(f"Referred {n}", owner=user)
    models.Referral.objects.create(team=referred, referrer=team)


def _add_statement(n: int, user: User, account: models.CreditAccount) -> None:
    statement = models.UpstreamStatement.objects.create(
        upstream=f"upstream-{n}", file_name=f"usage-{n}.csv", digest=f"{n:064x}", size_bytes=n
    )
    models.StatementChunk.objects.create(statement=statement, number=0, data=b"id")
    models.StatementLine.objects.create(
        statement=statement,
        upstream=f"upstream-{n}",
        line_number=2,
        upstream_request_id=f"req-{n}",
        at=timezone.now(),
        cost_nanos=n,
    )
    models.UsageCorrection.objects.create(
        request_id=uuid.uuid4(),
        statement=statement,
        line_number=2,
        account=account,
        input_tokens=1,
        cached_tokens=0,
        output_tokens=1,
        charged_nanos=2,
        corrected_nanos=1,
        confirmed_by=user,
    )
