"""Masking of secrets in text that is logged or stored."""

import re

# Anything shaped like a key: a prefix with a dash, then 38 base62 characters (accounts/keys.py).
_KEY = re.compile(r"\b([A-Za-z0-9]+-(?:[A-Za-z0-9]+-)?)[0-9A-Za-z]{34}([0-9A-Za-z]{4})\b")
# Other providers' keys, such as `sk-proj-` and `sk-ant-`.
_PROVIDER = re.compile(r"\b(sk-(?:[a-z]+[0-9]*-)*)[0-9A-Za-z_-]{20,}")
# Google's, Groq's, xAI's, Hugging Face's, GitHub's, Slack's and AWS's keys; signed tokens (JWT).
_OTHERS = re.compile(
    r"\b(AIza|gsk_|xai-|hf_|gh[opsur]_|github_pat_|xox[abeprs]-|AKIA|ASIA)[0-9A-Za-z_-]{16,}"
)
_TOKEN = re.compile(r"\b(eyJ)[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?")
_BEARER = re.compile(r"(?i)(bearer\s+)\S+")
# Stripe's secret and restricted keys, and its webhooks' signing secrets.
_STRIPE = re.compile(r"\b((?:sk|rk)_[a-z]+_|whsec_)[0-9A-Za-z_]+")

_CUT_TO_PREFIX = (_PROVIDER, _OTHERS, _TOKEN, _BEARER, _STRIPE)


def mask_secrets(text: str) -> str:
    """Return the text with API keys cut to prefix and last four, other secrets to their prefix."""
    text = _KEY.sub(r"\1…\2", text)
    for pattern in _CUT_TO_PREFIX:
        text = pattern.sub(r"\1…", text)
    return text
