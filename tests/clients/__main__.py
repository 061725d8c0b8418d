"""Runs the pinned real programs against a stack of ours, and writes the tables of what they did.

`make clients` runs all of them. With the beginnings of names or of scripts
(`make clients ARGS="Codex openai_"`) it runs those. Either writes `platform/docs/clients.md`, from
the newest run of each program: the results are kept in the folder `results` beside the programs,
and what each program printed in the folder `runs`.
"""

import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.clients import table
from tests.clients.agent_runner import Agent, AgentRunner
from tests.clients.agents import AGENTS
from tests.clients.installs import FOLDER, NotInstalledError, install
from tests.clients.libraries import LIBRARIES, Library, run_library
from tests.clients.results import NotRun, Result
from tests.clients.service import ClientsService

RUNS = FOLDER / "runs"
RESULTS = FOLDER / "results"


def main(names: list[str]) -> int:
    """Run the programs; return 1 where one of them failed, 2 where no name fits."""
    chosen = [each for each in (*AGENTS, *LIBRARIES) if _is_chosen(each, names)]
    if not chosen:
        print(f"no program begins with {' or '.join(names)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="clients-") as folder,
        ClientsService(Path(folder)) as service,
    ):
        failed = [_keep(program, _run(program, service)) for program in chosen]
    text = table.render(_kept())
    table.write(text)
    print(text)
    return int(any(failed))


def _is_chosen(program: Agent | Library, names: list[str]) -> bool:
    own = (program.name, program.script) if isinstance(program, Library) else (program.name,)
    return not names or any(each.startswith(tuple(names)) for each in own)


def _run(program: Agent | Library, service: ClientsService) -> Result:
    """Return what a program came to; fail where the books are not in order after it."""
    print(f"{program.name} ({program.speaks}) ...", file=sys.stderr, flush=True)
    box = RUNS / _file_name(program)
    shutil.rmtree(box, ignore_errors=True)
    try:
        installation = install(program.installs)
        if isinstance(program, Library):
            result: Result = run_library(program, service, installation, box)
        else:
            result = AgentRunner(program, service, installation, box).run()
    except NotInstalledError as error:
        return NotRun(program.name, program.speaks, str(error))
    service.stack.check_ledger()
    return result


def _keep(program: Agent | Library, result: Result) -> bool:
    """Keep a result for the tables; return whether the program failed."""
    problems = list(result.problems())
    for problem in problems:
        print(f"  {problem}", file=sys.stderr, flush=True)
    _file_of(program).write_bytes(pickle.dumps(result))
    return bool(problems)


def _kept() -> Iterator[Result]:
    """Yield the newest result of each program, in the registry's order."""
    for program in (*AGENTS, *LIBRARIES):
        if _file_of(program).exists():
            yield pickle.loads(_file_of(program).read_bytes())


def _file_of(program: Agent | Library) -> Path:
    return RESULTS / f"{_file_name(program)}.pickle"


def _file_name(program: Agent | Library) -> str:
    return f"{program.name}-{program.speaks}".replace(" ", "-").replace(",", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
