"""Say what fields of upstreams and routes do, and in which unit."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0030_usage_sources'),
    ]

    operations = [
        migrations.AlterField(
            model_name='route',
            name='is_enabled',
            field=models.BooleanField(default=True, help_text='Clear this to send no requests this way.'),
        ),
        migrations.AlterField(
            model_name='route',
            name='upstream_model',
            field=models.CharField(help_text="The upstream's own name for the model.", max_length=200),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='connect_timeout_seconds',
            field=models.FloatField(default=5, help_text='Seconds to connect. After that, the next route is tried.'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='first_token_timeout_seconds',
            field=models.FloatField(default=120, help_text='Seconds to the first token. After that, the next route is tried.'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='idle_timeout_seconds',
            field=models.FloatField(default=60, help_text='Seconds without data, comments aside, after which an answer ends with an error.'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='is_enabled',
            field=models.BooleanField(default=True, help_text='Clear this to send it no requests. Models without another route are offline.'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='max_concurrency',
            field=models.PositiveIntegerField(default=512, help_text='Calls at once from each process.'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='total_timeout_seconds',
            field=models.FloatField(default=900, help_text='Seconds that a call may take; its hold lasts a little longer.'),
        ),
    ]
