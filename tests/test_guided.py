"""The guided engine: legal descendants, the same ones each time, in each mode and process."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from fuzz.choices import empty_choices, fill
from fuzz.guided import mutations
from fuzz.guided.breeding import RANDOM, WAYS
from fuzz.guided.corpus import ORIGIN, USED, Corpus, restore
from fuzz.guided.engine import MOST_TOLD, SHARES, Guided
from fuzz.guided.loop import NR_SHARES
from fuzz.guided.splice import splice
from fuzz.hunter import RED, Hunter
from harness.arrays import case_of
from harness.case import ARCHES, CaseError
from harness.casefile import case_line, parse_case
from harness.run import judge_case
from harness.targets import load
from mm.jit import ROOT

from .guided_stream import stream_line

CASES = 60
HITS = Corpus._fields.index("hits")


def guided(arch: str = "x86_64", target: str = "batched", **options: Any) -> Guided:
    return Guided(load(target, arch), "7.3", **{"seed": 3, "window": 16, "grown": 20, **options})


@pytest.fixture(scope="module", params=ARCHES)
def full(request: pytest.FixtureRequest) -> Guided:
    """A hunter that has run some cases."""
    hunter = guided(request.param)
    with np.errstate(over="ignore"):
        assert list(hunter.finds(0, CASES)) == []
    assert hunter.corpus.sums[USED] > CASES // 3
    return hunter


# Each mutation: a call with (words, arch, flips, dice, corpus, donor, state).
MUTATIONS: dict[str, Callable[..., None]] = {
    "move_range": lambda w, a, f, d, c, o, s: mutations.move_range(d, s),
    "shift_folio": lambda w, a, f, d, c, o, s: mutations.shift_folio(w, d, s),
    "flip_exclusive": lambda w, a, f, d, c, o, s: mutations.flip_exclusive(w, d, s),
    "split_run": lambda w, a, f, d, c, o, s: mutations.split_run(w, d, s),
    "join_runs": lambda w, a, f, d, c, o, s: mutations.join_runs(w, d, s),
    "change_bit": lambda w, a, f, d, c, o, s: mutations.change_bit(w, d, s, f),
    "change_call": lambda w, a, f, d, c, o, s: mutations.change_call(d, c, o, s),
    "change_facts": lambda w, a, f, d, c, o, s: mutations.change_facts(w, d, c, o, s),
    "change_walker": lambda w, a, f, d, c, o, s: mutations.change_walker(a, d, s),
    "copy_entries": lambda w, a, f, d, c, o, s: mutations.copy_entries(w, d, c, o, s),
    "odd_entry": lambda w, a, f, d, c, o, s: mutations.odd_entry(w, a, d, s),
    "splice": lambda w, a, f, d, c, o, s: splice(w, a, d, c, o, s),
    "mutate": mutations.mutate_some,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_changes_cases_and_keeps_them_legal(full: Guided, name: str) -> None:
    module = import_module(f"fuzz.guided.{full.arch}")
    generator = getattr(module, full.arch.upper())
    state, corpus = full.workspace.case, full.corpus
    changed = 0
    with np.errstate(over="ignore"):
        for index in range(12):
            dice = empty_choices()
            fill(dice, np.uint64(9), np.uint64(index))
            parent, donor = index % corpus.sums[USED], (7 * index + 3) % corpus.sums[USED]
            restore(corpus, parent, state)
            before = case_of(state, full.arch, full.kernel)
            MUTATIONS[name](module.WORDS, generator, module.FLIPS, dice, corpus, donor, state)
            after = case_of(state, full.arch, full.kernel)
            assert after.check() is None
            changed += after != before
    assert changed >= 1


def test_every_case_in_a_corpus_is_legal_and_agrees(full: Guided) -> None:
    cases = full.export()
    assert len(cases) == full.counts()["corpus"]
    for case in cases[::4]:
        assert case.check() is None
        assert not judge_case(case, full.target).union & RED


def test_all_ways_are_gone(full: Guided) -> None:
    """And random cases are the random ones of the same number."""
    assert sum(SHARES.values()) <= NR_SHARES // 4 * 3
    seen = set()
    random = Hunter(full.target, full.kernel, full.seed, window=full.window)
    with np.errstate(over="ignore"):
        for index in range(CASES, CASES + 140):
            full.make(index)
            way = int(full.corpus.sums[ORIGIN])
            if way == RANDOM and RANDOM not in seen:
                random.make(index)
                states = full.workspace.case, random.workspace.case
                ours, theirs = (case_of(state, full.arch, full.kernel) for state in states)
                assert ours == theirs
            seen.add(way)
    assert seen == {RANDOM, *range(len(WAYS))}


def test_a_range_is_the_same_whatever_ran_before() -> None:
    one, other = guided(), guided()
    with np.errstate(over="ignore"):
        list(other.finds(500, 510))
    other.tally[:] = 0
    assert stream_line(one, 40) == stream_line(other, 40)
    other.tally[:] = 0
    other.seed = 4
    assert stream_line(one, 40) != stream_line(other, 40)


def test_both_modes_keep_and_find_the_same() -> None:
    command = [sys.executable, "-m", "tests.guided_stream", "x86_64", "300"]
    lines = []
    for mode in ("compiled", "interpreted"):
        environment = {**os.environ, "MIDFOLIO_MODE": mode}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout)
    assert lines[0] == lines[1]


def test_a_finding_replays_by_its_case() -> None:
    hunter = guided(target="zoo:first-page-is-folio-head", cap=20, window=0)
    numbers = set()
    with np.errstate(over="ignore"):
        for index in hunter.finds(0, 150):
            found = hunter.found(index)
            again = judge_case(found.judgement.case, hunter.target)
            assert again.union & RED
            assert case_line(again.case) == case_line(found.judgement.case)
            numbers.add(found.number is None)
    assert numbers == {True, False}


def test_a_loaded_corpus_begins_each_range(full: Guided) -> None:
    entries = [full._entry(slot) for slot in range(full.counts()["corpus"])]
    hunter = guided(full.arch)
    hunter.grown = 0
    hunter.load(entries)
    hunter.start()
    counts = hunter.counts()
    assert 0 < counts["corpus"] <= len(entries)
    # They can be bred as before.
    words = {entry.text: entry.words.tolist() for entry in entries}
    again = [hunter._entry(slot) for slot in range(counts["corpus"])]
    assert all(words[entry.text] == entry.words.tolist() for entry in again)
    assert sum(len(entry.words) > 0 for entry in again) > len(again) // 2
    # Every feature of the corpus that does not depend on how often it was seen is there again.
    assert counts["features"] >= full.counts()["features"] * 9 // 10
    hunter.start()
    assert hunter.counts() == counts
    other = next(arch for arch in ARCHES if arch != full.arch)
    with pytest.raises(CaseError, match="takes no case of"):
        guided(other).load(entries)


def test_a_range_tells_of_its_rarest_once() -> None:
    hunter = guided()
    told: set[int] = set()
    with np.errstate(over="ignore"):
        for first in (0, 40, 0):
            list(hunter.finds(first, first + 40))
            entries, features = hunter.growth()
            new = {int(feature) for entry in entries for feature in entry.features}
            assert len(new) == len(entries) <= MOST_TOLD
            assert new <= set(features.tolist())
            assert not told & set(features.tolist())
            told |= set(features.tolist())
            assert all(not hunter.beginning[HITS][feature] for feature in new)
            assert all(parse_case(entry.text).case.check() is None for entry in entries)
    # The third was the first again.
    assert told
    assert not entries


def test_another_process_begins_with_the_same_corpus() -> None:
    one, other = guided(), guided(grown=0)
    one.start()
    other.begin_as(one)
    with np.errstate(over="ignore"):
        assert stream_line(other, 20) == stream_line(one, 20)


def test_a_corpus_is_grown_without_the_target() -> None:
    corpora = []
    for target in ("batched", "zoo:flush-always"):
        hunter = guided(target=target)
        hunter.start()
        assert hunter.counts()["corpus"] > 0
        assert not hunter.tally.any()
        corpora.append(hunter.export())
    assert corpora[0] == corpora[1]
