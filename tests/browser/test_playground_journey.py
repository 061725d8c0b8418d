"""The playground in a browser: every endpoint, its request in three languages, its answer."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.programs import needs
from tests.browser.watch import accessibility_faults
from tests.stack import Stack
from tests.support import fresh_programs
from tests.support.sampling import half_of, one_of

OPERATIONS = [
    "create_chat_completion",
    "create_async_chat_completion",
    "create_completion",
    "create_message",
    "count_message_tokens",
    "create_response",
    "list_chat_models",
    "list_models",
    "get_model",
    "create_embeddings",
    "create_ranking",
    "create_moderation",
    "create_speech",
    "create_transcription",
    "create_images",
    "edit_images",
    "create_video",
    "create_openai_video",
    "get_health",
    "get_key",
    "get_credits",
    "get_usage",
]
QUOTES = [f"quote_{name}" for name in OPERATIONS if name.startswith(("create_", "edit_"))]


@pytest.fixture
def playground(customer_page: Page) -> Page:
    """The playground of the demo customer."""
    customer_page.goto("/playground")
    expect(customer_page.locator("#field-model")).to_be_visible()
    return customer_page


def choose(page: Page, operation: str) -> None:
    page.get_by_label("Endpoint").select_option(operation)


def simulate(page: Page, script: str) -> None:
    """Tell the simulator how to answer, by a field that the API passes on."""
    page.get_by_text("More fields").click()
    page.get_by_label("Additional fields").fill(json.dumps({"simulate": script}))


def send(page: Page) -> None:
    page.get_by_role("button", name="Send").click()


def snippet(page: Page, language: str) -> str:
    return str(page.locator(f"#snippet-{language}").text_content())


def test_the_form_has_every_endpoint_of_the_openapi_document(playground: Page) -> None:
    offered = playground.locator("#operation option").evaluate_all("all => all.map(o => o.value)")
    by_id = ["get_video", "get_async_result", "get_generation", "get_receipt", "get_day_root"]
    of_programs = ["exchange_code", "get_sign_in_metadata", "get_spending", "drop_telemetry"]
    expected = [*OPERATIONS, *QUOTES, *by_id, *of_programs, "list_day_roots"]
    assert sorted(offered) == sorted(expected)


def test_a_models_page_leads_to_its_endpoint_with_the_model_chosen(customer_page: Page) -> None:
    page = customer_page
    page.goto("/docs/models?kind=image")
    page.locator(".catalogue-table th a").last.click()
    name = str(page.locator("#model-name").text_content())
    page.get_by_role("link", name="Playground").last.click()
    expect(page.get_by_label("Endpoint")).to_have_value("create_images")
    expect(page.locator("#field-model")).to_have_value(name)


@pytest.mark.parametrize("operation", half_of("endpoints' forms", [*OPERATIONS, *QUOTES]))
def test_an_endpoints_form_sends_as_it_stands(
    playground: Page, operation: str, tmp_path: Path
) -> None:
    choose(playground, operation)
    # Only people choose files.
    for control in playground.locator("#fields input[type=file][required]").all():
        (tmp_path / "file.wav").write_bytes(b"RIFF" + bytes(2_000))
        control.set_input_files(tmp_path / "file.wav")
    send(playground)
    expect(playground.locator("#status")).to_have_text("200 OK")
    expect(playground.locator("#announcer")).to_have_text("The answer is complete.")
    assert playground.locator("#read").text_content()
    assert not re.search(r"sk-tg-\w{5,}", playground.content())  # `/key` says its beginning and end


def test_a_stream_is_shown_raw_and_read_with_its_cost(playground: Page, site: Stack) -> None:
    simulate(playground, "tokens=6&reasoning=4")
    send(playground)
    expect(playground.locator("#read")).to_have_text("sun fox map oak tea ink")
    expect(playground.locator("#reasoning-text")).to_be_hidden()
    facts = playground.locator("#facts")
    expect(facts).to_contain_text("$0.0000")
    expect(facts).to_contain_text("10 out")
    playground.get_by_role("tab", name="Raw").click()
    expect(playground.locator("#raw")).to_contain_text("data: [DONE]")
    playground.get_by_role("tab", name="Headers").click()
    expect(playground.locator("#headers")).to_contain_text("x-request-id: ")
    href = str(facts.get_by_role("link").get_attribute("href"))
    rows = site.sql(
        "SELECT charged_nanos FROM billing_usagerecord WHERE request_id = %s",
        href.removeprefix("/usage/requests/"),
    )
    assert f"${rows[0][0] / 1e9:.9f}".rstrip("0") in str(facts.text_content())


def test_a_stream_can_be_stopped(playground: Page) -> None:
    simulate(playground, "tokens=2000&pace_ms=20")
    send(playground)
    expect(playground.locator("#read")).to_contain_text("sun fox")
    playground.get_by_role("button", name="Stop").click()
    expect(playground.locator("#announcer")).to_have_text("Stopped.")
    expect(playground.locator("#facts")).to_contain_text("$0.0")


def test_mistakes_are_said_beside_their_fields_and_not_sent(playground: Page) -> None:
    sent: list[str] = []
    playground.on("request", lambda request: sent.append(request.url))
    playground.get_by_label("messages").fill("[oops")
    playground.get_by_label("temperature").fill("3")
    playground.get_by_label("max_tokens").fill("1.5")
    send(playground)
    expect(playground.locator("#field-messages-error")).to_contain_text("This is no JSON")
    expect(playground.locator("#field-temperature-error")).to_have_text("Write 2 or less.")
    expect(playground.locator("#field-max_tokens-error")).to_have_text("Enter a whole number.")
    expect(playground.get_by_label("messages")).to_be_focused()
    playground.get_by_label("messages").fill('{"role": "user"}')
    send(playground)
    expect(playground.locator("#field-messages-error")).to_have_text("Write JSON that is an array.")
    assert not [url for url in sent if "/v1/" in url]


def test_a_refusal_is_shown_with_its_status(playground: Page) -> None:
    playground.get_by_label("messages").fill("[]")
    send(playground)
    expect(playground.locator("#status")).to_contain_text("400")
    expect(playground.locator("#advice")).to_contain_text("messages")


@pytest.mark.parametrize("streams", [True, False])
def test_the_python_snippet_runs(playground: Page, site: Stack, streams: bool) -> None:
    playground.get_by_label("messages").fill('[{"role": "user", "content": "It\'s \\"é\\" \\\\n"}]')
    playground.get_by_label("stream", exact=True).set_checked(streams)
    simulate(playground, "tokens=3")
    environment = {**os.environ, "API_KEY": site.demo["api_key"]}
    _, said, complained = fresh_programs.run(["-c", snippet(playground, "python")], environment)
    assert said.startswith("sun fox map"), complained


def test_the_curl_snippet_runs(playground: Page, site: Stack) -> None:
    needs("curl", "curl")
    playground.get_by_label("messages").fill('[{"role": "user", "content": "It\'s $HOME `id`"}]')
    simulate(playground, "tokens=3")
    environment = {**os.environ, "API_KEY": site.demo["api_key"]}
    command = ["sh", "-c", snippet(playground, "curl")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "data: [DONE]" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("width", "scheme"), one_of("the playground", (1280, "light"), (390, "dark"))
)
def test_the_page_is_accessible_and_fits(
    new_customer_page: Callable[..., Page], scheme: str, width: int
) -> None:
    page = new_customer_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto("/playground#create_images")
    expect(page.locator("#field-size")).to_be_visible()
    page.get_by_text("More fields").click()
    send(page)
    expect(page.locator("#status")).to_have_text("200 OK")
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
