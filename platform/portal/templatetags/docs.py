"""What the documentation's pages are written with."""

import textwrap

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context
from django.template.loader import render_to_string
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def with_code(text: str) -> SafeString:
    """Return a description as HTML, with text between backticks as code."""
    pieces = text.split("`")
    shown = (
        format_html("<code>{}</code>", piece) if number % 2 else format_html("{}", piece)
        for number, piece in enumerate(pieces)
    )
    return format_html_join("", "{}", ((piece,) for piece in shown))


class CodeNode(template.Node):
    """Code with its copy button."""

    def __init__(self, language: FilterExpression, nodes: NodeList) -> None:
        self._language = language
        self._nodes = nodes

    def render(self, context: Context) -> str:
        """Return the component. Everything in the code is text, whatever it looks like."""
        # Escaped once, as a whole: the values in it are text like the code around them.
        with context.push():
            context.autoescape, kept = False, context.autoescape
            text = self._nodes.render(context)
            context.autoescape = kept
        shown = {
            "id": f"code-{next(context['numbers'])}",
            "language": self._language.resolve(context),
            "text": escape(textwrap.dedent(text).strip("\n") + "\n"),
        }
        return render_to_string("components/code.html", shown)


@register.tag
def code(parser: Parser, token: Token) -> CodeNode:
    """`{% code "python" %}…{% endcode %}`: highlighted, with a copy button."""
    _, language = token.split_contents()
    nodes = parser.parse(("endcode",))
    parser.delete_first_token()
    return CodeNode(parser.compile_filter(language), nodes)
