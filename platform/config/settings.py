"""Django's settings. Everything that an operator may change is read from the environment.

The variables are listed, with their meaning, in `platform/docs/operations.md`.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from config import admin_theme, env, schedule
from config.database import database_of
from config.logging import configure_logging

BASE_DIR: Path = env.BASE_DIR
LOCAL_DIR: Path = env.LOCAL_DIR

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.text("SECRET_KEY", "insecure-until-SECRET_KEY-is-set")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
BASE_URL = env.text("BASE_URL", "http://127.0.0.1:8000")
BILLING_URL = f"{BASE_URL.rstrip('/')}/billing"  # where credits are bought
HTTPS = env.flag("HTTPS", BASE_URL.startswith("https://"))
# Whether X-Forwarded-For and -Proto are set by the operator's proxies, and how many those are.
BEHIND_PROXY = env.flag("BEHIND_PROXY")
PROXY_COUNT = env.integer("PROXY_COUNT", 1)

# What a web process serves: `pages`, `api` or `all`. In production they run in separate processes.
SERVES = env.choice("SERVES", ("all", "pages", "api"))

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文"), ("ru", "Русский"), ("cs", "Čeština")]
LOCALE_PATHS = [BASE_DIR / "platform" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

# Providers of social sign-in, by allauth's names: "google,github".
SOCIAL_PROVIDERS = env.words("SOCIAL_PROVIDERS")

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "accounts.apps.StaffConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "allauth.usersessions",
    *(f"allauth.socialaccount.providers.{name}" for name in SOCIAL_PROVIDERS),
    "accounts",
    "billing",
    "api",
    "portal",
]

MIDDLEWARE = [
    "config.https.RefuseClearText",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.compression.CompressedPages",
    "config.connections.PageConnections",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.language.middleware.ReaderLanguage",
    "config.caching.PrivatePages",
    "config.maintenance.MaintenancePages",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.csp.ContentSecurityPolicyMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.sign_in.middleware.SignInLimits",
    "portal.sign_in.middleware.StaffFactorGuard",
    "portal.ui.times.ReaderZone",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.ui.shell.shell",
            ]
        },
    }
]

DATABASE_URL = env.text("DATABASE_URL", "postgresql://tollgate@127.0.0.1/tollgate")
DATABASES = {"default": database_of(DATABASE_URL)}

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
}

# Passwords are people's; API keys have a digest of their own (accounts/keys.py).
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard"
ACCOUNT_LOGOUT_REDIRECT_URL = "home"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_ADAPTER = "portal.sign_in.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "portal.sign_in.forms.SignupForm"}
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# Creating keys and owners, exporting data and changing ways to sign in require one this recent.
ACCOUNT_REAUTHENTICATION_TIMEOUT = env.integer("RECENT_SIGN_IN_SECONDS", 900)
# The rates by IP address are SIGN_IN_RATE and those beside it, below.
ACCOUNT_RATE_LIMITS = {"login": None, "signup": None, "reset_password": "5/m/key"}
ALLAUTH_USER_CODE_FORMAT = {"numeric": True, "dashed": False, "length": 6}
MFA_ADAPTER = "portal.sign_in.adapter.MFAAdapter"
MFA_FORMS = {
    "activate_totp": "portal.sign_in.forms.ActivateTOTPForm",
    "authenticate": "portal.sign_in.forms.AuthenticateForm",
    "reauthenticate": "portal.sign_in.forms.ReauthenticateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_TOTP_TOLERANCE = 1  # steps of 30 s that a phone's clock may be off
SOCIALACCOUNT_ADAPTER = "portal.sign_in.adapter.SocialAccountAdapter"
SOCIALACCOUNT_PROVIDERS = {
    name: {
        "APP": {
            "client_id": env.text(f"{name.upper()}_CLIENT_ID"),
            "secret": env.text(f"{name.upper()}_CLIENT_SECRET"),
        },
        "VERIFIED_EMAIL": False,
    }
    for name in SOCIAL_PROVIDERS
}

# Sign-up, trial credit, and attempts an IP address has (rates in django-ratelimit's format).
SIGNUP_OPEN = env.flag("SIGNUP_OPEN", True)
TRIAL_CREDIT_DOLLARS = env.text("TRIAL_CREDIT_DOLLARS", "0")
DISPOSABLE_EMAIL_DOMAINS = {
    domain.lower()
    for domain in env.words("DISPOSABLE_EMAIL_DOMAINS") + env.lines("DISPOSABLE_EMAIL_DOMAINS_FILE")
}
STAFF_SECOND_FACTOR = env.flag("STAFF_SECOND_FACTOR", True)  # see accounts/staff_site.py
STAFF_APPROVAL_DOLLARS = env.text(
    "STAFF_APPROVAL_DOLLARS", "1000"
)  # above it, a second person confirms
SIGN_UPS_PER_DAY = env.integer("SIGN_UPS_PER_DAY", 10)
SIGN_UP_RATE = env.text("SIGN_UP_RATE", "20/h")
SIGN_IN_RATE = env.text("SIGN_IN_RATE", "30/5m")
PASSWORD_RESET_RATE = env.text("PASSWORD_RESET_RATE", "20/h")
# Sign-ins of devices that an IP address can begin, and codes that an address or member can try.
DEVICE_CODE_RATE = env.text("DEVICE_CODE_RATE", "30/h")
ACCESS_TOKEN_SECONDS = env.integer("ACCESS_TOKEN_SECONDS", 28_800)
RATELIMIT_IP_META_KEY = "accounts.client_ip.client_ip"

# Emails go to a mail server, or into a folder. In development, /dev/mail shows that folder to
# anyone, including codes and reset links. DEVELOPMENT is not Django's DEBUG, which would also
# replace the error pages and keep every query in memory; either of them opens the mailbox.
MAIL_DIR = env.text("MAIL_DIR")
SHOWS_MAILBOX = bool(MAIL_DIR) and (DEBUG or env.flag("DEVELOPMENT"))
EMAIL_BACKEND = f"django.core.mail.backends.{'filebased' if MAIL_DIR else 'smtp'}.EmailBackend"
EMAIL_FILE_PATH = MAIL_DIR or None
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS")
EMAIL_USE_SSL = env.flag("EMAIL_USE_SSL")
EMAIL_PORT = env.integer("EMAIL_PORT", 587 if EMAIL_USE_TLS else 465 if EMAIL_USE_SSL else 25)
EMAIL_HOST_USER = env.text("EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD")
EMAIL_TIMEOUT = 10
# An IP address can't be an email domain.
_MAIL_DOMAIN = re.sub(r"^[\d.:]*$", "localhost", urlsplit(BASE_URL).hostname or "")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"no-reply@{_MAIL_DOMAIN}")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# The version of templates/legal/ that new users accept; raise it with their text.
TERMS_VERSION = "2026-12-01"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # `collectstatic` compresses and hashes each file once; WhiteNoise sends what browsers accept.
    "staticfiles": {"BACKEND": "config.static_files.HashedFiles"},
}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Browsers let neither other hosts of the domain nor unencrypted pages set a cookie of this prefix.
_COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid", f"{_COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_NAME, LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY = "language", HTTPS, True
LANGUAGE_COOKIE_SAMESITE, LANGUAGE_COOKIE_AGE = "Lax", 365 * 86_400
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "api.drf.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
UNFOLD = admin_theme.UNFOLD
# The management API's part of the OpenAPI document (api/openapi).
SPECTACULAR_SETTINGS = {"OAS_VERSION": "3.1.0", "SERVE_INCLUDE_SCHEMA": False}

# Payments, off without a key. STRIPE_API_BASE leads to a stand-in; STRIPE_ACCOUNT names a Connect
# account whose events are ours; STRIPE_TAX adds tax by Stripe Tax. CHECKOUT_ORIGINS are the hosts
# of the pages that customers are sent to.
STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET = env.text("STRIPE_WEBHOOK_SECRET")
STRIPE_API_BASE = env.text("STRIPE_API_BASE")
STRIPE_ACCOUNT = env.text("STRIPE_ACCOUNT")
STRIPE_TAX = env.flag("STRIPE_TAX")
STRIPE_TIMEOUT_SECONDS = env.number("STRIPE_TIMEOUT_SECONDS", 10)
CHECKOUT_ORIGINS = env.words(
    "CHECKOUT_ORIGINS",
    "{0.scheme}://{0.netloc}".format(urlsplit(STRIPE_API_BASE))
    if STRIPE_API_BASE
    else "https://checkout.stripe.com,https://billing.stripe.com",
)
TOP_UP_MINIMUM_DOLLARS = env.text("TOP_UP_MINIMUM_DOLLARS", "5")
TOP_UP_MAXIMUM_DOLLARS = env.text("TOP_UP_MAXIMUM_DOLLARS", "10000")
TOP_UP_PRESETS_DOLLARS = env.words("TOP_UP_PRESETS_DOLLARS", "10,25,50,100")
REFERRAL_CREDIT_DOLLARS = env.text("REFERRAL_CREDIT_DOLLARS", "0")
REFERRAL_WAIT_DAYS = env.number("REFERRAL_WAIT_DAYS", 0)
CODE_RATE = env.text("CODE_RATE", "10/h")

# The sweep releases the holds of dead processes; to know that one is dead takes two LEASE_SECONDS.
SWEEP_SECONDS = schedule.SWEEP_SECONDS
LEASE_SECONDS = env.number("LEASE_SECONDS", 12)
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace(
    "?db=", "?virtual_host="
)
# A page that queues a task must not hang on a broker that doesn't answer.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 2}
CELERY_IMPORTS = ("billing.payments.tasks", "billing.reconciliation.statements")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = schedule.SCHEDULE

# API keys: prefix + 32 base62 + 6 base62 of CRC32, stored as HMAC-SHA256 under the newest pepper.
# "1:hex,2:hex" keeps the keys of older peppers valid while new ones use the newest.
API_KEY_PEPPERS = env.versioned_keys("API_KEY_PEPPERS")
# Upstream keys and second factors are encrypted under the newest; older versions can be read.
ENCRYPTION_KEYS = env.versioned_keys("ENCRYPTION_KEYS")

# The reader itself, for variables in a catalogue file: `${SIMULATOR_URL}` in a base URL.
READ_ENVIRONMENT = env.text

# The gateway and the gate (api/gateway, billing/ledger/gate.py).
UPSTREAM_CLIENT = env.choice("UPSTREAM_CLIENT", ("relay", "httpx"))
UPSTREAM_HOSTS = env.words("UPSTREAM_HOSTS", "*")  # see api/upstream_hosts.py
SPIKE_FLOOR_DOLLARS = env.text("SPIKE_FLOOR_DOLLARS", "5")  # see api/key_guard.py
SPIKE_FACTOR = env.number("SPIKE_FACTOR", 3)
WEBHOOKS_ALLOW_LOOPBACK = env.flag("WEBHOOKS_ALLOW_LOOPBACK")  # see api/webhooks/client.py
MAX_BODY_BYTES = env.integer("MAX_BODY_BYTES", 20 * 1024 * 1024)
# Refused requests per minute and process, of one key and of one address.
REFUSALS_PER_MINUTE = env.integer("REFUSALS_PER_MINUTE", 300)
ADDRESS_REFUSALS_PER_MINUTE = env.integer("ADDRESS_REFUSALS_PER_MINUTE", 600)
MAX_ANSWER_BYTES = env.integer("MAX_ANSWER_BYTES", 64 * 1024 * 1024)
KEEPALIVE_SECONDS = env.number("KEEPALIVE_SECONDS", 15)
WRITE_TIMEOUT_SECONDS = env.number("WRITE_TIMEOUT_SECONDS", 30)
SETTLE_WAIT_SECONDS = env.number("SETTLE_WAIT_SECONDS", 5)
HOLD_GRACE_SECONDS = env.number("HOLD_GRACE_SECONDS", 120)
# The first slice of a stream's output that is held for. 0 holds for all of it.
HOLD_SLICE_TOKENS = int(env.number("HOLD_SLICE_TOKENS", 1024))
FREE_REQUESTS_PER_MINUTE = env.integer("FREE_REQUESTS_PER_MINUTE", 300)
FREE_TOKENS_PER_MINUTE = env.integer("FREE_TOKENS_PER_MINUTE", 240_000)
DRAIN_SECONDS = env.number("DRAIN_SECONDS", 120)
DRAIN_BYTES = env.integer("DRAIN_BYTES", 4 * 1024 * 1024)
MAX_CANCELLATIONS = env.integer("MAX_CANCELLATIONS", 60)
CANCELLATION_WINDOW_SECONDS = env.number("CANCELLATION_WINDOW_SECONDS", 600)
# How long an answer is kept for a repeat with its Idempotency-Key, and the largest kept.
IDEMPOTENCY_SECONDS = env.number("IDEMPOTENCY_SECONDS", 24 * 3600)
IDEMPOTENCY_MAX_BYTES = env.integer("IDEMPOTENCY_MAX_BYTES", 8 * 1024 * 1024)
# A video or an asynchronous chat that isn't finished by then has failed; its hold lasts as long. A
# video's upstream is polled at VIDEO_POLL_SECONDS at first, later less often.
VIDEO_MAX_SECONDS = env.number("VIDEO_MAX_SECONDS", 1800)
VIDEO_POLL_SECONDS = env.number("VIDEO_POLL_SECONDS", 3)
ASYNC_CHAT_MAX_SECONDS = env.number("ASYNC_CHAT_MAX_SECONDS", 1800)
# The largest usage export of an upstream that staff can import (billing/reconciliation).
STATEMENT_MAX_BYTES = env.integer("STATEMENT_MAX_BYTES", 256 * 1024 * 1024)
SPOOL_DIR = Path(env.text("SPOOL_DIR", str(LOCAL_DIR / "spool")))
SPOOL_FALLBACK_DIR = Path(spare) if (spare := env.text("SPOOL_FALLBACK_DIR", "")) else None

# /metrics can be read with the token, or from these networks without a proxy in between.
METRICS_TOKEN = env.text("METRICS_TOKEN")
METRICS_ADDRESSES = env.words("METRICS_ADDRESSES", "127.0.0.0/8,::1/128")
# Either of the SDK's variables turns tracing on (api/gateway/tracing.py).
TRACES_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.text(
    "OTEL_EXPORTER_OTLP_ENDPOINT"
)

LOGGING_CONFIG = None
configure_logging(level=env.text("LOG_LEVEL", "INFO"), as_json=env.flag("LOG_JSON"))
