# SPDX-License-Identifier: GPL-2.0-or-later
"""What has become of the lab tests, kept in a file that outlives the emulated host.

One line a happening: "begin TEST", "end OUTCOME TEST", "broken TEST". conftest.py
writes the first two inside the host, tests/lab/run the third outside.
"""

import collections
import os

BROKEN_LIMIT = 2  # a test under which so many hosts broke down is not tried again


class Progress:
    """The file in a folder; each call reads or adds to it."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "progress")

    def _add(self, line):
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(line + "\n")
            f.flush()
            os.fsync(f.fileno())

    def _lines(self):
        try:
            with open(self.path, encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def note_begin(self, test):
        self._add(f"begin {test}")

    def note_end(self, test, outcome):
        """outcome: passed, failed or skipped."""
        self._add(f"end {outcome} {test}")

    def note_breakdown(self, test):
        """The host broke down; test is what ran, or None between tests."""
        if test:
            self._add(f"broken {test}")

    def unfinished(self):
        """The test that began last and did not end, or None."""
        running = None
        for line in self._lines():
            word, _, rest = line.partition(" ")
            running = rest if word == "begin" else None
        return running

    def finished(self):
        """Tests that need not run (again), each with its outcome."""
        outcomes = {}
        for line in self._lines():
            word, _, rest = line.partition(" ")
            if word == "end":
                outcome, _, test = rest.partition(" ")
                outcomes[test] = outcome
        outcomes.update((test, "failed") for test, times in self.breakdowns().items()
                        if times >= BROKEN_LIMIT and test not in outcomes)
        return outcomes

    def breakdowns(self):
        """How many hosts broke down under a test."""
        return collections.Counter(line.partition(" ")[2] for line in self._lines() if line.startswith("broken "))

    def totals(self):
        """How many passed, failed and were skipped."""
        counts = collections.Counter(self.finished().values())
        return counts["passed"], counts["failed"], counts["skipped"]
