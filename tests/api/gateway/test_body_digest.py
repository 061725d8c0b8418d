"""The digest that recognizes a retry: of the body alone, and useless to others."""

import hashlib
import json
from typing import Any

import pytest

from accounts import keys
from api.gateway import request_body
from api.gateway.request_body import digest_of
from tests.api.gateway.upstream import answer, chunk, completion, stream
from tests.api.gateway.world import World, body, in_loop

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED: list[dict[str, Any]] = [
    {**ASKED, "stream": True},
    {**ASKED, "stream": False},
    {"stream": True, **ASKED},
    {"model": "m", "stream": True, "stream_options": {"include_usage": True}, **ASKED},
    {**ASKED, "stream": True, "stream_options": {"include_usage": True}},
    {"stream_options": None, **ASKED, "stream": None},
]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
@pytest.mark.parametrize("streamed", STREAMED)
def test_a_stream_and_the_same_without_it_have_one_digest(
    separators: tuple[str, str], streamed: dict[str, Any]
) -> None:
    plain, again = (json.dumps(each, separators=separators).encode() for each in (ASKED, streamed))
    assert digest_of(plain, KEY) == digest_of(again, KEY)


@pytest.mark.parametrize(
    "other",
    [
        {**ASKED, "temperature": 0},
        {**ASKED, "model": "n"},
        {**ASKED, "stream": "yes"},
        {**ASKED, "user": "stream"},
        {"model": "m", "messages": [{"role": "user", "content": 'Hi "stream":true'}]},
    ],
)
def test_another_body_has_another(other: dict[str, Any]) -> None:
    assert digest_of(json.dumps(other).encode(), KEY) != digest_of(json.dumps(ASKED).encode(), KEY)


def test_it_tells_nothing_without_the_pepper_and_nothing_across_keys(settings: Any) -> None:
    text = json.dumps(ASKED).encode()
    digest = digest_of(text, KEY)
    assert len(digest) == 32
    assert digest != digest_of(text, OTHER_KEY)
    assert digest != hashlib.sha256(text).hexdigest()[:32]
    settings.API_KEY_PEPPERS = {**settings.API_KEY_PEPPERS, 99: b"another" * 5}
    request_body._secret.cache_clear()
    assert digest != digest_of(text, KEY)
    request_body._secret.cache_clear()
    assert keys.derived_secret(b"request bodies") != keys.derived_secret(b"anything else")


def test_a_form_has_one_whatever_its_boundary() -> None:
    forms = [b'--%b\r\nname="a"\r\n\r\nx\r\n--%b--' % (each, each) for each in (b"one", b"two")]
    first, second = digest_of(forms[0], KEY, b"one"), digest_of(forms[1], KEY, b"two")
    assert first == second != digest_of(forms[0].replace(b"x", b"y"), KEY, b"one")


def test_a_body_of_nothing_but_such_members_takes_no_time() -> None:
    digest_of(b'"stream' * 1_000_000, KEY)
    digest_of(b'{"stream":true,' * 1_000_000, KEY)


@in_loop
async def test_a_broken_stream_and_its_retry_settle_with_one_digest() -> None:
    broken, whole = stream(chunk("Some text")), answer(completion())
    async with World(broken, whole, whole) as world:
        await world.post(body(stream=True))
        await world.post(body())
        await world.post(body("Something else"))
    digests = [each.body_digest for each in world.gate.settlements]
    assert world.gate.settlements[0].outcome == "upstream_incomplete"
    assert digests[0] == digests[1] != digests[2]
    assert all(len(each) == 32 for each in digests)


@in_loop
async def test_a_large_body_has_one_too() -> None:
    async with World(answer(completion()), answer(completion())) as world:
        for _ in range(2):
            await world.chat("x" * 600_000)
    first, second = world.gate.settlements
    assert first.body_digest == second.body_digest != ""
