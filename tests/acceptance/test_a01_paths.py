"""Points 1, 2 and 3: where the API answers, to whose key, and to pages of other origins."""

import re

import httpx
import pytest
from openai import OpenAI

from tests.acceptance.services import HELLO, Service

MOUNTS = ("", "/v1", "/api/v1", "/api/paas/v4", "/api/coding/paas/v4", "/ide/v1")
# Served by every mount, the coding endpoint among them.
MODEL = "glm-4.7"


@pytest.mark.parametrize("mount", MOUNTS)
def test_a01_the_openai_sdk_works_with_every_base_url(default: Service, mount: str) -> None:
    client = OpenAI(base_url=default.url + mount, api_key=default.key, max_retries=0)
    completion = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert completion.choices[0].message.content
    chunks = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == completion.choices[0].message.content
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


@pytest.mark.parametrize("mount", MOUNTS)
def test_a01_every_mount_has_the_same_endpoints(http: httpx.Client, mount: str) -> None:
    for path in ("/models", "/models/", f"/models/{MODEL}", "/chat/models", "/health"):
        assert http.get(mount + path).status_code == 200, path
        head = http.head(mount + path)
        assert (head.status_code, head.content) == (200, b""), path


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_a01_a_models_name_may_hold_slashes(http: httpx.Client, mount: str) -> None:
    for name in ("zai-org/GLM-4.7-FP8", "zai-org%2FGLM-4.7-FP8"):
        assert http.get(f"{mount}/models/{name}").json()["id"] == "zai-org/GLM-4.7-FP8"


def test_a01_pages_and_the_api_do_not_take_each_others_paths(http: httpx.Client) -> None:
    for path in ("/", "/admin/login/", "/pricing", "/chat", "/models-guide"):
        answer = http.get(path)
        assert not answer.headers["content-type"].startswith("application/json"), path
    for path in ("/models/none", "/completions/x", "/images/x", "/videos/x", "/v1/x", "/api/v1/x"):
        answer = http.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] in {"unknown_url", "model_not_found", "not_found"}, (
            path
        )


@pytest.mark.parametrize(
    ("service", "prefix"),
    [
        ("weatmood", "weatmood-"),
        ("weryai", "sk-"),
        ("answira", "sk-answira-"),
        ("zai", "sk-zai-"),
        ("glm5", "sk-glm5-"),
    ],
    indirect=["service"],
)
def test_a02_each_services_keys_have_its_prefix(service: Service, prefix: str) -> None:
    assert re.fullmatch(re.escape(prefix) + "[0-9A-Za-z]{38}", service.demo_key)
    with service.client(service.demo_key) as client:
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize("service", ["glm5"], indirect=True)
def test_a02_a_key_survives_a_change_of_the_prefix(service: Service) -> None:
    others = [
        key
        for key in service.stack.sql("SELECT DISTINCT prefix FROM accounts_apikey")
        if key != ("sk-glm5-",)
    ]
    assert others
    with service.client() as client:  # made when the service was another one
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("scheme", "status"), [("Bearer", 200), ("bearer", 200), ("Basic", 401), ("", 401)]
)
@pytest.mark.parametrize("mount", MOUNTS)
def test_a02_the_key_comes_as_a_bearer_token(default, mount: str, scheme: str, status: int) -> None:
    headers = {"authorization": f"{scheme} {default.key}".strip()}
    assert httpx.get(f"{default.url}{mount}/models", headers=headers).status_code == status


@pytest.mark.parametrize("mount", MOUNTS)
def test_a03_a_page_of_another_origin_may_call(default: Service, mount: str) -> None:
    page = {"origin": "https://app.example"}
    asked = {
        **page,
        "access-control-request-method": "POST",
        # What fetch asks for the document's sample, and for OpenAI's SDK in a browser.
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    path = f"{default.url}{mount}/chat/completions"
    preflight = httpx.options(path, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert {"authorization", "content-type", "x-stainless-lang"} <= set(allowed)

    body = {"model": MODEL, "messages": HELLO}
    with default.client() as client:
        for stream in (False, True):
            answer = client.post(path, json={**body, "stream": stream}, headers=page)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "*"
            exposed = answer.headers["access-control-expose-headers"]
            assert {"x-request-id", "x-ratelimit-remaining", "retry-after"} <= set(
                exposed.split(", ")
            )


@pytest.mark.parametrize("mount", MOUNTS)
def test_a03_a_page_of_another_origin_can_read_what_went_wrong(default, mount: str) -> None:
    page = {"origin": "https://app.example"}
    # At the root, only the API's names are the API's.
    unknown = "/nothing" if mount else "/completions/nothing"
    for path, status in (("/models", 401), (unknown, 404)):
        answer = httpx.get(f"{default.url}{mount}{path}", headers=page)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json()["error"]["message"]
