"""Chat in a browser: streamed, stopped, kept or not, and harmless whatever a model says."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.watch import accessibility_faults
from tests.stack import Stack
from tests.support.sampling import one_of
from tests.support.waiting import eventually

COMPLETIONS = "**/v1/chat/completions"
HOSTILE = """# <script>window.pwned = 1</script>

<img src="https://evil.example/a.png" onerror="window.pwned = 1"> <b onclick="pwned()">bold</b>

![pixel](https://evil.example/pixel.png) ![inline](data:image/svg+xml,<svg/onload=alert(1)>)

[script](javascript:window.pwned=1) [data](data:text/html,<script>1</script>)
[own](/accounts/logout/)
[case](JaVaScRiPt:alert(1)) [entity](&#106;avascript:alert(1)) [good](https://example.com/a)

pay \u202eeerf\u202c now\u0007

| a | b |
|---|--:|
| <script>window.pwned = 1</script> | 2 |

```python"><script>window.pwned = 1</script>
print("<img src=x onerror=alert(1)>")
```
"""


@pytest.fixture
def chat_page(customer_page: Page) -> Page:
    """The chat page of the demo customer, with nothing said yet."""
    customer_page.goto("/chat")
    return customer_page


def scripted(page: Page, script: str) -> list[dict[str, Any]]:
    """Tell the simulator how to answer the page's next requests; return their bodies."""
    bodies: list[dict[str, Any]] = []

    def handle(route: Route) -> None:
        body = json.loads(route.request.post_data or "{}")
        bodies.append(body)
        route.continue_(post_data=json.dumps({**body, "simulate": script}))

    page.route(COMPLETIONS, handle)
    return bodies


def answered_by(page: Page, *deltas: dict[str, Any], status: int = 200) -> None:
    """Answer the page's requests with a stream of these deltas."""
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream", "x-request-id": uuid.uuid4().hex}
    page.route(COMPLETIONS, lambda route: route.fulfill(status=status, headers=headers, body=body))


def refused_with(page: Page, status: int, message: str, **headers: str) -> None:
    """Refuse the page's requests."""
    body = json.dumps({"error": {"message": message, "type": "x", "code": "x", "param": None}})
    headers = {"content-type": "application/json", **headers}
    page.route(COMPLETIONS, lambda route: route.fulfill(status=status, headers=headers, body=body))


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def wait_for_end(page: Page) -> None:
    expect(page.locator("#announcer")).to_have_text("The answer is complete.")


def stored_messages(site: Stack) -> int:
    return int(site.sql("SELECT count(*) FROM portal_message")[0][0])


def test_an_answer_is_paid_like_a_request_and_links_to_its_charge(
    chat_page: Page, site: Stack
) -> None:
    say(chat_page, "What is a toll?")
    wait_for_end(chat_page)
    link = chat_page.locator(".turn-cost")
    expect(link).to_contain_text("$0.0000")
    request_id = str(link.get_attribute("href")).removeprefix("/usage/requests/")
    [(charged, name, endpoint)] = site.sql(
        "SELECT charged_nanos, k.name, endpoint FROM billing_usagerecord u"
        " JOIN accounts_apikey k ON k.id = u.key_id WHERE request_id = %s",
        request_id,
    )
    assert (name, endpoint) == ("Chat session", "chat_completions")
    assert f"${charged / 1e9:.9f}".rstrip("0") in str(link.text_content())


def test_a_stopped_answer_is_billed_for_what_was_delivered(chat_page: Page, site: Stack) -> None:
    scripted(chat_page, "tokens=2000&pace_ms=20")
    say(chat_page, "Tell me a very long story.")
    expect(chat_page.locator(".turn.model .prose")).to_contain_text("sun fox map")
    chat_page.get_by_role("button", name="Stop").click()
    expect(chat_page.locator("#announcer")).to_have_text("Stopped.")
    expect(chat_page.get_by_text("Stopped", exact=True)).to_be_visible()
    expect(chat_page.locator(".turn-cost")).to_contain_text("$0.0")
    href = chat_page.locator(".turn-cost").get_attribute("href")
    [(outcome, charged, tokens)] = site.sql(
        "SELECT outcome, charged_nanos, output_tokens FROM billing_usagerecord"
        " WHERE request_id = %s",
        str(href).rsplit("/", 1)[1],
    )
    assert outcome == "client_closed"
    assert charged > 0
    assert 0 < tokens < 2000
    [call] = site.journal(request_id=str(href).rsplit("/", 1)[1].replace("-", ""))[-1:] or [{}]
    assert call.get("end", "client_closed") == "client_closed"
    # What was delivered is part of the conversation, which goes on.
    chat_page.unroute(COMPLETIONS)
    say(chat_page, "Go on.")
    wait_for_end(chat_page)


def test_the_keyboard_sends_breaks_lines_and_stops(chat_page: Page) -> None:
    scripted(chat_page, "tokens=2000&pace_ms=20")
    box = chat_page.get_by_label("Message", exact=True)
    expect(box).to_be_focused()
    chat_page.keyboard.type("one")
    chat_page.keyboard.press("Shift+Enter")
    chat_page.keyboard.type("two")
    expect(box).to_have_value("one\ntwo")
    chat_page.keyboard.press("Enter")
    expect(chat_page.locator(".turn.model .prose")).to_contain_text("sun")
    chat_page.keyboard.press("Escape")
    expect(chat_page.locator("#announcer")).to_have_text("Stopped.")
    expect(chat_page.locator(".turn.person")).to_contain_text("one\ntwo")
    expect(box).to_be_focused()


def test_hostile_output_is_shown_and_does_nothing(chat_page: Page) -> None:
    # The fixtures' watch fails the test for a foreign request or an error in the console.
    answered_by(chat_page, {"reasoning": "<script>window.pwned = 1</script>", "content": HOSTILE})
    say(chat_page, "<img src=x onerror='window.pwned = 1'>")
    wait_for_end(chat_page)
    assert chat_page.evaluate("window.pwned") is None
    turn = chat_page.locator(".turn.model .prose")
    assert turn.locator("script, img, iframe, svg, [onclick], [onerror], [style]").count() == (
        turn.locator("button svg").count()
    )
    links = {
        str(link.text_content()): link.get_attribute("href") for link in turn.locator("a").all()
    }
    assert links == {
        "Image: pixel": "https://evil.example/pixel.png",
        "good": "https://example.com/a",
    }
    assert turn.locator("a").first.get_attribute("rel") == "noopener noreferrer nofollow"
    expect(turn).to_contain_text("<script>window.pwned = 1</script>")
    expect(turn).to_contain_text("pay ⟨U+202E⟩eerf⟨U+202C⟩ now⟨U+0007⟩")
    expect(turn.locator("pre")).to_contain_text('print("<img src=x onerror=alert(1)>")')
    expect(chat_page.locator(".turn.person")).to_have_text(
        "You<img src=x onerror='window.pwned = 1'>"
    )


def test_reasoning_is_folded_and_code_is_coloured_and_copied(chat_page: Page) -> None:
    chat_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = "```python\ndef toll() -> int:\n    return 3\n```"
    answered_by(chat_page, {"reasoning": "First, I think."}, {"content": code})
    say(chat_page, "Some code, please")
    wait_for_end(chat_page)
    thoughts = chat_page.get_by_text("First, I think.")
    expect(thoughts).to_be_hidden()
    chat_page.locator(".turn-reasoning summary").click()
    expect(thoughts).to_be_visible()
    expect(chat_page.locator(".prose .hljs-keyword").first).to_have_text("def")
    chat_page.locator(".prose .copy").click()
    assert (
        chat_page.evaluate("navigator.clipboard.readText()") == "def toll() -> int:\n    return 3\n"
    )


def test_settings_and_the_model_are_what_is_asked_for(chat_page: Page) -> None:
    bodies = scripted(chat_page, "tokens=4")
    chat_page.get_by_label("Model", exact=True).select_option("deepseek-r1")
    chat_page.locator("#settings-button").click()
    chat_page.get_by_label("System prompt").fill("Be brief.")
    chat_page.get_by_label("Temperature").fill("0.3")
    chat_page.get_by_label("Max tokens").fill("64")
    chat_page.get_by_role("button", name="Apply").click()
    say(chat_page, "Hello")
    wait_for_end(chat_page)
    [body] = bodies
    assert body["model"] == "deepseek-r1"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert (body["temperature"], body["max_tokens"]) == (0.3, 64)
    assert body["stream_options"] == {"include_usage": True}


def test_regenerate_asks_again_without_the_answer(chat_page: Page) -> None:
    bodies = scripted(chat_page, "tokens=4")
    say(chat_page, "Hello")
    wait_for_end(chat_page)
    chat_page.get_by_role("button", name="Regenerate the answer").click()
    eventually(lambda: len(bodies) == 2)
    wait_for_end(chat_page)
    assert bodies[0]["messages"] == bodies[1]["messages"]
    expect(chat_page.locator(".turn")).to_have_count(2)


@pytest.mark.parametrize(
    ("status", "message", "headers", "advice"),
    [
        (402, "Your credits do not cover this.", {}, "Credits and billing"),
        (429, "Too many requests.", {"retry-after": "7"}, "Try again in 7 seconds."),
        (503, "The model is offline. Try again later.", {}, "offline"),
        (400, "<b>Bad</b> \u202emessage", {}, "<b>Bad</b> ⟨U+202E⟩message"),
    ],
)
def test_a_refusal_says_what_to_do_and_can_be_tried_again(
    chat_page: Page, status: int, message: str, headers: dict[str, str], advice: str
) -> None:
    refused_with(chat_page, status, message, **headers)
    say(chat_page, "Hello")
    alert = chat_page.locator(".turn .alert")
    expect(alert).to_contain_text(advice)
    shown = alert.get_by_role("link", name="Credits and billing")  # a hidden one has no role
    expect(shown).to_have_count(1 if status == 402 else 0)
    chat_page.unroute(COMPLETIONS)
    alert.get_by_role("button", name="Try again").click()
    wait_for_end(chat_page)
    expect(alert).to_have_count(0)
    expect(chat_page.locator(".turn")).to_have_count(2)


def test_a_key_that_was_revoked_elsewhere_is_replaced(chat_page: Page, site: Stack) -> None:
    say(chat_page, "Hello")
    wait_for_end(chat_page)
    site.sql("UPDATE accounts_apikey SET revoked_at = now() WHERE name = 'Chat session'")
    say(chat_page, "Hello again")
    expect(chat_page.locator(".turn.model .prose")).to_have_count(2)
    wait_for_end(chat_page)


def test_what_is_said_stays_in_the_tab(chat_page: Page, site: Stack) -> None:
    before = stored_messages(site)
    say(chat_page, "A secret of mine")
    wait_for_end(chat_page)
    expect(chat_page.locator("#list")).to_contain_text("A secret of mine")
    assert stored_messages(site) == before
    chat_page.goto("/dashboard")
    chat_page.goto("/chat")
    chat_page.get_by_role("button", name="A secret of mine", exact=True).click()
    expect(chat_page.locator(".turn")).to_have_count(2)
    other_tab = chat_page.context.new_page()
    other_tab.goto("/chat")
    expect(other_tab.locator("#list-empty")).to_be_visible()


def test_stored_conversations_are_found_renamed_and_deleted(
    chat_page: Page, site: Stack, new_customer_page: Callable[..., Page]
) -> None:
    chat_page.locator("#storage-button").click()
    chat_page.get_by_label("On your account").check()
    chat_page.get_by_role("button", name="Save").click()
    expect(chat_page.locator("#storage-state")).to_have_text("Stored on your account")
    say(chat_page, "How wide is the bridge?")
    wait_for_end(chat_page)
    chat_page.wait_for_url("**/chat/*-*")
    elsewhere = new_customer_page(viewport={"width": 390, "height": 844})
    elsewhere.goto(chat_page.url)
    expect(elsewhere.locator(".turn")).to_have_count(2)
    expect(elsewhere.locator(".turn-cost")).to_contain_text("$0.0")

    line = chat_page.locator(".chat-line")
    line.hover()
    chat_page.get_by_role("button", name="Rename How wide is the bridge?").click()
    chat_page.get_by_label("Title").fill("Bridges")
    chat_page.get_by_role("button", name="Rename", exact=True).click()
    expect(chat_page.get_by_role("heading", level=1)).to_have_text("Bridges")
    chat_page.get_by_label("Search conversations").fill("ferry")
    expect(chat_page.locator("#list-empty")).to_have_text("Nothing found.")
    chat_page.get_by_label("Search conversations").fill("how wide")
    expect(line).to_have_count(1)
    line.hover()
    chat_page.get_by_role("button", name="Delete Bridges").click()
    chat_page.get_by_role("button", name="Delete", exact=True).click()
    expect(line).to_have_count(0)
    assert stored_messages(site) == 0
    chat_page.locator("#storage-button").click()
    chat_page.get_by_label("In this tab only").check()
    chat_page.get_by_role("button", name="Save").click()
    expect(chat_page.locator("#storage-state")).to_have_text("In this tab only")


@pytest.mark.parametrize(("width", "scheme"), one_of("chat", (1280, "light"), (390, "dark")))
def test_the_page_is_accessible_and_fits(
    new_customer_page: Callable[..., Page], scheme: str, width: int
) -> None:
    page = new_customer_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto("/chat")
    assert accessibility_faults(page) == []
    answered_by(page, {"reasoning": "Hm.", "content": HOSTILE + "x" * 300})
    say(page, "Hello")
    wait_for_end(page)
    page.locator(".turn-reasoning summary").click()
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") <= 844
    page.locator("#settings-button").click()
    assert accessibility_faults(page) == []
