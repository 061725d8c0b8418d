"""What Celery's beat queues, and how often."""

from typing import Any

from celery.schedules import crontab

from config import env

_SWEEP_SECONDS = env.number("SWEEP_SECONDS", 10)

SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep expired reservations": {
        "task": "billing.tasks.sweep_expired_reservations",
        "schedule": _SWEEP_SECONDS,
    },
    "take back expired credits": {
        "task": "billing.tasks.expire_credits",
        "schedule": _SWEEP_SECONDS,
    },
    "replay spooled settlements": {
        "task": "billing.tasks.replay_spooled_settlements",
        "schedule": _SWEEP_SECONDS,
    },
    "handle due Stripe events": {
        "task": "billing.payments.tasks.handle_due_stripe_events",
        "schedule": 15.0,
        "options": {"expires": 60},
    },
    "check open orders": {
        "task": "billing.payments.tasks.check_open_orders",
        "schedule": env.number("ORDER_CHECK_SECONDS", 3600),
        "options": {"expires": 3600},
    },
    "check subscriptions": {
        "task": "billing.payments.tasks.check_subscriptions",
        "schedule": env.number("SUBSCRIPTION_CHECK_SECONDS", 3600),
        "options": {"expires": 3600},
    },
    "top up low balances": {
        "task": "billing.payments.tasks.top_up_low_balances",
        "schedule": env.number("AUTO_TOP_UP_SECONDS", 20),
        "options": {"expires": 60},
    },
    "reward referrals": {
        "task": "billing.payments.tasks.reward_referrals",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "submit requested refunds": {
        "task": "billing.payments.tasks.submit_requested_refunds",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "check refunds and disputes": {
        "task": "billing.payments.tasks.check_reversals",
        "schedule": env.number("ORDER_CHECK_SECONDS", 3600),
        "options": {"expires": 3600},
    },
    "collect debts": {
        "task": "billing.payments.tasks.collect_debts",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "reconcile with Stripe": {
        "task": "billing.payments.tasks.reconcile_stripe",
        "schedule": crontab(hour=4, minute=10),
    },
    "heartbeat": {"task": "api.tasks.heartbeat", "schedule": 5.0, "options": {"expires": 60}},
    "ask for videos": {
        "task": "api.tasks.poll_videos",
        "schedule": env.number("VIDEO_POLL_SECONDS", 3),
        # After an outage one run is enough, instead of one for each that was missed.
        "options": {"expires": 60},
    },
    "encrypt secrets": {"task": "api.tasks.encrypt_secrets", "schedule": crontab(50, 3)},
    "answer chats": {"task": "api.tasks.run_chats", "schedule": 1.0},
    "forget answered chats": {"task": "api.tasks.forget_chats", "schedule": 600.0},
    "deliver alerts": {
        "task": "portal.tasks.deliver_alerts",
        "schedule": 5.0,
        "options": {"expires": 30},
    },
    "send status updates": {
        "task": "portal.tasks.send_status_updates",
        "schedule": 15.0,
        "options": {"expires": 60},
    },
    "send notices": {
        "task": "portal.tasks.send_notices",
        "schedule": env.number("NOTICE_SECONDS", 60),
        "options": {"expires": 60},
    },
    "roll up usage": {"task": "billing.tasks.roll_up_usage", "schedule": 60.0},
    "roll up two days of usage": {
        "task": "billing.tasks.roll_up_usage",
        "schedule": crontab(hour=3, minute=10),
        "kwargs": {"hours": 48},
    },
    "prices below cost": {"task": "api.tasks.alert_of_losses", "schedule": 300.0},
    "rejected usage": {"task": "billing.tasks.alert_of_rejected_usage", "schedule": 300.0},
    "prove the ledger": {
        "task": "billing.tasks.prove_ledger",
        "schedule": crontab(hour=3, minute=30),
    },
}
