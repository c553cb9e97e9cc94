"""Print a hash over what a guided campaign keeps and finds; run by test_guided in each mode.

Usage: guided_stream.py ARCH CASES
"""

import hashlib
import sys

import numpy as np

from fuzz.guided.engine import Guided
from harness.casefile import case_line
from harness.targets import load


def main() -> None:
    """One line: what is in the corpus after so many cases, the counts, and the hash."""
    arch, cases = sys.argv[1], int(sys.argv[2])
    print(stream_line(Guided(load("batched", arch), "7.3", seed=20, window=16, grown=100), cases))


def stream_line(guided: Guided, cases: int) -> str:
    """What a range of `cases` cases leaves in the corpus and the tally."""
    digest = hashlib.sha256()
    with np.errstate(over="ignore"):
        found = list(guided.finds(0, cases))
    for case in guided.export():
        digest.update(case_line(case).encode())
    corpus = guided.corpus
    for array in (corpus.meta, corpus.hits, corpus.sums, guided.tally, guided.seen):
        digest.update(array.tobytes())
    return f"{guided.counts()} {found} {digest.hexdigest()}"


if __name__ == "__main__":
    main()
