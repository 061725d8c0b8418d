"""Runs the pinned real programs against a stack of ours, and writes the table of what they did.

`make clients` runs all of them; `make clients ARGS="Codex openai"` those whose names begin so,
without writing the table.
"""

import sys
import tempfile
from pathlib import Path

from tests.clients.agents import AGENTS, AgentRunner
from tests.clients.installs import FOLDER, install
from tests.clients.service import ClientsService


def main(names: list[str]) -> int:
    """Run the programs; return 1 where one of them failed."""
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        with ClientsService(Path(folder) / "stack") as service:
            for agent in AGENTS:
                if names and not agent.name.startswith(tuple(names)):
                    continue
                box = FOLDER / "runs"
                result = AgentRunner(agent, service, install(agent.installs), box).run()
                print(result)
            service.stack.check_ledger()
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
