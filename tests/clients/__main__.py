"""Runs the pinned real programs against a stack of ours, and writes the tables of what they did.

`make clients` runs all of them and writes `platform/docs/clients.md`. With the beginnings of names
or of scripts (`make clients ARGS="Codex openai_"`) it runs those and only prints their tables.
What each program printed stays in the folder `runs` beside the programs.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.clients import table
from tests.clients.agents import AGENTS, Agent, AgentRunner
from tests.clients.installs import FOLDER, NotInstalledError, install
from tests.clients.libraries import LIBRARIES, Library, run_library
from tests.clients.results import NotRun, Result
from tests.clients.service import ClientsService

RUNS = FOLDER / "runs"


def main(names: list[str]) -> int:
    """Run the programs; return 1 where one of them failed, 2 where no name fits."""
    chosen = [each for each in (*AGENTS, *LIBRARIES) if _is_chosen(each, names)]
    if not chosen:
        print(f"no program begins with {' or '.join(names)}", file=sys.stderr)
        return 2
    shutil.rmtree(RUNS, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix="clients-") as folder,
        ClientsService(Path(folder)) as service,
    ):
        results = list(_results(chosen, service))
        service.stack.check_ledger()
    text = table.render(results)
    print(text)
    if not names:
        table.write(text)
    return int(any(problem for result in results for problem in result.problems()))


def _is_chosen(program: Agent | Library, names: list[str]) -> bool:
    own = (program.name, program.script) if isinstance(program, Library) else (program.name,)
    return not names or any(each.startswith(tuple(names)) for each in own)


def _results(chosen: list[Agent | Library], service: ClientsService) -> Iterator[Result]:
    """Yield what each program came to, and tell of its progress."""
    for program in chosen:
        print(f"{program.name} ({program.speaks}) ...", file=sys.stderr, flush=True)
        try:
            result = _run(program, service)
        except NotInstalledError as error:
            result = NotRun(program.name, program.speaks, str(error))
        for problem in result.problems():
            print(f"  {problem}", file=sys.stderr, flush=True)
        yield result


def _run(program: Agent | Library, service: ClientsService) -> Result:
    installation = install(program.installs)
    if isinstance(program, Library):
        return run_library(program, service, installation, RUNS)
    return AgentRunner(program, service, installation, RUNS).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
