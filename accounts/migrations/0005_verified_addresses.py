"""Vouches for the addresses of users from before sign-up: an operator made each of them."""

from django.db import migrations


def vouch(apps, schema_editor):
    EmailAddress = apps.get_model("account", "EmailAddress")
    User = apps.get_model("accounts", "User")
    EmailAddress.objects.bulk_create(
        EmailAddress(user=user, email=user.email, verified=True, primary=True)
        for user in User.objects.filter(emailaddress__isnull=True).iterator()
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_invitations_and_notices"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [migrations.RunPython(vouch, migrations.RunPython.noop)]
