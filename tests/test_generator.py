"""The generator: pure, pinned, lawful, and rich enough to find anything."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.choices import (
    FIRST,
    KEY,
    MAX_CHOICES,
    WINDOW,
    content_key,
    empty_choices,
    expand,
    fill,
    given_choices,
)
from fuzz.given import generate_given
from harness.arrays import case_of
from harness.case import Call, Case, Folio, Vma
from harness.sane import broken_rules
from mm import flags
from mm import x86_64 as x86
from mm.state import empty_state, set_kernel
from mm.version import VERSIONS, Config

from .generator_stream import fresh_state, generate_into, inputs, stream_hash

ROOT = Path(__file__).resolve().parent.parent

# The stream of random cases. A change here means that every number of a case
# (arch:kernel:version:seed:index) in a bug report now names another case: raise
# GENERATOR_VERSION in fuzz/choices.py together with this hash, never alone.
PINNED_CASES = 1000
PINNED = "d7bbf7dddb53e5cb8100598839a992be11bc50f6b4fc8d96be1383f0490f9a5a"


def given_case(words: list[int], key: int = 0, window: int = 0) -> tuple[int, Case]:
    """Whether the case that `words` give was made wild, and the case."""
    state = fresh_state()
    choices = given_choices(words, key)
    choices[WINDOW] = window
    with np.errstate(over="ignore"):
        wild = int(generate_given(choices, state))
    return wild, case_of(state, "x86_64", "7.3")


@pytest.fixture(scope="module")
def cases() -> list[tuple[int, Case]]:
    state, made = fresh_state(), []
    for index in range(1500):
        wild = generate_into(state, 2, index)
        made.append((wild, case_of(state, "x86_64", "7.3")))
    return made


def test_the_stream_is_pinned():
    assert stream_hash(PINNED_CASES) == PINNED


def test_compiled_and_interpreted_streams_are_the_same():
    code = f"from tests.generator_stream import stream_hash; print(stream_hash({PINNED_CASES}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "compiled"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == PINNED


def test_a_number_is_a_case_whatever_stood_in_the_state():
    used = fresh_state()
    for index in (7, 3, 99, 3):
        for array in (used.ptes, used.hardware, used.exclusive, used.counts, used.folios):
            array.view(np.uint8)[:] = 0xA5
        fresh = fresh_state()
        assert generate_into(used, 5, index) == generate_into(fresh, 5, index)
        assert inputs(used) == inputs(fresh)
        assert not used.counts.any()


def test_seed_and_index_both_matter():
    streams = []
    for seed, index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        state = fresh_state()
        generate_into(state, seed, index)
        streams.append(inputs(state))
    assert len(set(streams)) == 4


def test_every_case_keeps_the_rules_and_says_whether_it_is_wild(cases):
    for wild, case in cases:
        assert case.check() is None
        if not wild:
            assert list(broken_rules(case)) == []


@pytest.mark.parametrize(
    ("kernel", "config"),
    [
        ("6.12", Config()),
        ("6.16", Config(soft_dirty=False)),
        ("6.18", Config(uffd_wp=False, numa_balancing=False)),
        # Folios must get out of the way of the zero page, and end with memory.
        ("7.3", Config(zero_pfn=0x1_2345, highest_memmap_pfn=0x1_2400)),
        ("7.3", Config(highest_memmap_pfn=0x3FFF)),
    ],
)
def test_version_and_configuration_are_respected(kernel, config):
    state = fresh_state(kernel, config)
    for index in range(120):
        wild = generate_into(state, 3, index)
        case = case_of(state, "x86_64", kernel)
        assert case.check() is None
        assert case.config == config
        if not wild:
            assert list(broken_rules(case)) == []
        if wild:
            continue
        if not config.soft_dirty:
            present = (word for word in case.ptes if word & int(x86.PAGE_PRESENT))
            assert not any(word & int(x86.PAGE_SOFT_DIRTY) for word in present)
        if not config.numa_balancing:
            assert not case.call.cp_flags & int(flags.MM_CP_PROT_NUMA)


def test_a_small_state_gets_small_cases():
    state = empty_state(nr_ptes=8, nr_folios=2, nr_pages=24)
    set_kernel(state.facts[0], VERSIONS["7.3"], Config())
    for index in range(100):
        generate_into(state, 4, index)
        case = case_of(state, "x86_64", "7.3")
        assert case.check() is None
        assert len(case.ptes) <= 8
        assert len(case.folios) <= 2


def share(cases, condition) -> float:
    return sum(1 for wild, case in cases if condition(wild, case)) / len(cases)


def test_windows_are_mostly_small_but_full_tables_occur(cases):
    sizes = [len(case.ptes) for _, case in cases]
    assert 32 <= sum(sizes) / len(sizes) <= 50
    assert share(cases, lambda _, case: 4 <= len(case.ptes) <= 64) > 0.7
    assert share(cases, lambda _, case: len(case.ptes) == 1) > 0.01
    assert share(cases, lambda _, case: len(case.ptes) == 512) > 0.005


def test_a_window_of_a_given_length():
    for window in (1, 64, 512):
        _, case = given_case([], content_key([window]), window)
        assert len(case.ptes) == window


def test_wild_cases_are_a_tenth_to_a_quarter(cases):
    assert 0.10 <= share(cases, lambda wild, _: wild) <= 0.25


def test_every_call_is_made(cases):
    calls = Counter(case.call.cp_flags for wild, case in cases if not wild)
    for names in (
        (),
        ("TRY_CHANGE_WRITABLE",),
        ("PROT_NUMA",),
        ("UFFD_WP",),
        ("UFFD_WP_RESOLVE",),
        ("UFFD_WP_RESOLVE", "TRY_CHANGE_WRITABLE"),
        ("UFFD_RWP",),
        ("UFFD_RWP_RESOLVE",),
        ("UFFD_RWP_RESOLVE", "TRY_CHANGE_WRITABLE"),
    ):
        cp_flags = sum(int(flags.CP_FLAGS[name]) for name in names)
        assert calls[cp_flags] >= 0.005 * len(cases), names


def test_ranges_end_inside_the_window_and_may_be_one_entry(cases):
    whole = share(cases, lambda _, case: case.call.end - case.call.start == len(case.ptes))
    assert 0.3 < whole < 0.7
    assert share(cases, lambda _, case: case.call.end - case.call.start == 1) > 0.08


def folio_of(case: Case, pfn: int) -> Folio | None:
    for folio in case.folios:
        if folio.pfn <= pfn < folio.pfn + folio.nr_pages:
            return folio
    return None


def pfn_of(word: int) -> int:
    mask = int(x86.PTE_PFN_MASK)
    return ((word if word & 1 else ~word) & mask) >> 12


def kind_of(case: Case, word: int) -> str:
    """The kind of an entry of a sane case."""
    if word & int(x86.PAGE_PRESENT | x86.PAGE_GLOBAL):
        if not word & 1:
            return "prot-none"
        if word & int(x86.PAGE_SPECIAL):
            return "zero-page" if pfn_of(word) == case.config.zero_pfn else "special"
        folio = folio_of(case, pfn_of(word))
        for name in ("ksm", "zone_device", "anon"):
            if folio is not None and folio.flags & int(flags.FOLIO_FLAGS[name]):
                return name
        return "file"
    if not word:
        return "none"
    types = VERSIONS[case.kernel].swap_types
    offset = (~word >> 9) & ((1 << 50) - 1)
    if word >> 59 == types.marker:
        return f"marker {offset}"
    names = {number: name for name, number in types._asdict().items()}
    return names.get(word >> 59, "swap")


def test_every_kind_of_entry_is_in_one_case_of_a_hundred(cases):
    seen = Counter(
        kind
        for wild, case in cases
        if not wild
        for kind in {kind_of(case, word) for word in case.ptes}
    )
    assert {kind for kind, count in seen.items() if count >= len(cases) / 100} == {
        *("none", "anon", "file", "zero-page", "special", "ksm", "zone_device", "prot-none"),
        *("swap", "hwpoison", "migration_read", "migration_read_exclusive", "migration_write"),
        *("device_read", "device_write", "device_exclusive", "marker 1", "marker 2", "marker 4"),
    }


def mixed_from_the_middle(case: Case) -> bool:
    """Whether anon pages, mapped from the middle of a folio on, are unlike its first.

    The historical bug takes the bits of pages 0.. for those of pages k0..: it can
    show where these differ and the call may upgrade. The protection of a private
    VMA is never writable, so every entry is up for an upgrade, a writable one too.
    """
    if not case.call.cp_flags & int(flags.MM_CP_TRY_CHANGE_WRITABLE):
        return False
    if case.vma.flags & int(flags.VM_SHARED):
        return False
    previous = None
    for word in case.ptes[case.call.start : case.call.end]:
        folio = folio_of(case, pfn_of(word)) if word & 1 else None
        if folio is None or not folio.flags & int(flags.FOLIO_ANON):
            previous = None
            continue
        page = pfn_of(word) - folio.pfn
        if previous is None or previous != (folio, page - 1):
            start = page
        previous = (folio, page)
        here, taken = folio.exclusive >> page & 1, folio.exclusive >> (page - start) & 1
        if start and here != taken:
            return True
    return False


def test_the_condition_of_the_historical_bug_is_common(cases):
    assert share(cases, lambda _, case: mixed_from_the_middle(case)) >= 0.08


def test_the_page_walker_interferes_now_and_then(cases):
    assert 0.04 < share(cases, lambda _, case: case.hardware) < 0.2


DULL_VMA = ("READ", "MAYREAD", "MAYWRITE", "MAYEXEC", "SOFTDIRTY")


def test_zero_choices_give_the_dullest_case():
    wild, case = given_case([])
    assert not wild
    assert case == Case(
        vma=Vma(flags=sum(int(flags.VM_FLAGS[name]) for name in DULL_VMA)),
        call=Call(cp_flags=0, newprot=0x8000_0000_0000_0025, start=0, end=1),
        # Present, user, no-execute: neither writable, accessed nor dirty.
        ptes=(0x8000_0000_1234_0005,),
        folios=(Folio(pfn=0x1_2340, flags=int(flags.FOLIO_ANON)),),
    )


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.booleans())
def test_any_choices_give_a_lawful_case(words, zeros_behind):
    wild, case = given_case(words, 0 if zeros_behind else content_key(words))
    assert case.check() is None
    if not wild:
        assert list(broken_rules(case)) == []


def test_a_random_case_can_be_written_out_as_choices():
    choices = empty_choices()
    with np.errstate(over="ignore"):
        fill(choices, np.uint64(9), np.uint64(4))
    state = fresh_state()
    generate_into(state, 9, 4)
    written = expand(choices, MAX_CHOICES)
    assert len(written) == FIRST + MAX_CHOICES
    written[KEY] = 0
    again = fresh_state()
    with np.errstate(over="ignore"):
        generate_given(written, again)
    assert inputs(again) == inputs(state)
