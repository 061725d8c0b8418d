"""The plan that new teams start on: 60 requests and 120,000 tokens a minute."""

from django.db import migrations


def make_default_plan(apps, schema_editor):
    plans = apps.get_model("accounts", "Plan")
    if not plans.objects.filter(is_default=True).exists():
        plans.objects.get_or_create(
            name="default",
            defaults={
                "title": "Default",
                "requests_per_minute": 60,
                "tokens_per_minute": 120_000,
                "is_default": True,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.RunPython(make_default_plan, migrations.RunPython.noop)]
