"""Advances the catalogue's version whenever what the relay's snapshot holds has changed.

By statement, not by row. Statements that change nothing (no row, or the same values) leave it
alone. Triggers rather than signals, so that a hand at psql is noticed as well.
"""

from django.db import migrations

TABLES = [
    "accounts_plan",
    "api_model",
    "api_modelalias",
    "api_route",
    "api_service",
    "api_upstream",
    "billing_priceversion",
    "billing_product",
]

# The row may be missing after a TRUNCATE of everything, as between tests: it is made again.
FUNCTION = """
CREATE FUNCTION catalogue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Branches of their own: an expression is planned whole, and a trigger lacks the other's rows.
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM after_rows) THEN RETURN NULL; END IF;
  ELSIF TG_OP = 'DELETE' THEN
    IF NOT EXISTS (SELECT FROM before_rows) THEN RETURN NULL; END IF;
  ELSIF TG_OP = 'UPDATE' THEN
    IF NOT EXISTS (SELECT * FROM after_rows EXCEPT SELECT * FROM before_rows) THEN
      RETURN NULL;
    END IF;
  END IF;
  INSERT INTO billing_catalogueversion AS current (id, version) VALUES (1, 1)
  ON CONFLICT (id) DO UPDATE SET version = current.version + 1;
  RETURN NULL;
END $$;
INSERT INTO billing_catalogueversion (id, version) VALUES (1, 1) ON CONFLICT (id) DO NOTHING;
"""

TRIGGERS = """
CREATE TRIGGER catalogue_inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_updated AFTER UPDATE ON {table}
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS before_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_truncated AFTER TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""

NO_TRIGGERS = """
DROP TRIGGER catalogue_inserted ON {table};
DROP TRIGGER catalogue_updated ON {table};
DROP TRIGGER catalogue_deleted ON {table};
DROP TRIGGER catalogue_truncated ON {table};
"""


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0001_initial"),
        ("billing", "0001_initial"),
        ("api", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION catalogue_changed();"),
        *(
            migrations.RunSQL(TRIGGERS.format(table=table), NO_TRIGGERS.format(table=table))
            for table in TABLES
        ),
    ]
