"""Print what `mutmut run` found: the share of killed mutants, and each survivor as a diff."""

import subprocess
import sys
from collections import Counter

BOUND = 0.9
"""Share of the mutants that the tests must notice."""


def main() -> int:
    """Print the survivors and the share of killed mutants; return 1 if that is below the bound."""
    states = dict(results())
    counts = Counter(states.values())
    for name, state in states.items():
        if state in ("survived", "no tests"):
            print(f"== {state}", mutmut("show", name), sep="\n")
    noticed = counts["killed"] + counts["timeout"] + counts["caught by type check"]
    share = noticed / max(1, len(states))
    print(f"{noticed} of {len(states)} mutants were noticed ({share:.1%}); {dict(counts)}")
    return share < BOUND


def results() -> list[tuple[str, str]]:
    """Return each mutant's name and state."""
    pairs = (
        line.strip().rpartition(": ") for line in mutmut("results", "--all", "true").splitlines()
    )
    return [(name, state) for name, _, state in pairs if name]


def mutmut(*arguments: str) -> str:
    """Return what mutmut prints."""
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
