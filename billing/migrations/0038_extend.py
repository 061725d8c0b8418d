"""Let the holds of open reservations grow while their answers are streamed."""

from django.db import migrations

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0037_requests_at_a_loss")]
    operations = [
        WithLockTimeout([InstallFunctions("guards", 2)]),
        InstallFunctions("extend", 1),
    ]
