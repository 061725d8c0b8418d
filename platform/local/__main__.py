"""The launcher's commands: `python -m local run | test | with-services`."""

import os
import signal
import sys

from local import launch, run, testing
from local.errors import LocalError

USAGE = """\
usage: python -m local run                         servers, demo, web, worker until Ctrl-C
       python -m local test [PYTEST ARGUMENT ...]  the tests, beside servers of their own
       python -m local with-services -- COMMAND [ARGUMENT ...]

run reads PORT (8000), LOCAL_DIR (.local), CATALOGUE (default), WEB_CONCURRENCY (2) and, to use
other servers than the embedded ones, DATABASE_URL and REDIS_URL."""


def main(words: list[str]) -> int:
    """Run the command that the words say; return the exit code (2 for words it cannot read)."""
    # `make` cannot pass on that it was killed; a person's shell shall not take the run with it.
    if os.environ.pop("FOLLOW_PARENT", ""):
        launch.end_with_parent(signal.SIGTERM)
    try:
        match words:
            case ["run"]:
                return run.main()
            case ["test", *arguments]:
                return testing.test(arguments)
            case ["with-services", "--", *command] if command:
                return testing.with_services(command)
    except LocalError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
