"""The test of an upstream by staff: its models list, and one-token calls.

It sends what the gateway would, with the same key, to the same guarded addresses, and the upstream
bills a few tokens. No result contains any part of a key: messages are redacted, and the key itself
is removed from them.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import msgspec

from accounts.encryption import DecryptionError
from api.dialects import DIALECTS
from api.dialects.error_bodies import redacted
from api.dialects.sse import EventSplitter, OversizedEventError, data_of
from api.models import Route, Upstream, UpstreamKey
from api.upstream_hosts import guarded_transport, problem_with
from api.upstream_keys import secret_of

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
MAX_BYTES = 4 * 1024 * 1024
MOST_MODELS = 200
# The least that OpenAI's Responses accept (their reference, `max_output_tokens`).
_LEAST_RESPONSE_TOKENS = 16


class Check(NamedTuple):
    """One step of the test. `detail` says what was received, or what is wrong.

    Times are in milliseconds. `usage` is what the upstream reported, under its own names.
    """

    name: str
    is_good: bool
    detail: str
    first_ms: int | None = None
    total_ms: int | None = None
    usage: Mapping[str, Any] = {}


class UpstreamReport(NamedTuple):
    """The steps of a test, and the models that the upstream lists."""

    checks: list[Check]
    models: list[str]

    @property
    def is_good(self) -> bool:
        """Whether every step succeeded."""
        return all(check.is_good for check in self.checks)


class _FailedError(Exception):
    """A call that failed; the message is for staff."""


def check_upstream(
    upstream: Upstream, model: str = "", transport: httpx.BaseTransport | None = None
) -> UpstreamReport:
    """Call an upstream with each of its keys, and return the results.

    Never raise for what the upstream does. Of several keys, each check names its own; disabled ones
    are not used. `model` is the upstream's name for a model. Default: that of the first route, else
    the first listed.
    """
    usable = [key for key in upstream.keys.order_by("pk") if key.is_enabled and key.has_secret]
    keys: list[UpstreamKey | None] = [*usable] or [None]
    reports = [_check_key(upstream, key, model, transport) for key in keys]
    checks = [
        check._replace(name=f"{check.name}, key {key.name}") if key and len(keys) > 1 else check
        for key, report in zip(keys, reports, strict=True)
        for check in report.checks
    ]
    models = dict.fromkeys(name for report in reports for name in report.models)
    return UpstreamReport(checks, list(models))


def _check_key(
    upstream: Upstream, key: UpstreamKey | None, model: str, transport: httpx.BaseTransport | None
) -> UpstreamReport:
    """Return the results of calls with one key, or without any."""
    try:
        caller = _Caller(upstream, key, transport)
    except _FailedError as error:
        return UpstreamReport([Check("Address and key", False, str(error))], [])
    with caller:
        listed, models = caller.list_models()
        route = _route_of(upstream, model)
        model = model or (route.upstream_model if route else "") or next(iter(models), "")
        checks = [listed]
        if not model:
            checks.append(Check("Calls", False, "Name a model to call: none is listed or routed."))
            return UpstreamReport(checks, models)
        checks.append(caller.call(model, route, is_streamed=False))
        checks.append(caller.call(model, route, is_streamed=True))
    return UpstreamReport(checks, models)


def _route_of(upstream: Upstream, model: str) -> Route | None:
    """Return the route whose settings a call of the model uses, or None."""
    routes = Route.objects.filter(upstream=upstream).order_by("-is_enabled", "priority", "pk")
    return (routes.filter(upstream_model=model) if model else routes).first()


class _Caller:
    """The connections of one test. Use it as a context manager."""

    def __init__(
        self, upstream: Upstream, key: UpstreamKey | None, transport: httpx.BaseTransport | None
    ) -> None:
        """Raise _FailedError for an address that is not allowed, or a key that can't be read."""
        if problem := problem_with(upstream.base_url):
            raise _FailedError(problem)
        try:
            self._key = secret_of(upstream, key)
        except DecryptionError as error:
            raise _FailedError(f"The key can't be decrypted: {error}") from None
        self._upstream = upstream
        self._dialect = DIALECTS[upstream.dialect]
        self._client = httpx.Client(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={
                "accept-encoding": "identity",
                "user-agent": "tollgate",
                **self._dialect.upstream_headers(self._key),
            },
            transport=transport or guarded_transport(),
        )

    def __enter__(self) -> "_Caller":
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def list_models(self) -> tuple[Check, list[str]]:
        """Return the check of the models list, and the names in it."""
        began_at = time.monotonic()
        try:
            answer = self._json(self._whole("GET", "/models", None))
        except _FailedError as error:
            return Check("Models list", False, str(error), total_ms=_ms_since(began_at)), []
        items = answer.get("data", answer.get("models")) if isinstance(answer, dict) else answer
        names = [
            item["id"]
            for item in (items if isinstance(items, list) else [])
            if isinstance(item, dict) and isinstance(item.get("id"), str)
        ]
        detail = f"{len(names)} models" if names else "No models in the answer"
        check = Check("Models list", bool(names), detail, total_ms=_ms_since(began_at))
        return check, names[:MOST_MODELS]

    def call(self, model: str, route: Route | None, *, is_streamed: bool) -> Check:
        """Return the check of a one-token call."""
        name = f"{'Streamed' if is_streamed else 'Plain'} call of {model}"
        body = _body_of(self._dialect.name, model, route, is_streamed=is_streamed)
        began_at = time.monotonic()
        first_ms = None
        usage: dict[str, Any] = {}
        events = 0
        try:
            if is_streamed:
                for event in self._events(body):
                    first_ms = first_ms if first_ms is not None else _ms_since(began_at)
                    events += 1
                    usage |= _usage_in(event)
                if not events:
                    raise _FailedError("The stream had no events.")
            else:
                usage = _usage_in(self._json(self._whole("POST", self._dialect.path, body)))
        except _FailedError as error:
            return Check(name, False, str(error), first_ms, _ms_since(began_at), usage)
        detail = f"{events} events" if is_streamed else "Answered"
        if not usage:
            detail += ", without usage: requests will be charged by estimates"
        return Check(name, bool(usage), detail, first_ms, _ms_since(began_at), usage)

    def _whole(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        return b"".join(self._parts(method, path, body))

    def _events(self, body: dict[str, Any]) -> Iterator[Any]:
        """Yield the decoded data of a stream's events. Raise _FailedError."""
        splitter = EventSplitter(MAX_BYTES)
        try:
            for part in self._parts("POST", self._dialect.path, body):
                for event in splitter.feed(part):
                    data = data_of(event).strip()
                    if data and data != b"[DONE]":
                        yield self._json(data)
        except OversizedEventError:
            raise _FailedError("An event of the stream is too long.") from None

    def _parts(self, method: str, path: str, body: dict[str, Any] | None) -> Iterator[bytes]:
        """Yield the body of a success. Raise _FailedError."""
        ends_at = time.monotonic() + READ_SECONDS
        size = 0
        try:
            with self._client.stream(method, self._upstream.base_url + path, json=body) as response:
                if response.status_code != 200:
                    self._raise_refusal(response)
                for part in response.iter_bytes():
                    size += len(part)
                    if size > MAX_BYTES or time.monotonic() > ends_at:
                        raise _FailedError("The answer is too long, or takes too long.")
                    yield part
        except httpx.HTTPError as error:
            raise _FailedError(self._clean(f"{type(error).__name__}: {error}")) from None

    def _raise_refusal(self, response: httpx.Response) -> None:
        text = b""
        for part in response.iter_bytes():
            text += part
            if len(text) > 64 * 1024:
                break
        message = self._dialect.read_error(text).message
        raise _FailedError(self._clean(f"HTTP {response.status_code} {message}".strip()))

    def _json(self, text: bytes) -> Any:
        try:
            answer = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _FailedError("The answer is not JSON.") from None
        if isinstance(answer, dict) and answer.get("error"):
            message = self._dialect.read_error(text).message
            raise _FailedError(self._clean(message or "An error without a message."))
        return answer

    def _clean(self, text: str) -> str:
        return redacted(text.replace(self._key, "…") if self._key else text)


def _body_of(dialect: str, model: str, route: Route | None, *, is_streamed: bool) -> dict[str, Any]:
    """Return the smallest request that a dialect has."""
    limit = route.max_tokens_field if route else "max_tokens"
    body: dict[str, Any] = {"model": model, "stream": is_streamed}
    match dialect:
        case "openai_responses":
            body |= {"input": "Hi", "max_output_tokens": _LEAST_RESPONSE_TOKENS}
        case "openai_completions":
            body |= {"prompt": "Hi", "max_tokens": 1}
        case "anthropic_messages":
            body |= {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        case _:
            body |= {"messages": [{"role": "user", "content": "Hi"}], limit: 1}
    takes_options = route is None or route.takes_stream_options
    if is_streamed and takes_options and dialect in {"openai_chat", "openai_completions"}:
        body["stream_options"] = {"include_usage": True}
    return body


def _usage_in(answer: Any) -> dict[str, Any]:
    """Return the usage in an answer or an event, wherever its dialect puts it."""
    if not isinstance(answer, dict):
        return {}
    for place in (answer, answer.get("message"), answer.get("response")):
        usage = place.get("usage") if isinstance(place, dict) else None
        if isinstance(usage, dict):
            return {name: value for name, value in usage.items() if isinstance(value, int | float)}
    return {}


def _ms_since(began_at: float) -> int:
    return round((time.monotonic() - began_at) * 1000)
