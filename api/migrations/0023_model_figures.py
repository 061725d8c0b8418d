"""Add the figures of models' pages."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0022_brand_digest'),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelFigures',
            fields=[
                ('model', models.CharField(max_length=120, primary_key=True, serialize=False)),
                ('teams', models.IntegerField(db_default=0, default=0)),
                ('succeeded', models.BigIntegerField(db_default=0, default=0)),
                ('failed', models.BigIntegerField(db_default=0, default=0)),
                ('first_token_ms_total', models.BigIntegerField(db_default=0, default=0)),
                ('first_token_count', models.BigIntegerField(db_default=0, default=0)),
                ('streamed_tokens', models.BigIntegerField(db_default=0, default=0)),
                ('streamed_ms', models.BigIntegerField(db_default=0, default=0)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name': 'model figures',
                'verbose_name_plural': 'model figures',
            },
        ),
    ]
