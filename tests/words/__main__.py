"""`python -m tests.words`: print each refused word with its place; exit with 1 if there is one."""

import sys

from tests.words import check


def main() -> int:
    """Check every file with texts for readers."""
    found = check.all_findings()
    for finding in found:
        print(finding)
    print(f"{len(found)} refused words")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
