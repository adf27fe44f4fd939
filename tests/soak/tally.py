"""What was provoked, how often, and what happened."""

from collections import Counter
from threading import Lock


class Tally:
    """Counts outcomes; a violation is one that the suite promises not to have."""

    def __init__(self):
        self.violations = []
        self._counts = Counter()
        self._lock = Lock()

    def add(self, provoked, outcome):
        with self._lock:
            self._counts[provoked, outcome] += 1

    def violate(self, provoked, what):
        self.add(provoked, "VIOLATION")
        with self._lock:
            self.violations.append(f"{provoked}: {what}")
        print(f"VIOLATION  {provoked}: {what}", flush=True)

    def judge(self, provoked, outcome, wrong):
        """Counts `outcome`, or a violation if something is `wrong`."""
        if wrong:
            self.violate(provoked, wrong)
        else:
            self.add(provoked, outcome)

    def count(self, start):
        """Returns how many things were provoked whose name begins with `start`."""
        return sum(number for (provoked, _), number in self._counts.items() if provoked.startswith(start))

    def table(self):
        """Returns the counts as lines of Markdown."""
        lines = [
            f"| {provoked} | {number:,} | {outcome} |" for (provoked, outcome), number in sorted(self._counts.items())
        ]
        return "\n".join(["| provoked | times | what happened |", "|---|---:|---|", *lines])
