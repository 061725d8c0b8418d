"""The documentation as Markdown, and llms.txt, which lists it."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from portal.docs.markdown import to_markdown
from portal.docs.pages import pages
from tests.cast import IssuedKey, signed_in

pytestmark = pytest.mark.django_db
_ARTICLE = re.compile(r"Copy as Markdown</a></p></header>(.*?)<nav class=\"docs-turn\"", re.S)


def words_of_markdown(text: str) -> list[str]:
    """Return the words that a reader of Markdown sees."""
    text = re.sub(r"^```\w*$", "", text, flags=re.M)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    return re.findall(r"\w+", text.replace("\\_", "_"))


def words_of_page(html: str) -> list[str]:
    """Return the words of a page's article, without its buttons and the card of an agent's key."""
    found = _ARTICLE.search(html)
    assert found is not None
    text = re.sub(r"<(button|svg|section).*?</\1>", " ", found[1], flags=re.S)
    text = re.sub(r"</(td|th|dt|p|h2|code)>|<(code|span)[^>]*>", " ", text)
    return re.findall(r"\w+", unescape(re.sub(r"<[^>]*>", "", text)))


def test_every_page_is_the_same_text_as_markdown(catalogue: Any, client: Client) -> None:
    catalogue("default")
    for page in pages():
        html = client.get(page.url).content.decode()
        assert f'href="{page.markdown_url}"' in html
        answer = client.get(page.markdown_url)
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/markdown; charset=utf-8")
        text = answer.content.decode()
        assert text.startswith(f"# {page.title}\n\n{page.summary}\n\n")
        body = text.split("\n\n", 2)[2]
        assert words_of_markdown(body) == words_of_page(html), page.slug
        for code in re.findall(r"<pre[^>]*><code[^>]*>(.*?)</code>", html, re.S):
            assert unescape(code).rstrip() in text, page.slug
        assert "](/" not in text
        assert "](#" not in text


def test_markdown_has_the_readers_host_and_no_secret(
    catalogue: Any, alice: Any, alices_key: IssuedKey
) -> None:
    catalogue("default")
    text = signed_in(alice).get("/docs/agents/claude-code.md").content.decode()
    assert "http://testserver" in text
    assert "sk-tg-YOUR_KEY" in text
    assert alices_key.plaintext not in text


def test_unknown_pages_are_unknown_as_markdown(client: Client) -> None:
    for path in ("/docs/nothing.md", "/docs/agents/nothing.md", "/docs/.md"):
        assert client.get(path).status_code == 404


def test_markup_becomes_markdown() -> None:
    html = """<h2 id="a">A <code>b</code></h2><p>One *two* <a href="#a">three</a>
      <strong>four</strong></p><ul><li>five</li><li>six_</li></ul>
      <table><thead><tr><th>x</th><th>y</th></tr></thead>
      <tbody><tr><td>1 | 2</td><td colspan="2"><code>`</code></td></tr></tbody></table>
      <dl><div><dt>t</dt><dd>d</dd></div></dl>
      <div class="code"><pre><code class="language-bash">a
```
b</code></pre><button>Copy</button></div>"""
    assert to_markdown(html, "https://x.example/docs") == (
        "## A `b`\n\nOne \\*two\\* [three](https://x.example/docs#a) **four**\n\n"
        "- five\n- six\\_\n\n| x | y |\n| --- | --- |\n| 1 \\| 2 | `` ` `` |\n\n- t: d\n\n"
        "````bash\na\n```\nb\n````\n"
    )


def test_llms_txt_lists_every_page(catalogue: Any, client: Client) -> None:
    catalogue("default")
    answer = client.get("/llms.txt")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    lines = answer.content.decode().splitlines()
    assert re.match(r"# \S", lines[0])
    assert lines[2].startswith("> ")
    links = re.findall(r"^- \[[^]]+\]\(http://testserver(/[^)]+)\)", "\n".join(lines), re.M)
    assert {page.markdown_url for page in pages()} <= set(links)
    for link in links:
        assert client.get(link).status_code == 200, link
    assert "&" not in answer.content.decode()
