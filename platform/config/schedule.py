"""The periodic tasks that Celery's beat queues, and how often."""

from typing import Any

from celery.schedules import crontab

from config import env

SWEEP_SECONDS = env.number("SWEEP_SECONDS", 10)


def _run(
    task: str, schedule: float | crontab, *, expires: int = 0, **arguments: Any
) -> dict[str, Any]:
    """Return an entry that queues a task every so many seconds, or at the times of a crontab.

    A queued task is dropped after `expires` seconds; 0 for never. With it, one run follows an
    outage of the workers, instead of one for each that was missed.
    """
    entry: dict[str, Any] = {"task": task, "schedule": schedule}
    if expires:
        entry["options"] = {"expires": expires}
    return entry | ({"kwargs": arguments} if arguments else {})


SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep expired reservations": _run("billing.tasks.sweep_expired_reservations", SWEEP_SECONDS),
    "take back expired credits": _run("billing.tasks.expire_credits", SWEEP_SECONDS),
    "replay spooled settlements": _run("billing.tasks.replay_spooled_settlements", SWEEP_SECONDS),
    "handle due Stripe events": _run(
        "billing.payments.tasks.handle_due_stripe_events", 15.0, expires=60
    ),
    "check open orders": _run(
        "billing.payments.tasks.check_open_orders",
        env.number("ORDER_CHECK_SECONDS", 3600),
        expires=3600,
    ),
    "check subscriptions": _run(
        "billing.payments.tasks.check_subscriptions",
        env.number("SUBSCRIPTION_CHECK_SECONDS", 3600),
        expires=3600,
    ),
    "top up low balances": _run(
        "billing.payments.tasks.top_up_low_balances",
        env.number("AUTO_TOP_UP_SECONDS", 20),
        expires=60,
    ),
    "reward referrals": _run("billing.payments.tasks.reward_referrals", 300.0, expires=300),
    "submit requested refunds": _run(
        "billing.payments.tasks.submit_requested_refunds", 60.0, expires=60
    ),
    "check refunds and disputes": _run(
        "billing.payments.tasks.check_reversals",
        env.number("ORDER_CHECK_SECONDS", 3600),
        expires=3600,
    ),
    "collect debts": _run("billing.payments.tasks.collect_debts", 300.0, expires=300),
    "reconcile with Stripe": _run(
        "billing.payments.tasks.reconcile_stripe", crontab(hour=4, minute=10)
    ),
    "process upstream statements": _run(
        "billing.reconciliation.statements.process_statements",
        env.number("STATEMENT_SECONDS", 60),
        expires=60,
    ),
    "read upstreams' usage": _run("api.tasks.read_usage", crontab(hour=5, minute=20)),
    "heartbeat": _run("api.tasks.heartbeat", 5.0, expires=60),
    "ask for videos": _run(
        "api.tasks.poll_videos", env.number("VIDEO_POLL_SECONDS", 3), expires=60
    ),
    "encrypt secrets": _run("api.tasks.encrypt_secrets", crontab(50, 3)),
    "answer chats": _run("api.tasks.run_chats", 1.0),
    "forget answered chats": _run("api.tasks.forget_chats", 600.0),
    "deliver alerts": _run("portal.tasks.deliver_alerts", 5.0, expires=30),
    "send status updates": _run("portal.tasks.send_status_updates", 15.0, expires=60),
    "send notices": _run("portal.tasks.send_notices", env.number("NOTICE_SECONDS", 60), expires=60),
    "roll up usage": _run("billing.tasks.roll_up_usage", 60.0),
    "roll up two days of usage": _run(
        "billing.tasks.roll_up_usage", crontab(hour=3, minute=10), hours=48
    ),
    "guard keys": _run("api.tasks.guard_keys", env.number("KEY_GUARD_SECONDS", 60), expires=60),
    "forget key addresses": _run("api.tasks.forget_key_addresses", 3600.0, expires=3600),
    "forget stored answers": _run("api.tasks.forget_idempotent_requests", 300.0, expires=300),
    "deliver webhooks": _run("api.tasks.deliver_webhooks", env.number("WEBHOOK_SECONDS", 2)),
    "publish low balances": _run("billing.tasks.publish_low_balances", 15.0, expires=60),
    "forget webhook events": _run("api.tasks.forget_webhook_events", 3600.0, expires=3600),
    "roll up model figures": _run("api.tasks.roll_up_model_figures", 600.0, expires=600),
    "prices below cost": _run("api.tasks.alert_of_losses", 300.0),
    "ejected routes": _run("api.tasks.alert_of_ejections", 30.0, expires=60),
    "rejected usage": _run("billing.tasks.alert_of_rejected_usage", 300.0),
    # Hourly, so that a missed run is made up for; days close an hour after midnight.
    "close days": _run("billing.tasks.close_days", crontab(minute=5), expires=3600),
    "prove the ledger": _run("billing.tasks.prove_ledger", crontab(hour=3, minute=30)),
}
