"""54: repeats with an Idempotency-Key at every paid endpoint, and with OpenAI's own SDK."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.operations import OPERATIONS
from tests.acceptance.talk import HELLO, Json, Talk, error, talk_to
from tests.stack import Stack
from tests.support.waiting import eventually

PNG = ("house.png", b"\x89PNG\r\n\x1a\n" + bytes(500), "image/png")
WAV = ("speech.wav", b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(100), "audio/wav")
CHAT: Json = {"model": "glm-5.2", "messages": HELLO}
MESSAGE: Json = {**CHAT, "max_tokens": 20}
VIDEO: Json = {"model": "cogvideox-3", "prompt": "A bird flying over the ocean"}
# Of each paid operation its path, its request, and what makes that another one.
CALLS: dict[str, tuple[str, Json, Json]] = {
    "chat_completions": ("/v1/chat/completions", {"json": CHAT}, {"json": {**CHAT, "seed": 1}}),
    "completions": (
        "/v1/completions",
        {"json": {"model": "glm-5.2", "prompt": "Hello!"}},
        {"json": {"model": "glm-5.2", "prompt": "Bye!"}},
    ),
    "async_chat_completions": (
        "/api/paas/v4/async/chat/completions",
        {"json": CHAT},
        {"json": {**CHAT, "seed": 1}},
    ),
    "messages": (
        "/v1/messages",
        {"json": {**MESSAGE, "stream": True}},
        {"json": MESSAGE},
    ),
    "responses": (
        "/v1/responses",
        {"json": {"model": "glm-5.2", "input": "Hello!"}},
        {"json": {"model": "glm-5.2", "input": "Bye!"}},
    ),
    "embeddings": (
        "/v1/embeddings",
        {"json": {"model": "text-embedding-3-small", "input": "A"}},
        {"json": {"model": "text-embedding-3-small", "input": "B"}},
    ),
    "rerank": (
        "/v1/rerank",
        {"json": {"model": "rerank-v3.5", "query": "a", "documents": ["a", "b"]}},
        {"json": {"model": "rerank-v3.5", "query": "b", "documents": ["a", "b"]}},
    ),
    "moderations": (
        "/v1/moderations",
        {"json": {"model": "omni-moderation-latest", "input": "a"}},
        {"json": {"model": "omni-moderation-latest", "input": "b"}},
    ),
    "audio_speech": (
        "/v1/audio/speech",
        {"json": {"model": "tts-1", "input": "Good morning!", "voice": "alloy"}},
        {"json": {"model": "tts-1", "input": "Good night!", "voice": "alloy"}},
    ),
    "audio_transcriptions": (
        "/v1/audio/transcriptions",
        {"data": {"model": "gpt-4o-transcribe"}, "files": {"file": WAV}},
        {"data": {"model": "gpt-4o-transcribe", "language": "en"}, "files": {"file": WAV}},
    ),
    "images_generations": (
        "/v1/images/generations",
        {"json": {"model": "glm-image", "prompt": "A house"}},
        {"json": {"model": "glm-image", "prompt": "A tree"}},
    ),
    "images_edits": (
        "/v1/images/edits",
        {"data": {"model": "gpt-image-1", "prompt": "Winter"}, "files": {"image": PNG}},
        {"data": {"model": "gpt-image-1", "prompt": "Summer"}, "files": {"image": PNG}},
    ),
    "videos_generations": (
        "/v1/videos/generations",
        {"json": VIDEO},
        {"json": {**VIDEO, "fps": 30}},
    ),
    "videos": (
        "/v1/videos",
        {"data": VIDEO, "files": {"input_reference": PNG}},
        {"data": {**VIDEO, "seconds": "6"}, "files": {"input_reference": PNG}},
    ),
}
KEPT = ("content-type", "x-request-id", "x-request-cost")


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


@pytest.fixture
def client(talk: Talk) -> Iterator[httpx.Client]:
    """A client with an idempotency key of its own."""
    with talk.client() as made:
        made.headers["Idempotency-Key"] = str(uuid.uuid4())
        yield made


def requests_of(stack: Stack, request_id: str) -> int:
    """Return how many reservations there are since a request, that of this included."""
    query = "SELECT count(*) FROM billing_reservation WHERE id >= %s::uuid"
    return int(stack.sql(query, request_id)[0][0])


def test_every_paid_operation_is_in_the_table() -> None:
    assert set(CALLS) == {name for name, row in OPERATIONS.items() if row.is_paid}


@pytest.mark.parametrize("name", CALLS)
def test_a_repeat_gets_the_first_answer_and_another_body_a_422(
    talk: Talk, client: httpx.Client, name: str
) -> None:
    path, request, another = CALLS[name]
    first, again = client.post(path, **request), client.post(path, **request)
    assert first.status_code == again.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    for header in KEPT:
        assert again.headers.get(header) == first.headers.get(header)
    reused = client.post(path, **another)
    assert reused.status_code == 422, reused.text
    assert "Idempotency-Key" in reused.json()["error"]["message"]
    assert len(talk.stack.journal(request_id=first.headers["x-request-id"])) <= 1
    assert requests_of(talk.stack, first.headers["x-request-id"]) == 1


def test_the_header_does_nothing_where_nothing_is_paid_for(client: httpx.Client) -> None:
    for _ in range(2):
        models = client.get("/v1/models")
        counted = client.post("/v1/messages/count_tokens", json=CHAT)
        assert (models.status_code, counted.status_code) == (200, 200)
        assert "idempotent-replayed" not in {**models.headers, **counted.headers}


def test_the_sdk_gets_an_answer_again_plain_and_streamed(openai: Any) -> None:
    def create(key: str, **fields: Any) -> Any:
        return openai.chat.completions.create(
            **CHAT, **fields, extra_headers={"Idempotency-Key": key}
        )

    assert create("plain").id == create("plain").id
    streams = [list(create("streamed", stream=True)) for _ in range(2)]
    assert streams[0] == streams[1]
    assert streams[0][-1].choices[0].finish_reason


def test_the_sdks_own_retry_waits_for_the_answer_of_the_first(
    stack: Stack, customer: tuple[str, str]
) -> None:
    """A client gave up on a slow answer; its retry, or another client's, gets that answer."""
    from openai import APITimeoutError, OpenAI  # noqa: PLC0415 - a second to load

    slow = {**CHAT, "max_tokens": 30, "extra_body": {"simulate": "tokens=20&first_ms=2500"}}
    headers = {"Idempotency-Key": "slow"}
    sdk = OpenAI(base_url=f"{stack.base_url}/v1", api_key=customer[1], max_retries=0)
    with pytest.raises(APITimeoutError):
        sdk.with_options(timeout=1).chat.completions.create(**slow, extra_headers=headers)
    patient = sdk.with_options(max_retries=8)
    answer = patient.chat.completions.with_raw_response.create(**slow, extra_headers=headers)
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.parse().usage.completion_tokens == 20
    (usage,) = stack.sql(
        "SELECT outcome, output_tokens FROM billing_usagerecord u JOIN accounts_apikey k"
        " ON k.id = u.key_id WHERE k.last_four = %s",
        customer[1][-4:],
    )
    assert usage == ("completed", 20)
    stack.check_ledger()


def test_of_clients_at_once_one_is_run_and_all_get_its_answer(talk: Talk) -> None:
    answers: list[httpx.Response] = []
    key = {"Idempotency-Key": str(uuid.uuid4())}
    slow = {**CHAT, "simulate": "tokens=5&first_ms=1000"}

    def ask() -> None:
        with talk.client() as client:

            def answered() -> bool:
                answer = client.post("/v1/chat/completions", json=slow, headers=key)
                if answer.status_code == 409:
                    assert error(answer)[1] == "idempotency_key_in_use"
                    assert answer.headers["retry-after"]
                    return False
                answers.append(answer)
                return True

            eventually(answered, every=0.3)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == 5 * [200]
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert requests_of(talk.stack, answers[0].headers["x-request-id"]) == 1
