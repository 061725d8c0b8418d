"""Add upstreams' usage exports, line by line, and the corrections of estimated usage."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0033_announced_prices'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='UpstreamStatement',
                    fields=[
                        ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                        ('upstream', models.CharField(max_length=80)),
                        ('file_name', models.CharField(max_length=200)),
                        ('digest', models.CharField(help_text='SHA-256 of the file.', max_length=64)),
                        ('size_bytes', models.BigIntegerField()),
                        ('state', models.CharField(choices=[('uploaded', 'Columns to confirm'), ('queued', 'Being read'), ('failed', 'Not read'), ('ready', 'Compared'), ('correcting', 'Being corrected')], default='uploaded', max_length=10)),
                        ('columns', models.JSONField(blank=True, default=dict)),
                        ('cost_unit', models.CharField(choices=[('dollar', 'US dollars'), ('cent', 'US cents'), ('micro', 'Millionths of a US dollar'), ('other', 'Another currency or unit')], default='dollar', max_length=10)),
                        ('unit_nanos', models.BigIntegerField(default=1000000000, help_text="Nano-dollars in one unit of the export's costs.")),
                        ('cached_is_separate', models.BooleanField(default=False, help_text='Whether input tokens exclude the cached ones.')),
                        ('error', models.TextField(blank=True, default='')),
                        ('lines_read', models.IntegerField(default=0)),
                        ('lines_repeated', models.IntegerField(default=0, help_text='Imported before, or twice here.')),
                        ('lines_conflicting', models.IntegerField(default=0, help_text='Other figures than those imported before. The first ones count.')),
                        ('conflicts', models.JSONField(blank=True, default=list, help_text='Some of their numbers.')),
                        ('lines_without_id', models.IntegerField(default=0)),
                        ('without_id_nanos', models.BigIntegerField(default=0)),
                        ('since', models.DateTimeField(blank=True, null=True)),
                        ('until', models.DateTimeField(blank=True, null=True)),
                        ('drift', models.JSONField(blank=True, default=dict)),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        ('compared_at', models.DateTimeField(blank=True, null=True)),
                        ('confirmed_at', models.DateTimeField(blank=True, null=True)),
                        ('reason', models.CharField(blank=True, default='', max_length=300)),
                        ('confirmed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                        ('uploaded_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ],
                    options={
                        'permissions': [('correct_usage', "Can correct estimated usage by an upstream's statement")],
                        'default_permissions': ('add', 'view'),
                    },
                ),
                migrations.CreateModel(
                    name='StatementLine',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('upstream', models.CharField(max_length=80)),
                        ('line_number', models.IntegerField(null=True)),
                        ('upstream_request_id', models.CharField(max_length=200)),
                        ('at', models.DateTimeField()),
                        ('model', models.CharField(blank=True, max_length=120)),
                        ('input_tokens', models.BigIntegerField(help_text='Including cached ones.', null=True)),
                        ('cached_tokens', models.BigIntegerField(null=True)),
                        ('output_tokens', models.BigIntegerField(null=True)),
                        ('cost_nanos', models.BigIntegerField(null=True)),
                        ('request_id', models.UUIDField(null=True)),
                        ('our_input_tokens', models.BigIntegerField(default=0)),
                        ('our_cached_tokens', models.BigIntegerField(default=0)),
                        ('our_output_tokens', models.BigIntegerField(default=0)),
                        ('our_cost_nanos', models.BigIntegerField(default=0)),
                        ('is_estimated', models.BooleanField(default=False)),
                        ('state', models.CharField(choices=[('equal', 'Equal'), ('different', 'Different'), ('missing_here', 'Not in our records'), ('missing_there', 'Not in the export')], default='missing_here', max_length=13)),
                        ('correction', models.CharField(choices=[('none', 'None'), ('open', 'Open'), ('posted', 'Posted'), ('uncovered', 'Uncovered')], default='none', max_length=9)),
                        ('correction_nanos', models.BigIntegerField(default=0, help_text="Change of the customer's balance: negative is a further charge.")),
                        ('statement', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='billing.upstreamstatement')),
                    ],
                    options={
                        'default_permissions': ('view',),
                    },
                ),
                migrations.CreateModel(
                    name='StatementChunk',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('number', models.IntegerField()),
                        ('data', models.BinaryField()),
                        ('statement', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='billing.upstreamstatement')),
                    ],
                    options={
                        'default_permissions': ('view',),
                    },
                ),
                migrations.CreateModel(
                    name='UsageCorrection',
                    fields=[
                        ('request_id', models.UUIDField(primary_key=True, serialize=False)),
                        ('line_number', models.IntegerField()),
                        ('input_tokens', models.BigIntegerField()),
                        ('cached_tokens', models.BigIntegerField()),
                        ('output_tokens', models.BigIntegerField()),
                        ('charged_nanos', models.BigIntegerField(help_text='Before.')),
                        ('corrected_nanos', models.BigIntegerField(help_text='After.')),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.creditaccount')),
                        ('confirmed_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                        ('statement', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='corrections', to='billing.upstreamstatement')),
                    ],
                    options={
                        'default_permissions': ('view',),
                    },
                ),
                migrations.AddIndex(
                    model_name='upstreamstatement',
                    index=models.Index(fields=['upstream', '-created_at'], name='statement_by_upstream'),
                ),
                migrations.AddConstraint(
                    model_name='upstreamstatement',
                    constraint=models.UniqueConstraint(fields=('upstream', 'digest'), name='statement_file_once'),
                ),
                migrations.AddConstraint(
                    model_name='upstreamstatement',
                    constraint=models.CheckConstraint(condition=models.Q(('unit_nanos__gt', 0)), name='statement_unit_positive'),
                ),
                migrations.AddIndex(
                    model_name='statementline',
                    index=models.Index(fields=['statement', 'state', 'id'], name='statement_lines'),
                ),
                migrations.AddIndex(
                    model_name='statementline',
                    index=models.Index(condition=models.Q(('correction__in', ['open', 'uncovered'])), fields=['statement', 'id'], name='statement_open_corrections'),
                ),
                migrations.AddConstraint(
                    model_name='statementline',
                    constraint=models.UniqueConstraint(condition=models.Q(('line_number__isnull', False)), fields=('upstream', 'upstream_request_id'), name='statement_line_once'),
                ),
                migrations.AddConstraint(
                    model_name='statementchunk',
                    constraint=models.UniqueConstraint(fields=('statement', 'number'), name='statement_chunk_once'),
                ),
                migrations.AddConstraint(
                    model_name='usagecorrection',
                    constraint=models.CheckConstraint(condition=models.Q(('corrected_nanos__gte', 0), models.Q(('corrected_nanos', models.F('charged_nanos')), _negated=True)), name='usagecorrection_changes_the_charge'),
                ),
            ]
        ),
    ]
