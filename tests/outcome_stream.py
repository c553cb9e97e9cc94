"""Print hashes over what both sides and all judges make of cases; run by test_modes in each mode.

Usage: outcome_stream.py ARCH FIRST LAST: a line for each 500 of the random cases
[FIRST, LAST), in the smallest windows, and, if FIRST is 0, one for every case file of
the corpus for that architecture.
"""

import hashlib
import sys

import numpy as np

from fuzz.hunter import Hunter
from fuzz.sources import sources
from harness.case import layout_of
from harness.features import MAX_FEATURES, finder_of
from harness.run import judge_case
from harness.targets import load
from harness.workspace import set_up
from mm.jit import ROOT
from mm.state import NR_FLUSHES, NR_STAMPS

CASES_PER_LINE = 500
# Features of every so-many-th case are hashed.
FEATURES_EVERY = 10


def main() -> None:
    """Print a line for each part of what was asked for."""
    arch, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if first == 0:
        print(corpus_line(arch))
    for start in range(first, last, CASES_PER_LINE):
        end = min(start + CASES_PER_LINE, last)
        print(f"cases {start} {end} {random_hash(arch, start, end)}")


def corpus_line(arch: str) -> str:
    """How many case files of the corpus there are, and a hash over their judgements."""
    digest, files = hashlib.sha256(), 0
    for source in sources((str(ROOT / "corpus"),)):
        if source.case.arch == arch:
            judgement = judge_case(source.case, load("batched", arch))
            digest.update(repr((judgement.ours, judgement.theirs, judgement.found)).encode())
            files += 1
    return f"corpus {files} {digest.hexdigest()}"


def random_hash(arch: str, first: int, last: int) -> str:
    """A hash over the words, logs, classes and features of random cases [first, last) of seed 20."""
    digest = hashlib.sha256()
    entries = max(4, layout_of(arch).block)
    hunter = Hunter(load("batched", arch), "7.3", seed=20, window=entries)
    workspace, finder = hunter.workspace, finder_of(arch)
    features = np.zeros(MAX_FEATURES, np.uint64)
    with np.errstate(over="ignore"):
        for index in range(first, last):
            wild = hunter.generate(hunter.choices, workspace.case, np.uint64(20), np.uint64(index))
            set_up(workspace)
            ours = hunter.reference(workspace.ours)
            theirs = hunter.target.function(workspace.theirs)
            union = hunter.judge(hunter.handle, ours, theirs, wild == 0, 0)
            digest.update(f"{int(wild)} {int(ours)} {int(theirs)} {int(union)}".encode())
            for state in (workspace.ours, workspace.theirs):
                digest.update(state.ptes[:entries].tobytes())
                digest.update(state.counts.tobytes())
                digest.update(state.flushes[: state.counts[NR_FLUSHES]].tobytes())
                digest.update(state.stamps[: state.counts[NR_STAMPS]].tobytes())
            digest.update(workspace.found[:entries].tobytes())
            changed = workspace.changed[:entries] != 0
            digest.update(workspace.result[:entries][changed].tobytes())
            if index % FEATURES_EVERY == 0:
                count = finder(hunter.handle, features)
                digest.update(features[:count].tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
