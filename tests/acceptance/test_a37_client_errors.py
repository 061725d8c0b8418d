"""Points 37 and 38: each error row of each document that is the client's, provoked.

W Weatmood, Y WeryAI, A Answira, Z Z.AI, G GLM5.app; those of the service are in the next file.
"""

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from accounts.keys import new_key
from tests.acceptance.services import HELLO, Service

# Where each document's clients call.
MOUNTS = {"W": "/v1", "W root": "", "W ide": "/ide/v1", "Y": "/v1", "A": "/api/v1"}
MOUNTS |= {"Z": "/api/paas/v4", "Z coding": "/api/coding/paas/v4", "G": "/api/v1"}
EVERY_MOUNT = sorted(set(MOUNTS.values()))
KEYS = "/api/manage/v1/keys"
MODEL = "glm-4.7"
CHAT = {"model": MODEL, "messages": HELLO}


def check(
    answer: httpx.Response,
    status: int,
    code: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
) -> None:
    """Fail where an answer is not this error, in the one form of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert error.pop("message").endswith(".")
    assert error == {"type": kind, "code": code, "param": param}


@pytest.fixture
def make_key(manager: httpx.Client) -> Callable[..., str]:
    """Make keys by the management API, with whatever rules."""

    def make(**rules: Any) -> str:
        answer = manager.post(KEYS, json={"name": "of a test", **rules})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    return make


BAD_BODIES = [
    (b"", "invalid_json", None),
    (b"not json", "invalid_json", None),
    (b'{"model": "glm-4.7", "messages": [', "invalid_json", None),
    (b"[]", "invalid_json", None),
    (b"\xff\xfe", "invalid_json", None),
    ({"messages": HELLO}, "missing_required_parameter", "model"),
    ({"model": MODEL}, "missing_required_parameter", "messages"),
    ({**CHAT, "messages": []}, "invalid_value", "messages"),
    ({**CHAT, "messages": "Hello!"}, "invalid_type", "messages"),
    ({**CHAT, "messages": [{"content": "?"}]}, "missing_required_parameter", "messages[0].role"),
    ({**CHAT, "messages": [{"role": "bot", "content": "?"}]}, "invalid_value", "messages[0].role"),
    ({**CHAT, "temperature": 3}, "invalid_value", "temperature"),
    ({**CHAT, "max_tokens": 0}, "invalid_value", "max_tokens"),
    ({**CHAT, "stream": "yes"}, "invalid_type", "stream"),
]


@pytest.mark.parametrize("mount", EVERY_MOUNT)
@pytest.mark.parametrize(("body", "code", "param"), BAD_BODIES)
def test_a37_400_names_what_is_wrong_with_the_body(http, mount: str, body, code, param) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = http.post(f"{mount}/chat/completions", content=content, headers=headers)
    check(answer, 400, code, param=param)


@pytest.mark.parametrize("service", ["glm5"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "get_weather"}}]),
        ("tool_choice", "auto"),
    ],
)
def test_a37_400_a_parameter_that_the_model_does_not_support(service, field, value) -> None:
    with service.client() as client:
        body = {"model": "deepseek-r1", "messages": HELLO, field: value}
        answer = client.post("/api/v1/chat/completions", json=body)
        check(answer, 400, "unsupported_parameter", param=field)
        body["model"] = "kimi-k2"
        assert client.post("/api/v1/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    ("mount", "kind"),
    [
        ("", "authentication_error"),
        ("/ide/v1", "authentication_error"),
        ("/v1", "invalid_request_error"),
        ("/api/v1", "invalid_request_error"),
        ("/api/paas/v4", "invalid_request_error"),
        ("/api/coding/paas/v4", "invalid_request_error"),
    ],
)
@pytest.mark.parametrize("key", ["", "x", "sk-tg-" + "a" * 38, "unknown"])
def test_a38_401_a_missing_or_invalid_key(default, mount: str, kind: str, key: str) -> None:
    with default.client(new_key("sk-tg-") if key == "unknown" else key) as client:
        answers = [
            client.post(f"{mount}/chat/completions", json=CHAT),
            client.post(f"{mount}/chat/completions", content=b"not json"),
            client.get(f"{mount}/models"),
        ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        error = answer.json()["error"]
        assert error.pop("message")
        if kind == "authentication_error":
            assert error == {"type": kind, "code": "invalid_api_key"}
        else:
            assert error == {"type": kind, "code": "invalid_api_key", "param": None}


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a37_402_not_enough_credits(default: Service, poor_key: str, mount: str) -> None:
    with default.client(poor_key) as client:
        answer = client.post(f"{mount}/chat/completions", json={**CHAT, "max_tokens": 1000})
    check(answer, 402, "insufficient_quota", kind="insufficient_quota")


def test_a37_402_the_keys_budget_is_used_up(default: Service, make_key) -> None:
    with default.client(make_key(budget_total="0.00001")) as client:
        answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 1000})
    check(answer, 402, "budget_exceeded", kind="insufficient_quota")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a38_403_the_key_may_not_use_the_model(default, make_key, mount: str) -> None:
    with default.client(make_key(allowed_models=["glm-5.2"])) as client:
        answer = client.post(f"{mount}/chat/completions", json=CHAT)
    check(answer, 403, "model_not_allowed", param="model")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a38_403_the_key_is_for_another_endpoint(manager: httpx.Client, mount: str) -> None:
    check(manager.post(f"{mount}/chat/completions", json=CHAT), 403, "endpoint_not_allowed")
    check(manager.get(f"{mount}/models"), 403, "endpoint_not_allowed")


def test_a38_403_an_inference_key_manages_nothing(default: Service) -> None:
    with default.client() as client:
        check(client.get(KEYS), 403, "endpoint_not_allowed")


def test_a38_403_the_coding_endpoint_serves_coding_models_only(http: httpx.Client) -> None:
    for model in ("glm-4.6v", "glm-5.2"):
        answer = http.post("/api/coding/paas/v4/chat/completions", json={**CHAT, "model": model})
        check(answer, 403, "endpoint_not_allowed", param="model")


def test_a38_403_the_team_is_suspended(default: Service, poor_key: str) -> None:
    suspend = (
        "UPDATE accounts_team SET suspended_at = {} FROM accounts_membership m, accounts_user u"
        " WHERE m.team_id = accounts_team.id AND u.id = m.user_id AND u.email = 'poor@example.com'"
    )
    default.stack.sql(suspend.format("now()"))
    try:
        with default.client(poor_key) as client:
            check(client.post("/v1/chat/completions", json=CHAT), 403, "team_suspended")
    finally:
        default.stack.sql(suspend.format("NULL"))


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a37_404_an_unknown_model(http: httpx.Client, mount: str) -> None:
    answer = http.post(f"{mount}/chat/completions", json={**CHAT, "model": "gpt-0"})
    check(answer, 404, "model_not_found", param="model")
    check(http.get(f"{mount}/models/gpt-0"), 404, "model_not_found", param="model")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a37_404_an_unknown_endpoint(http: httpx.Client, mount: str) -> None:
    for path in ("/chat/completions/x", "/images/x", "/completions/x/y"):
        for method in ("GET", "POST"):
            check(http.request(method, mount + path), 404, "unknown_url")


def test_a37_404_an_unknown_object_or_path_of_the_management_api(manager: httpx.Client) -> None:
    check(manager.get(f"{KEYS}/999999"), 404, "not_found")
    check(manager.get("/api/manage/v1/nothing"), 404, "unknown_url")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a38_405_another_method_with_those_allowed(http: httpx.Client, mount: str) -> None:
    for path, method, allowed in (
        ("/chat/completions", "GET", "POST, OPTIONS"),
        ("/models", "DELETE", "GET, HEAD, OPTIONS"),
        ("/health", "POST", "GET, HEAD, OPTIONS"),
    ):
        answer = http.request(method, mount + path)
        check(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


def test_a38_413_a_body_above_the_limit(http: httpx.Client) -> None:
    content = b'{"model": "' + b"x" * (20 * 1024 * 1024) + b'"}'
    headers = {"content-type": "application/json"}
    answer = http.post("/v1/chat/completions", content=content, headers=headers)
    check(answer, 413, "request_too_large")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a38_415_a_body_that_is_not_called_json(http: httpx.Client, mount: str) -> None:
    headers = {"content-type": "text/plain"}
    answer = http.post(f"{mount}/chat/completions", content=json.dumps(CHAT), headers=headers)
    check(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a37_429_too_many_requests_a_minute(default, make_key, mount: str) -> None:
    with default.client(make_key(requests_per_minute=1)) as client:
        assert client.post(f"{mount}/chat/completions", json=CHAT).status_code == 200
        answer = client.post(f"{mount}/chat/completions", json=CHAT)
    check(answer, 429, "rate_limit_exceeded", kind="requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["x-ratelimit-remaining"] == "0"


def test_a37_429_too_many_tokens_a_minute(default: Service, make_key) -> None:
    with default.client(make_key(tokens_per_minute=100)) as client:
        answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 1000})
    check(answer, 429, "rate_limit_exceeded", kind="tokens")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("fields", "raised"),
    [
        ({"temperature": 9}, openai.BadRequestError),
        ({"model": "gpt-0"}, openai.NotFoundError),
    ],
)
def test_a37_the_openai_sdk_raises_its_own_exceptions(default, fields, raised) -> None:
    client = openai.OpenAI(base_url=f"{default.url}/v1", api_key=default.key, max_retries=0)
    with pytest.raises(raised) as error:
        client.chat.completions.create(**{**CHAT, **fields})
    assert error.value.code
    assert error.value.type == "invalid_request_error"
    assert error.value.request_id
