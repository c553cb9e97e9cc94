"""The generator: pure, pinned, lawful, and rich enough to find anything, on each architecture.

What one architecture alone has is in tests/test_generator_arm64.py and
tests/test_generator_powerpc.py.
"""

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
from fuzz.given import given_of
from harness import anatomy
from harness.arrays import case_of
from harness.case import ARCHES, Call, Case, Folio, Vma, layout_of
from harness.sane import broken_rules
from mm import flags
from mm.state import empty_state, set_kernel
from mm.version import VERSIONS, Config

from .generator_stream import (
    MACHINE,
    folio_of,
    fresh_state,
    generate_into,
    inputs,
    random_cases,
    share,
    stream_hash,
)

ROOT = Path(__file__).resolve().parent.parent

# The streams of random cases. A change here means that every number of a case
# (arch:kernel:version:seed:index) in a bug report now names another case: raise
# GENERATOR_VERSION in fuzz/choices.py together with these hashes, never alone.
PINNED_CASES = 1000
PINNED = {
    "x86_64": "c14fffc7a795454992d36138fe03d252799c066580ef5371ccdbada2332a6c89",
    "arm64": "de2d77d1ff19f052ebf2489b19244b08f10f3c612c1b4d8e2c91d3e1a7028c34",
    "powerpc": "c6eb7be1238a63ac646a5ab939e80f991144619338c4a83e44d31b4e4045223a",
}

NR_CASES = 1500
on_each_arch = pytest.mark.parametrize("arch", ARCHES)


def given_case(arch: str, words: list[int], key: int = 0, window: int = 0) -> tuple[int, Case]:
    """Whether the case that `words` give was made wild, and the case."""
    state = fresh_state(arch)
    choices = given_choices(words, key)
    choices[WINDOW] = window
    with np.errstate(over="ignore"):
        wild = int(given_of(arch)(choices, state))
    return wild, case_of(state, arch, "7.3")


@pytest.fixture(scope="module", params=ARCHES)
def cases(request) -> list[tuple[int, Case]]:
    return random_cases(request.param, 2, NR_CASES)


@on_each_arch
def test_the_stream_is_pinned(arch):
    assert stream_hash(arch, PINNED_CASES) == PINNED[arch]


@on_each_arch
def test_compiled_and_interpreted_streams_are_the_same(arch):
    code = (
        "from tests.generator_stream import stream_hash; "
        f"print(stream_hash({arch!r}, {PINNED_CASES}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "compiled"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == PINNED[arch]


def test_one_architecture_loads_no_other():
    code = (
        "import sys; from fuzz.generators import generator_of; from fuzz.given import given_of; "
        "generator_of('powerpc'); "
        "print(sorted(n for n in sys.modules if n.startswith(('fuzz.generators.', 'fuzz.given.'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['fuzz.generators.powerpc']"


# Facts of the machine that a case chooses itself.
CHOSEN = {
    "x86_64": ("soft_dirty", "uffd_wp", "numa_balancing"),
    "arm64": ("uffd_wp", "numa_balancing", "bbml3"),
    "powerpc": (
        *("soft_dirty", "numa_balancing"),
        *("page_shift", "coprocessors", "isa_31", "hash_mmu"),
    ),
}


@on_each_arch
def test_a_number_is_a_case_whatever_stood_in_the_state(arch):
    used = fresh_state(arch)
    for index in (7, 3, 99, 3):
        for array in (used.ptes, used.hardware, used.exclusive, used.counts, used.folios):
            array.view(np.uint8)[:] = 0xA5
        for name in CHOSEN[arch]:
            used.facts[0][name] = 12 if name == "page_shift" else 1
        fresh = fresh_state(arch)
        assert generate_into(used, arch, 5, index) == generate_into(fresh, arch, 5, index)
        assert inputs(used) == inputs(fresh)
        assert not used.counts.any()


@on_each_arch
def test_seed_and_index_both_matter(arch):
    streams = []
    for seed, index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        state = fresh_state(arch)
        generate_into(state, arch, seed, index)
        streams.append(inputs(state))
    assert len(set(streams)) == 4


def test_every_case_keeps_the_rules_and_says_whether_it_is_wild(cases):
    for wild, case in cases:
        assert case.check() is None
        if not wild:
            assert list(broken_rules(case)) == []


@on_each_arch
@pytest.mark.parametrize(
    ("kernel", "changes"),
    [
        ("6.12", {}),
        ("6.16", {}),
        ("6.18", {}),
        # Folios must get out of the way of the zero page, and end with memory.
        ("7.3", {"zero_pfn": 0x1_2345, "highest_memmap_pfn": 0x1_2400}),
        ("7.3", {"highest_memmap_pfn": 0x3FFF}),
    ],
)
def test_version_and_configuration_are_respected(arch, kernel, changes):
    config = layout_of(arch).config._replace(**changes)
    kept = [name for name in Config._fields if name not in CHOSEN[arch]]
    for wild, case in random_cases(arch, 3, 120, kernel, config):
        assert case.check() is None
        assert all(getattr(case.config, name) == getattr(config, name) for name in kept)
        if wild:
            continue
        assert list(broken_rules(case)) == []
        soft_dirty = next((int(f.mask) for f in case.layout.fields if f.name == "soft_dirty"), 0)
        if not case.config.soft_dirty:
            present = (word for word in case.ptes if anatomy.is_present(case.layout, word))
            assert not any(word & soft_dirty for word in present)
            assert not case.vma.flags & int(flags.VM_SOFTDIRTY)
        if not case.config.numa_balancing:
            assert not case.call.cp_flags & int(flags.MM_CP_PROT_NUMA)


@on_each_arch
def test_a_small_state_gets_small_cases(arch):
    room = 24 if layout_of(arch).block > 1 else 8
    state = empty_state(nr_ptes=room, nr_folios=2, nr_pages=24)
    set_kernel(state.facts[0], VERSIONS["7.3"], layout_of(arch).config)
    for index in range(100):
        generate_into(state, arch, 4, index)
        case = case_of(state, arch, "7.3")
        assert case.check() is None
        assert len(case.ptes) <= room
        assert len(case.folios) <= 2


def test_windows_are_mostly_small_but_full_tables_occur(cases):
    sizes = [len(case.ptes) for _, case in cases]
    layout = cases[0][1].layout
    least, full = layout.block, layout.entries_per_table
    assert {"x86_64": 32, "arm64": 50, "powerpc": 20}[layout.arch] <= sum(sizes) / len(sizes)
    assert sum(sizes) / len(sizes) <= {"x86_64": 50, "arm64": 70, "powerpc": 32}[layout.arch]
    assert share(cases, lambda _, case: 4 <= len(case.ptes) <= 64) > 0.7
    assert share(cases, lambda _, case: len(case.ptes) == least) > 0.01
    assert share(cases, lambda _, case: len(case.ptes) == full) > 0.005


@on_each_arch
def test_a_window_of_a_given_length(arch):
    block = layout_of(arch).block
    for window in (1, 20, 64, 512):
        for key in range(1, 20):
            _, case = given_case(arch, [], key, window)
            assert len(case.ptes) == -(-window // block) * block
            assert case.check() is None


def test_wild_cases_are_a_tenth_to_a_quarter(cases):
    assert 0.10 <= share(cases, lambda wild, _: wild) <= 0.25


def test_every_call_is_made(cases):
    calls = Counter(case.call.cp_flags for wild, case in cases if not wild)
    made = [(), ("TRY_CHANGE_WRITABLE",), ("PROT_NUMA",)]
    if cases[0][1].config.uffd_wp:
        made += [
            ("UFFD_WP",),
            ("UFFD_WP_RESOLVE",),
            ("UFFD_WP_RESOLVE", "TRY_CHANGE_WRITABLE"),
            ("UFFD_RWP",),
            ("UFFD_RWP_RESOLVE",),
            ("UFFD_RWP_RESOLVE", "TRY_CHANGE_WRITABLE"),
        ]
    for names in made:
        cp_flags = sum(int(flags.CP_FLAGS[name]) for name in names)
        assert calls.pop(cp_flags) >= 0.005 * len(cases), names
    assert not calls


def test_ranges_end_inside_the_window_and_may_be_one_entry(cases):
    whole = share(cases, lambda _, case: case.call.end - case.call.start == len(case.ptes))
    assert 0.3 < whole < 0.7
    assert share(cases, lambda _, case: case.call.end - case.call.start == 1) > 0.08


def test_protections_of_the_vma_and_of_its_entries_go_together(cases):
    """The protection of a present entry is one of the map's, without what is decided entry by entry."""
    for wild, case in cases:
        if wild:
            continue
        layout = case.layout
        decided = sum(
            int(field.mask)
            for field in layout.fields
            if field.name
            in (
                *("accessed", "dirty", "saved_dirty", "soft_dirty", "uffd", "special", "cont"),
                # Keys and memory types.
                *("pkey", "pwt", "pcd", "attrindx", "sao", "non_idempotent"),
                *("hashpte", "gix", "pte"),
            )
        )
        if layout.arch == "arm64":
            decided |= int(layout.hardware_clears)
        known = {int(prot) & ~decided for prot in layout.protection_map}
        for word in case.ptes:
            if anatomy.is_present(layout, word):
                assert word & ~decided & ~int(layout.pfn_mask) in known, (case, hex(word))


def kind_of(case: Case, word: int) -> str:
    """The kind of an entry of a sane case."""
    layout = case.layout
    masks = {field.name: int(field.mask) for field in layout.fields}
    if anatomy.is_present(layout, word):
        if not anatomy.is_valid(layout, word):
            return "prot-none"
        pfn = anatomy.pfn_of(layout, word)
        if word & masks["special"]:
            return "zero-page" if pfn == case.config.zero_pfn else "special"
        folio = folio_of(case, pfn)
        for name in ("ksm", "zone_device", "anon"):
            if folio is not None and folio.flags & int(flags.FOLIO_FLAGS[name]):
                return name
        return "file"
    if not word:
        return "none"
    types, swap = VERSIONS[case.kernel].swap_types, layout.swap
    kind = word >> swap.type_shift & (1 << swap.type_bits) - 1
    offset = word >> swap.offset_shift & (1 << swap.offset_bits) - 1
    if swap.offset_inverted:
        offset ^= (1 << swap.offset_bits) - 1
    if kind == types.marker:
        return f"marker {offset}"
    names = {number: name for name, number in types._asdict().items()}
    return names.get(kind, "swap")


def test_every_kind_of_entry_is_common(cases):
    """In one case of a hundred; of two hundred where windows are half as long."""
    seen = Counter(
        kind
        for wild, case in cases
        if not wild
        for kind in {kind_of(case, word) for word in case.ptes}
    )
    floor = len(cases) / (200 if cases[0][1].arch == "powerpc" else 100)
    assert {kind for kind, count in seen.items() if count >= floor} == {
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
        pfn = anatomy.pfn_of(case.layout, word)
        folio = folio_of(case, pfn) if anatomy.is_valid(case.layout, word) else None
        if folio is None or not folio.flags & int(flags.FOLIO_ANON):
            previous = None
            continue
        page = pfn - folio.pfn
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


def test_what_the_page_walker_flips_is_a_change(cases):
    """It sets a bit that is clear or clears one that is set, in wild cases, too."""
    flipped = Counter()
    for _, case in cases:
        clears = int(case.layout.hardware_clears)
        for index, bits in case.hardware:
            word = case.ptes[index]
            assert bits & ~clears & word == 0, hex(word)
            assert bits & clears & ~word == 0, hex(word)
            flipped.update(bit for bit in range(64) if bits >> bit & 1)
    assert set(flipped) == {
        bit for bit in range(64) if int(cases[0][1].layout.hardware_bits) >> bit & 1
    }


DULL_VMA = ("READ", "MAYREAD", "MAYWRITE", "MAYEXEC")
DULL = {
    # Present, user, no-execute: neither writable, accessed nor dirty.
    "x86_64": (0x8000_0000_0000_0025, 0x8000_0000_1234_0005, 1),
    # And clean: PTE_RDONLY.
    "arm64": (0x0060_0000_0000_0FC3, 0x0060_0000_1234_0BC3, 16),
    "powerpc": (0x8000_0000_0000_0104, 0xC000_0001_2340_0004, 1),
}


@on_each_arch
def test_zero_choices_give_the_dullest_case(arch):
    newprot, word, nr_ptes = DULL[arch]
    config = layout_of(arch).config
    wild, case = given_case(arch, [])
    names = (*DULL_VMA, "SOFTDIRTY") if config.soft_dirty else DULL_VMA
    # Where windows are made of blocks, as many order-0 folios as a block has entries.
    folios = [Folio(pfn=0x1_2340 + i, flags=int(flags.FOLIO_ANON)) for i in range(nr_ptes)]
    assert not wild
    assert case == Case(
        arch=arch,
        config=config,
        vma=Vma(flags=sum(int(flags.VM_FLAGS[name]) for name in names)),
        call=Call(cp_flags=0, newprot=newprot, start=0, end=nr_ptes),
        ptes=tuple(word + (i << config.page_shift) for i in range(nr_ptes)),
        folios=tuple(folios),
    )


@on_each_arch
@settings(max_examples=40)
@given(words=st.lists(st.integers(0, 2**64 - 1), max_size=12), zeros_behind=st.booleans())
def test_any_choices_give_a_lawful_case(arch, words, zeros_behind):
    wild, case = given_case(arch, words, 0 if zeros_behind else content_key(words))
    assert case.check() is None
    if not wild:
        assert list(broken_rules(case)) == []


@on_each_arch
def test_a_random_case_can_be_written_out_as_choices(arch):
    choices = empty_choices()
    with np.errstate(over="ignore"):
        fill(choices, np.uint64(9), np.uint64(4))
    state = fresh_state(arch)
    generate_into(state, arch, 9, 4)
    written = expand(choices, MAX_CHOICES)
    assert len(written) == FIRST + MAX_CHOICES
    written[KEY] = 0
    again = fresh_state(arch)
    with np.errstate(over="ignore"):
        given_of(arch)(written, again)
    assert inputs(again) == inputs(state)


def test_what_a_machine_chooses_is_named_once():
    assert {name for names in CHOSEN.values() for name in names} == set(MACHINE)
