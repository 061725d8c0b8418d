"""`llm`, the command line: its models are configured in a file, as its documentation says."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cases import (
    ADD,
    CITY,
    CITY_SCHEMA,
    KEY,
    MODEL,
    SEVEN_TOKENS,
    SUM,
    URL,
    WRONG_KEY,
    case,
    check,
    main,
)

PROGRAM = str(Path(sys.executable).with_name("llm"))
FOLDER = Path.home() / "llm"
TOOL = '''
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b
'''
FOLDER.mkdir(exist_ok=True)
FOLDER.joinpath("extra-openai-models.yaml").write_text(
    "\n".join(
        (
            f"- model_id: {MODEL}",
            f"  model_name: {MODEL}",
            f"  api_base: {URL}/v1",
            "  api_key_name: tollgate",
            "  supports_tools: true",
            "  supports_schema: true",
        )
    )
)


def llm(*arguments):
    """Run the program and return its exit code and what it prints."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        env=os.environ | {"LLM_USER_PATH": str(FOLDER)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def ask(prompt, *options, key=KEY):
    """Ask the model."""
    return llm("-m", MODEL, "--key", key, *options, prompt)


@case
def chat():
    code, text = ask(SEVEN_TOKENS, "--no-stream")
    check(code == 0 and len(text.split()) == 7, text)


@case
def stream():
    code, text = ask(SEVEN_TOKENS)
    check(code == 0 and len(text.split()) == 7, text)


@case
def tools():
    code, text = ask(ADD, "--functions", TOOL)
    check(code == 0 and text.strip() == SUM, text)


@case
def schema():
    code, text = ask(CITY, "--schema", json.dumps(CITY_SCHEMA))
    check(code == 0 and set(json.loads(text)) == {"name", "population"}, text)


@case
def error():
    code, text = ask("Hello!", key=WRONG_KEY)
    check(code != 0 and "Invalid API key" in text, text)


main()
