"""A kind of email: the price of a model that a team uses will change."""

from django.db import migrations, models

KINDS = [
    ("low_balance", "Low Balance"),
    ("budget_reached", "Budget Reached"),
    ("key_created", "Key Created"),
    ("auto_top_up", "Auto Top Up"),
    ("auto_top_up_problem", "Auto Top Up Problem"),
    ("refund_made", "Refund Made"),
    ("keys_paused", "Keys Paused"),
    ("plan_payment_failed", "Plan Payment Failed"),
    ("plan_ended", "Plan Ended"),
    ("price_change", "Price Change"),
]


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_staff_acts")]
    operations = [
        migrations.AlterField("sentnotice", "kind", models.CharField(choices=KINDS, max_length=20)),
    ]
