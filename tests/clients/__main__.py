"""Runs the pinned real programs against a stack of ours, and writes the table of what they did.

`make clients` runs all of them; `make clients ARGS="Codex openai"` those whose names begin so,
without writing the table.
"""

import sys
import tempfile
from pathlib import Path

from tests.clients.agents import AGENTS, AgentRunner
from tests.clients.installs import FOLDER, install
from tests.clients.libraries import LIBRARIES, run_library
from tests.clients.service import ClientsService


def main(names: list[str]) -> int:
    """Run the programs; return 1 where one of them failed."""
    box = FOLDER / "runs"
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        with ClientsService(Path(folder) / "stack") as service:
            for agent in AGENTS:
                if names and not agent.name.startswith(tuple(names)):
                    continue
                print(AgentRunner(agent, service, install(agent.installs), box).run(), flush=True)
            for library in LIBRARIES:
                if names and not library.script.startswith(tuple(names)):
                    continue
                for result in run_library(library, service, install(library.installs), box):
                    bad = {k: v for k, v in result.cases.items() if v}
                    print(library.script, result.upstream, list(result.cases), bad, result.bill, flush=True)
            service.stack.check_ledger()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
