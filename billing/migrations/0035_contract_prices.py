"""Contract prices: what one team pays in place of the list price."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0012_consent'),
        ('billing', '0034_upstream_statements'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='usagerecord',
            name='lines',
            field=models.JSONField(db_default=models.Value([], models.JSONField()), default=list, help_text='[component, quantity, rate_nanos, per, amount_nanos] of each, with [factor_millionths, above_input_tokens, service_tier] where they make a difference, and [contract] at a contract price; none in old rows.'),
        ),
        WithLockTimeout([
        migrations.CreateModel(
            name='ContractPrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('effective_from', models.DateTimeField()),
                ('input_nanos_per_million', models.PositiveBigIntegerField(default=0)),
                ('cached_input_nanos_per_million', models.PositiveBigIntegerField(blank=True, help_text='Empty: cached input costs as much as input.', null=True)),
                ('output_nanos_per_million', models.PositiveBigIntegerField(default=0)),
                ('reasoning_nanos_per_million', models.PositiveBigIntegerField(blank=True, help_text='Empty: reasoning costs as much as output.', null=True)),
                ('image_nanos', models.PositiveBigIntegerField(default=0, help_text='Per image made.')),
                ('second_nanos', models.PositiveBigIntegerField(default=0, help_text='Per second made.')),
                ('piece_nanos', models.PositiveBigIntegerField(default=0, help_text='Per video or other piece.')),
                ('request_nanos', models.PositiveBigIntegerField(default=0, help_text='Per answered request.')),
                ('extra_rates', models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='Of the components without columns, by name.')),
                ('factor_millionths', models.PositiveIntegerField(db_default=1000000, default=1000000, help_text='Multiplies every rate, as a contract or a batch does.')),
                ('context_tiers', models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list, help_text='Rates for requests with more than so many input tokens.')),
                ('service_tiers', models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='The factor of each service tier that can be asked for.')),
                ('source', models.CharField(blank=True, help_text='Where the figures are from.', max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('form_id', models.UUIDField(default=uuid.uuid4, editable=False, help_text='A form sent twice adds one.', unique=True)),
                ('has_own_rates', models.BooleanField(db_default=False, default=False, help_text='The rates replace the list price.')),
                ('ends_at', models.DateTimeField(blank=True, help_text='Empty: until it is ended.', null=True)),
                ('reason', models.CharField(max_length=300)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('approved', 'Approved'), ('rejected', 'Rejected'), ('canceled', 'Canceled')], default='pending', max_length=10)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('product', models.ForeignKey(blank=True, help_text='Empty: all models, those to come included.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.product')),
                ('requested_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='contract_prices', to='accounts.team')),
            ],
            options={
                'permissions': [('set_contractprice', 'Can set and end contract prices'), ('approve_contractprice', 'Can confirm contract prices that others requested')],
                'default_permissions': ('view',),
                'indexes': [models.Index(condition=models.Q(('state', 'approved')), fields=['team', 'effective_from'], name='contractprice_by_team')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_at__isnull', True), ('ends_at__gt', models.F('effective_from')), _connector='OR'), name='contractprice_ends_after_start'), models.CheckConstraint(condition=models.Q(('has_own_rates', False), ('product__isnull', False), _connector='OR'), name='contractprice_own_rates_have_product'), models.CheckConstraint(condition=models.Q(('factor_millionths__range', (10000, 10000000))), name='contractprice_factor'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('state', 'pending')), models.Q(models.Q(('state', 'pending'), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='contractprice_decided_has_time')],
            },
        ),
        ]),
    ]
