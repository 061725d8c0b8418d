from pathlib import Path

import pytest

from tests.words import check

PLANTED = [
    ("page.html", "<p class='colour'>Somebody was\n invited.</p>", ["Somebody"]),
    ("page.html", '{% include "x.html" with title="Nobody yet" url=anybody %}', ["Nobody"]),
    ("page.html", "{% comment %}Nobody reads this.{% endcomment %}", []),
    ("mail.txt", "Ignore this letter.", ["this letter"]),
    ("page.md", "It goes on working.\n```\nnobody\n```\n`anybody`", ["goes on working"]),
    ("view.py", 'TEXT = "You recieve an e-mail."', ["recieve", "e-mail"]),
    ("view.py", 'TEXT = f"{name} is in use\u0020already."', ["in use already"]),
    ("view.py", '"""Nobody reads docstrings here."""\nKIND = "nobody"', []),
    ("app.js", 'toast("You have been logged out.");  // nobody', ["logged out"]),
]


@pytest.mark.parametrize(("name", "text", "phrases"), PLANTED)
def test_a_planted_word_is_found_where_a_reader_would_see_it(
    name: str, text: str, phrases: list[str]
) -> None:
    found = check.findings(Path(name), text, check.refused_phrases())

    assert [finding.phrase for finding in found] == phrases


def test_a_finding_names_its_line_and_the_replacement() -> None:
    (found,) = check.findings(Path("a.html"), "<p>\nSomebody</p>", check.refused_phrases())

    assert str(found) == "a.html:2: write 'someone' for 'Somebody'"


def test_no_text_for_readers_has_a_refused_word() -> None:
    assert len(check.files()) > 400
    assert [str(finding) for finding in check.all_findings()] == []
