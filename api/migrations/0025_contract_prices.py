"""Contract prices are part of the relay's snapshot, and a job names the one it was admitted at."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout

# As in 0002: what the relay's snapshot holds has changed.
TRIGGERS = """
CREATE TRIGGER catalogue_inserted AFTER INSERT ON billing_contractprice
  REFERENCING NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_updated AFTER UPDATE ON billing_contractprice
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_deleted AFTER DELETE ON billing_contractprice
  REFERENCING OLD TABLE AS before_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_truncated AFTER TRUNCATE ON billing_contractprice
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""
NO_TRIGGERS = "".join(
    f"DROP TRIGGER IF EXISTS catalogue_{event} ON billing_contractprice;"
    for event in ("inserted", "updated", "deleted", "truncated")
)


def contract(model):
    return migrations.AddField(
        model_name=model,
        name="contract",
        field=models.ForeignKey(
            db_constraint=False,
            db_index=False,
            help_text="The contract price that it was admitted at.",
            null=True,
            on_delete=django.db.models.deletion.PROTECT,
            related_name="+",
            to="billing.contractprice",
        ),
    )


class Migration(migrations.Migration):
    dependencies = [("api", "0024_key_addresses"), ("billing", "0035_contract_prices")]
    operations = [
        WithLockTimeout(
            [
                contract("chatjob"),
                contract("videojob"),
                migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
            ]
        ),
    ]
