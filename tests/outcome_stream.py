"""Print a hash over what both sides and all judges make of cases; run by test_modes in each mode.

Usage: outcome_stream.py FIRST LAST: random cases [FIRST, LAST) in windows of 4
entries, and, if FIRST is 0, every case file of the corpus.
"""

import hashlib
import sys

import numpy as np

from fuzz.choices import WINDOW
from fuzz.hunter import Hunter
from fuzz.sources import sources
from harness.judge import JUDGE
from harness.relation import REFERENCE
from harness.run import judge_case
from harness.targets import load
from harness.workspace import set_up
from mm.jit import ROOT
from mm.state import NR_FLUSHES, NR_STAMPS

WINDOW_ENTRIES = 4


def main() -> None:
    """Print the hash and how much went into it."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    digest = hashlib.sha256()
    files = 0
    if first == 0:
        for source in sources((str(ROOT / "corpus"),)):
            judgement = judge_case(source.case, load("batched", source.case.arch))
            digest.update(repr((judgement.ours, judgement.theirs, judgement.found)).encode())
            files += 1
    hunter = Hunter(load("batched", "x86_64"), "7.3", seed=20, window=WINDOW_ENTRIES)
    hunter.choices[WINDOW] = WINDOW_ENTRIES
    workspace = hunter.workspace

    with np.errstate(over="ignore"):
        for index in range(first, last):
            wild = hunter.generate(hunter.choices, workspace.case, np.uint64(20), np.uint64(index))
            set_up(workspace)
            ours = REFERENCE["x86_64"][0](workspace.ours)
            theirs = hunter.target.function(workspace.theirs)
            union = JUDGE["x86_64"](workspace, ours, theirs, wild == 0, 0)
            digest.update(f"{int(wild)} {int(ours)} {int(theirs)} {int(union)}".encode())
            for state in (workspace.ours, workspace.theirs):
                digest.update(state.ptes[:WINDOW_ENTRIES].tobytes())
                digest.update(state.counts.tobytes())
                digest.update(state.flushes[: state.counts[NR_FLUSHES]].tobytes())
                digest.update(state.stamps[: state.counts[NR_STAMPS]].tobytes())
            digest.update(workspace.found[:WINDOW_ENTRIES].tobytes())
            digest.update(
                workspace.merged[:WINDOW_ENTRIES][workspace.changed[:WINDOW_ENTRIES] != 0].tobytes()
            )
    print(digest.hexdigest(), files, last - first)


if __name__ == "__main__":
    main()
