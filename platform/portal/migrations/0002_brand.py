"""Add the brand, and drafts of it."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0012_consent'),
        ('portal', '0001_chat'),
    ]

    operations = [
        WithLockTimeout([  # it refers to users
        migrations.CreateModel(
            name='BrandDraft',
            fields=[
                ('logo', models.BinaryField(blank=True, db_default=b'', default=b'')),
                ('logo_type', models.CharField(blank=True, db_default='', default='', max_length=16)),
                ('accent_light', models.CharField(blank=True, db_default='', default='', max_length=7, verbose_name='accent color, light')),
                ('accent_dark', models.CharField(blank=True, db_default='', default='', max_length=7, verbose_name='accent color, dark')),
                ('headline', models.CharField(blank=True, db_default='', default='', max_length=120)),
                ('lead', models.TextField(blank=True, db_default='', default='', max_length=500)),
                ('points', models.TextField(blank=True, db_default='', default='', max_length=800)),
                ('terms_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('terms_text', models.TextField(blank=True, db_default='', default='')),
                ('privacy_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('privacy_text', models.TextField(blank=True, db_default='', default='')),
                ('imprint_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('imprint_text', models.TextField(blank=True, db_default='', default='')),
                ('email_opening', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('email_closing', models.TextField(blank=True, db_default='', default='', max_length=600)),
                ('email_signature', models.TextField(blank=True, db_default='', default='', max_length=600)),
                ('email_texts', models.JSONField(blank=True, db_default={}, default=dict)),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='brand_draft', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('name', models.CharField(max_length=80)),
                ('tagline', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('contact_email', models.EmailField(blank=True, db_default='', default='', max_length=254)),
                ('based_on', models.CharField(blank=True, db_default='', default='', help_text='The digest of the brand that it was compared with.', max_length=64)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'default_permissions': (),
            },
        )
        ]),
        migrations.CreateModel(
            name='Brand',
            fields=[
                ('logo', models.BinaryField(blank=True, db_default=b'', default=b'')),
                ('logo_type', models.CharField(blank=True, db_default='', default='', max_length=16)),
                ('accent_light', models.CharField(blank=True, db_default='', default='', max_length=7, verbose_name='accent color, light')),
                ('accent_dark', models.CharField(blank=True, db_default='', default='', max_length=7, verbose_name='accent color, dark')),
                ('headline', models.CharField(blank=True, db_default='', default='', max_length=120)),
                ('lead', models.TextField(blank=True, db_default='', default='', max_length=500)),
                ('points', models.TextField(blank=True, db_default='', default='', max_length=800)),
                ('terms_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('terms_text', models.TextField(blank=True, db_default='', default='')),
                ('privacy_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('privacy_text', models.TextField(blank=True, db_default='', default='')),
                ('imprint_url', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('imprint_text', models.TextField(blank=True, db_default='', default='')),
                ('email_opening', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('email_closing', models.TextField(blank=True, db_default='', default='', max_length=600)),
                ('email_signature', models.TextField(blank=True, db_default='', default='', max_length=600)),
                ('email_texts', models.JSONField(blank=True, db_default={}, default=dict)),
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('digest', models.CharField(blank=True, db_default='', default='', help_text="Of all that is published, as in the service's row. Empty: what ships.", max_length=64)),
                ('terms_version', models.CharField(blank=True, db_default='', default='', help_text='What sign-ups accept. Empty: TERMS_VERSION, of the texts that ship.', max_length=20)),
                ('published_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'default_permissions': ('change',),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='brand_one_row')],
            },
        ),
    ]
