"""The runner's own parts, without any program: the registry, the sums, the tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients import table
from tests.clients.agents import AGENTS
from tests.clients.installs import GO, NODE, PYTHON, Installation
from tests.clients.libraries import LIBRARIES, SCRIPTS
from tests.clients.results import AgentResult, LibraryResult, LibraryRun, NotRun, Refusal, Task
from tests.clients.service import Bill, bill_of

FINE = Bill(requests=2, input_tokens=10, output_tokens=5, charged_nanos=1_234, expected_nanos=1_234)
WRONG = Bill(
    requests=2, input_tokens=10, output_tokens=5, charged_nanos=1_235, expected_nanos=1_234
)


def entry(request: str, **fields: Any) -> dict[str, Any]:
    """Return an entry of the simulator's journal."""
    return {
        "request_id": request,
        "model": "claude-on-chat",
        "prompt_tokens": 100,
        "tokens_sent": 10,
        "status": 200,
        "end": "completed",
        **fields,
    }


@pytest.mark.parametrize("program", [*AGENTS, *LIBRARIES], ids=lambda each: each.name)
def test_every_program_has_a_pinned_version(program: Any) -> None:
    packages = {"node": NODE, "go": GO, **PYTHON}[program.installs]
    assert Installation(Path(), Path(), packages).version(program.package)


def test_every_script_is_a_library_s_or_shared() -> None:
    names = {path.name for path in SCRIPTS.iterdir() if path.is_file()}
    own = {library.script for library in LIBRARIES}
    assert own <= names
    shared = {name for name in names - own if "shared" not in name}
    assert shared == {"cases.py", "cases.mjs", "vercel.mjs"}


def test_a_bill_sums_what_was_completed_and_looks_at_what_was_left() -> None:
    entries = [
        entry("a"),
        entry("b", status=500, end="error"),
        entry("b"),
        entry("c", end="client_closed", tokens_sent=1_000),
    ]
    full_nanos = 100 * 333 + 10 * 1_777
    bill = bill_of({"a": full_nanos, "b": full_nanos, "c": 40_000}, entries)
    assert bill.agrees
    assert (bill.requests, bill.charged_nanos, bill.left) == (3, 2 * full_nanos, 1)
    assert not bill_of({"a": full_nanos - 1}, entries[:1]).agrees
    assert bill_of({"c": 10**9}, entries[3:]).left == 0, "more than the upstream has sent"
    assert not bill_of({"a": full_nanos, "unseen": 1}, entries[:1]).agrees


def agent(*tasks: Task, no_credit: tuple[int, ...] = (402,)) -> AgentResult:
    """Return what an agent did."""
    refusals = Refusal(list(no_credit), ""), Refusal([401], "")
    return AgentResult("Agent", "1.0", "Messages", list(tasks), *refusals)


def test_the_tables_show_figures_and_what_failed() -> None:
    run = LibraryRun("Messages", {"chat": "", "stream": "ValueError: no end"}, WRONG)
    text = table.render(
        [
            agent(Task("Responses", FINE, [], ""), Task("Messages", FINE, ["no answer"], "")),
            LibraryResult("Library", "2.0", "chat completions", [run]),
            NotRun("Go", "chat completions", "a Go toolchain is needed"),
        ]
    )
    lines = text.splitlines()
    row = "| Agent 1.0 | Messages | Responses | done | 2 | 10 | 5 | $0.000001234 |"
    assert row in lines
    assert "| Agent | 402, 1 request | 401, 1 request |  |" in lines
    assert "| Library 2.0 | chat completions |  | 1/1 | 0/1 |" in text
    assert "- Go (chat completions): a Go toolchain is needed" in lines
    assert lines[lines.index("Failed:") + 2 :] == [
        "- Agent over Messages: no answer",
        "- Library, chat completions, over Messages: stream: ValueError: no end",
        "- Library, chat completions, over Messages: charged 1235 nanos, the journal says 1234",
    ]


def test_an_agent_that_is_not_refused_has_failed() -> None:
    assert list(agent(no_credit=(200,)).problems())
    assert list(agent(no_credit=()).problems())
    assert not list(agent().problems())
    assert not list(agent(no_credit=(402, 402)).problems())
    assert list(replace(agent(no_credit=(402, 402)), gives_up=True).problems())


def test_the_tables_replace_those_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "clients.md"
    page.write_text(f"Before.\n\n{table.BEGIN}\nold\n{table.END}\n\nAfter.\n")
    table.write("new\n", page)
    table.write("newer\n", page)
    assert page.read_text() == (f"Before.\n\n{table.BEGIN}\n\nnewer\n\n{table.END}\n\nAfter.\n")
    page.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        table.write("new\n", page)
