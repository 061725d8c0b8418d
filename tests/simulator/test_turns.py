"""Scripted agent turns, laid down in the prompt or under a name, in every dialect."""

import json

import pytest

PLAN = [
    {
        "text": "I look.",
        "calls": [
            {"name": "read", "input": {"path": "a.txt"}},
            {"name": "read", "input": {"path": "b.txt"}},
        ],
    },
    {"reasoning": "Hm.", "calls": [{"name": "edit", "input": {"text": "ünï"}}]},
    {"text": "Done."},
]


class Chat:
    """An agent that speaks chat completions."""

    path, headers = "/v1/chat/completions", {}

    def __init__(self, prompt):
        self.history = [{"role": "user", "content": prompt}]

    def body(self, names):
        tools = [{"type": "function", "function": {"name": name}} for name in names]
        return {"messages": self.history, "tools": tools}

    def take(self, body):
        message = body["choices"][0]["message"]
        self.history.append(message)
        calls = message.get("tool_calls") or []
        self.history += [
            {"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls
        ]
        made = [
            (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ]
        return message["content"] or "", made


class Messages:
    """An agent that speaks Messages."""

    path, headers = "/v1/messages", {"anthropic-version": "2023-06-01"}

    def __init__(self, prompt):
        self.history = [{"role": "user", "content": prompt}]

    def body(self, names):
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
        return {"max_tokens": 999, "messages": self.history, "tools": tools}

    def take(self, body):
        self.history.append({"role": "assistant", "content": body["content"]})
        calls = [block for block in body["content"] if block["type"] == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls
        ]
        self.history += [{"role": "user", "content": results}] if results else []
        text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
        return text, [(call["name"], call["input"]) for call in calls]


class Responses:
    """An agent that speaks Responses."""

    path, headers = "/v1/responses", {}

    def __init__(self, prompt):
        self.history = [{"role": "user", "content": [{"type": "input_text", "text": prompt}]}]

    def body(self, names):
        return {
            "input": self.history,
            "tools": [{"type": "function", "name": name} for name in names],
        }

    def take(self, body):
        self.history += body["output"]
        calls = [item for item in body["output"] if item["type"] == "function_call"]
        self.history += [
            {"type": "function_call_output", "call_id": call["call_id"], "output": "ok"}
            for call in calls
        ]
        parts = [part for item in body["output"] for part in item.get("content", [])]
        made = [(call["name"], json.loads(call["arguments"])) for call in calls]
        return "".join(part["text"] for part in parts), made


def in_prompt(**script):
    return f"Please! <simulate>{json.dumps(script)}</simulate> Thanks."


def ask(sim, agent, script="", names=("read", "edit")):
    answer = sim.post(
        agent.path, {"model": "sim"} | agent.body(names), script, headers=agent.headers
    )
    assert answer.status == 200, answer.body
    return agent.take(answer.json)


def walk(sim, agent, script=""):
    """Let the agent work until it calls nothing more; return what it was told."""
    told = [ask(sim, agent, script)]
    while told[-1][1]:
        assert len(told) < 9
        told.append(ask(sim, agent, script))
    return told


WALKED = [
    ("I look.", [("read", {"path": "a.txt"}), ("read", {"path": "b.txt"})]),
    ("", [("edit", {"text": "ünï"})]),
    ("Done.", []),
]
dialects = pytest.mark.parametrize("dialect", [Chat, Messages, Responses])


@dialects
def test_a_plan_in_the_prompt_is_walked_through(sim, dialect):
    assert walk(sim, dialect(in_prompt(turns=PLAN))) == WALKED


@dialects
def test_a_plan_may_be_laid_down_under_a_name(sim, dialect):
    assert sim.call("PUT", "/turns/edit-it", json.dumps(PLAN).encode()).json == {"turns": 3}

    assert walk(sim, dialect("Please!"), "turns=edit-it") == WALKED
    assert walk(sim, dialect(in_prompt(turns="edit-it"))) == WALKED
    assert walk(sim, dialect("<simulate>turns=edit-it</simulate>")) == WALKED
    sim.call("DELETE", "/journal", b"")
    gone = sim.chat("turns=edit-it")
    assert (gone.status, gone.error["param"]) == (400, "turns")


@pytest.mark.parametrize(
    "plan", ["[]", "{}", "[", '[{"say": "x"}]', '[{"calls": [{"input": {}}]}]', '[{"text": 1}]']
)
def test_a_malformed_plan_is_refused(sim, plan):
    assert sim.call("PUT", "/turns/bad", plan.encode()).error["param"] == "turns"
    if plan != "[":
        body = in_prompt(turns=json.loads(plan))
        answer = sim.chat(messages=[{"role": "user", "content": body}])
        assert (answer.status, answer.error["param"]) == (400, "turns")


@dialects
def test_every_call_of_a_conversation_has_its_own_id(sim, dialect):
    agent = dialect(in_prompt(turns=PLAN))
    walk(sim, agent)
    said = json.dumps(agent.history)

    ids = [f"{mark}_sim0000{rest}" for mark in ("call", "toolu") for rest in ("", "_1", "_2")]
    assert sum(f'"{each}"' in said for each in ids) == 3


@dialects
def test_calls_beside_the_conversation_are_answered_in_words(sim, dialect):
    """Agents ask for titles and summaries with the same prompt, but without tools."""
    text, calls = ask(sim, dialect(in_prompt(turns=PLAN)), names=())

    assert (text[:4], calls) == ("sun ", [])


@dialects
def test_the_newest_plan_holds_and_counts_from_where_it_stands(sim, dialect):
    agent = dialect(in_prompt(turns=PLAN))
    walk(sim, agent)
    agent.history.append({"role": "user", "content": in_prompt(turns=PLAN[1:])})

    assert walk(sim, agent) == WALKED[1:]


def test_a_script_in_the_prompt_holds_over_the_others(sim):
    def tokens(prompt, script="tokens=3"):
        messages = [{"role": "user", "content": prompt}]
        return sim.chat(script, messages=messages).json["usage"]["completion_tokens"]

    assert tokens("x") == 3
    assert tokens("<simulate>tokens=5</simulate>") == 5
    assert tokens('<simulate>{"tokens": 6}</simulate> <simulate>tokens=7</simulate>') == 7
    assert tokens("<simulate>tokens=5") == 3
    assert sim.entry()["script"] == "tokens=3"
    bad = sim.chat(messages=[{"role": "user", "content": "<simulate>tokens=x</simulate>"}])
    assert (bad.status, bad.error["param"]) == (400, "tokens")


def test_what_tools_and_the_model_said_is_no_script(sim):
    script = "<simulate>tokens=5</simulate>"
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": script, "tool_calls": [{"id": "a"}]},
        {"role": "tool", "tool_call_id": "a", "content": script},
    ]

    assert sim.chat(messages=messages).json["usage"]["completion_tokens"] == 16


def test_a_turns_reasoning_and_text_are_counted(sim):
    agent = Messages(in_prompt(turns=[{"reasoning": "12345678", "text": "123456789"}]))
    answer = sim.post(agent.path, {"model": "sim"} | agent.body(()), headers=agent.headers).json

    assert answer["content"][0]["thinking"] == "12345678"
    assert answer["usage"]["output_tokens"] == 5
    assert answer["usage"]["output_tokens_details"] == {"thinking_tokens": 2}
