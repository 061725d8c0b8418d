"""53: chats that are answered later: held at the request, settled or released with the answer."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.talk import HELLO, MOUNTS, Json, Talk, error, row_of, talk_to
from tests.stack import Stack
from tests.support.waiting import eventually

MODEL = "glm-5.2"
PATH = "/async/chat/completions"
COLUMNS = ("outcome", "source", "charged_nanos", "input_tokens", "output_tokens", "endpoint")


@pytest.fixture(scope="module", autouse=True)
def _celery(stack: Stack) -> Iterator[None]:
    stack.start_worker()
    yield
    assert stack.worker is not None
    stack.worker.stop()


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def ask(talk: Talk, simulate: str = "", mount: str = "/api/paas/v4", **fields: Any) -> str:
    """Ask for an answer later, and return its id."""
    script = {"simulate": simulate} if simulate else {}
    answer = talk.post(mount + PATH, {"model": MODEL, "messages": HELLO, **script, **fields})
    assert answer.status_code == 200, answer.text
    task: Json = answer.json()
    assert task == {
        "id": f"chat-{answer.headers['x-request-id']}",
        "request_id": task["id"],
        "model": MODEL,
        "task_status": "PROCESSING",
    }
    return str(task["id"])


def result(talk: Talk, chat: str, mount: str = "/api/paas/v4") -> httpx.Response:
    """Return what is told of a chat."""
    with talk.client() as client:
        return client.get(f"{mount}/async-result/{chat}")


def ended(talk: Talk, chat: str, seconds: float = 20) -> Json:
    """Return a chat's result once it is no longer processing."""

    def done() -> Json | None:
        told: Json = result(talk, chat).json()
        return None if told["task_status"] == "PROCESSING" else told

    told: Json = eventually(done, seconds=seconds, every=0.2, what=f"{chat} goes on")
    return told


def request_id(chat: str) -> str:
    return chat.removeprefix("chat-")


def held(stack: Stack, chat: str) -> tuple[str, int]:
    """Return the state and the amount of the chat's hold."""
    query = "SELECT state, amount_nanos FROM billing_reservation WHERE id = %s::uuid"
    row = stack.sql(query, request_id(chat))[0]
    return row[0], row[1]


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_an_answer_later_is_the_answer_that_comes_at_once(talk: Talk, mount: str) -> None:
    chat = ask(talk, "tokens=6&reasoning=4", mount)
    told = ended(talk, chat)
    at_once = talk.chat(mount, "tokens=6&reasoning=4", model=MODEL)
    expected = at_once.json()
    assert (told["task_status"], told["model"]) == ("SUCCESS", MODEL)
    assert told["choices"] == expected["choices"]
    assert told["usage"] == expected["usage"]
    charge = talk.charged(at_once)
    assert charge > 0
    row = talk.usage(request_id(chat), *COLUMNS)
    tokens = (expected["usage"]["prompt_tokens"], expected["usage"]["completion_tokens"])
    assert row == ("completed", "upstream", charge, *tokens, "async_chat_completions")


def test_it_is_held_until_it_is_answered_and_kept_no_longer_than_it_must(
    stack: Stack, talk: Talk
) -> None:
    chat = ask(talk, "tokens=6&first_ms=1500", max_tokens=1000)
    assert held(stack, chat)[0] == "open"
    assert held(stack, chat)[1] > 0
    assert result(talk, chat).json()["task_status"] == "PROCESSING"
    stored = "SELECT body <> '', answer <> '' FROM api_chatjob WHERE id = %s::uuid"
    assert stack.sql(stored, request_id(chat)) == [(True, False)]
    assert ended(talk, chat)["task_status"] == "SUCCESS"
    assert held(stack, chat)[0] == "settled"
    assert stack.sql(stored, request_id(chat)) == [(False, True)]
    stack.check_ledger()


def test_a_chat_that_fails_says_so_and_is_free(stack: Stack, talk: Talk) -> None:
    chat = ask(talk, "status=500")
    told = ended(talk, chat)
    assert told["task_status"] == "FAIL"
    assert (told["error"]["code"], "choices" in told) == ("upstream_error", False)
    assert talk.usage(request_id(chat), "outcome", "charged_nanos") == ("upstream_error", 0)
    assert held(stack, chat)[0] == "released"


def test_a_worker_killed_before_the_end_is_followed_by_another(stack: Stack, talk: Talk) -> None:
    """It has the upstream's answer, and dies before it writes it down: asked again, paid once."""
    assert stack.worker is not None
    stack.worker.stop()
    chat = ask(talk, "tokens=6")
    stack.start_worker(TOLLGATE_FAILPOINT="after_async_chat")
    eventually(lambda: not stack.worker.running, seconds=20, what="the worker lives on")
    assert result(talk, chat).json()["task_status"] == "PROCESSING"
    assert held(stack, chat)[0] == "open"
    stack.start_worker()
    # As if the dead worker's lease were over.
    stack.sql("UPDATE api_chatjob SET next_run_at = now() WHERE id = %s::uuid", request_id(chat))
    assert ended(talk, chat)["task_status"] == "SUCCESS"
    assert len(stack.journal(request_id=request_id(chat))) == 2
    charges = "SELECT count(*) FROM billing_transfer WHERE kind = 'usage' AND reference = %s"
    number = stack.sql("SELECT %s::uuid::text", request_id(chat))[0][0]
    assert stack.sql(charges, number) == [(1,)]
    stack.check_ledger()


def test_what_is_wrong_is_told_at_once_and_nothing_is_held(talk: Talk) -> None:
    def refusal(**fields: Any) -> tuple[int, str, str | None]:
        answer = talk.post(f"/v1{PATH}", {"model": MODEL, "messages": HELLO, **fields})
        assert talk.never_sent(answer)
        return error(answer)

    assert refusal(stream=True) == (400, "unsupported_parameter", "stream")
    assert refusal(messages=[])[0] == 400
    assert refusal(model="no-such") == (404, "model_not_found", "model")
    assert refusal(model="cogvideox-3") == (400, "invalid_value", "model")


def test_only_its_own_team_sees_a_chat(stack: Stack, talk: Talk) -> None:
    chat = ask(talk, "tokens=6")
    stranger = Talk(stack, stack.customer("a53-stranger@example.com"))
    assert error(result(stranger, chat)) == (404, "not_found", "id")
    assert error(result(talk, "chat-" + "0" * 32)) == (404, "not_found", "id")
    assert error(result(talk, "chat-x")) == (404, "not_found", "id")


def test_a_model_taken_from_sale_meanwhile_fails_free_of_charge(stack: Stack, talk: Talk) -> None:
    assert stack.worker is not None
    stack.worker.stop()
    chat = ask(talk, "tokens=6")
    with row_of(stack, MODEL, is_enabled=False):
        stack.start_worker()
        told = ended(talk, chat)
    assert (told["task_status"], told["error"]["code"]) == ("FAIL", "model_not_found")
    assert held(stack, chat)[0] == "released"
