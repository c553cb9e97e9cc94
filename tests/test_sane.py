"""The rules of a sane case: each broken once, and none of them by a golden sane case.

The rules of arm64 and powerpc are broken in tests/test_sane_layouts.py, which also
says that no rule is left out.
"""

from itertools import islice
from pathlib import Path

import pytest

from harness.case import Case
from harness.sane import broken_rules, is_sane
from harness.vectors import read
from mm import flags as f
from mm.jit import ROOT
from mm.version import Config

from .drawing import NUMA, PAGE_NONE, PRIVATE, READ_ONLY, RO, SHARED, TRY, WP, drawn_case

VECTORS = sorted((ROOT / "corpus/vectors").glob("*/*.jsonl.*"))
RWP = int(f.MM_CP_UFFD_RWP)
EXEC = int(f.VM_READ | f.VM_EXEC | f.VM_MAYREAD | f.VM_MAYEXEC | f.VM_SOFTDIRTY)
UFFD = PRIVATE | int(f.VM_UFFD_WP)
RWP_VMA = PRIVATE | int(f.VM_UFFD_RWP)
PFNMAP = PRIVATE | int(f.VM_PFNMAP)
WP_MARKER, GUARD = "0xfffffffffffffc00", "0xfffffffffffff600"


def one(entry: str, **case) -> Case:
    """A case of one entry, and an entry of folio A beside it."""
    return drawn_case(f"A0s [{entry}]", **case)


# The rule, a case that breaks it and nothing else, and a near one that keeps it.
RULES = [
    ("cp-flags-of-a-caller", one("A1s", cp=WP | TRY), one("A1s", cp=WP, vma=UFFD)),
    ("cp-flags-of-a-caller", one("A1s", cp=12), one("A1s", cp=8 | TRY, vma=UFFD)),
    (
        "cp-flags-of-a-caller",
        one("A1s", cp=RWP, newprot=PAGE_NONE, kernel="6.18"),
        one("A1s", cp=RWP, newprot=PAGE_NONE, vma=RWP_VMA),
    ),
    ("uffd-call-means-registered", one("A1s", cp=WP), one("A1s", cp=WP, vma=UFFD)),
    (
        "uffd-call-means-registered",
        one("A1s", cp=WP, vma=RWP_VMA),
        one("A1s", cp=RWP, newprot=PAGE_NONE, vma=RWP_VMA),
    ),
    ("uffd-has-one-mode", one("A1s", vma=UFFD | RWP_VMA), one("A1s", vma=UFFD)),
    ("try-needs-vm-write", one("A1s", cp=TRY, vma=READ_ONLY), one("A1s", cp=TRY)),
    ("newprot-is-page-none", one("A1s", cp=NUMA), one("A1s", cp=NUMA, newprot=PAGE_NONE)),
    (
        "newprot-is-page-none",
        one("A1s", cp=NUMA, newprot=1 << 59 | PAGE_NONE),
        one("A1s", cp=0, newprot=1 << 59 | RO),
    ),
    ("newprot-from-protection-map", one("A1s", newprot=0x8000000000000027), one("A1s")),
    ("newprot-from-protection-map", one("A1s", newprot=PAGE_NONE), one("A1s")),
    (
        "newprot-from-protection-map",
        one("A1s", newprot=0x27, vma=SHARED, anon=False),
        one("A1s", newprot=0x8000000000000027, vma=SHARED, anon=False),
    ),
    ("read-needs-mayread", one("A1s", vma=PRIVATE & ~int(f.VM_MAYREAD)), one("A1s")),
    ("write-needs-maywrite", one("A1s", vma=PRIVATE & ~int(f.VM_MAYWRITE)), one("A1s")),
    (
        "exec-needs-mayexec",
        one("A1s", vma=EXEC & ~int(f.VM_MAYEXEC), newprot=0x25),
        one("A1s", vma=EXEC, newprot=0x25),
    ),
    ("anon-vma-is-private", one("A1s", vma=SHARED), one("A1s", vma=SHARED, anon=False)),
    (
        "uffd-rwp-exists",
        one("A1s", vma=PRIVATE | int(f.VM_UFFD_RWP), kernel="6.18"),
        one("A1s", vma=PRIVATE | int(f.VM_UFFD_RWP)),
    ),
    ("none-is-zero", one("0x60"), one(".")),
    ("none-is-zero", one("0x20"), one(".")),
    ("user-entry-is-not-global", one("0x8000000012341905"), one("0x8000000012341805")),
    ("valid-means-user", one("0x8000000012341801"), one("0x8000000012341805")),
    ("valid-means-user", one("0x000fffffedcbe904"), one("0x000fffffedcbe900")),
    ("writable-means-valid", one("A1nsw", vma=SHARED, anon=False), one("A1ns")),
    ("hardware-dirty-means-writable", one("A1sD"), one("A1sd")),
    ("saved-dirty-means-read-only", one("0x8400000012341807"), one("A1swd")),
    (
        "uffd-means-read-only",
        one("A1swu", vma=UFFD, newprot=RO),
        one("A1su", vma=UFFD, newprot=RO),
    ),
    ("uffd-means-registered", one("A1su"), one("A1su", vma=UFFD)),
    ("uffd-means-registered", one("0x07fffffffffffc04"), one("0x07fffffffffffc04", vma=UFFD)),
    (
        "uffd-is-configured",
        one("A1s", vma=UFFD).replace(config=Config(uffd_wp=False)),
        one("A1s").replace(config=Config(uffd_wp=False)),
    ),
    (
        "uffd-is-configured",
        one("A1s", cp=WP).replace(config=Config(uffd_wp=False)),
        one("A1s", cp=WP, vma=UFFD),
    ),
    (
        "soft-dirty-is-configured",
        drawn_case("[A1s]").replace(config=Config(soft_dirty=False)),
        drawn_case("[A1]").replace(config=Config(soft_dirty=False)),
    ),
    (
        "soft-dirty-is-configured",
        drawn_case("[0x07fffffffffffc02]").replace(config=Config(soft_dirty=False)),
        drawn_case("[0x07fffffffffffc00]").replace(config=Config(soft_dirty=False)),
    ),
    # mprotect() has changed the flags before it walks; a NUMA scan changes none.
    (
        "writable-means-vm-write",
        one("A1ws", cp=NUMA, vma=READ_ONLY, newprot=PAGE_NONE),
        one("A1ws", cp=0, vma=READ_ONLY),
    ),
    # A write to a shared VMA that userfaultfd protects must be noticed.
    (
        "newprot-from-protection-map",
        one("A1s", newprot=0x8000000000000027, vma=SHARED | int(f.VM_UFFD_WP), anon=False),
        one("A1s", newprot=RO, vma=SHARED | int(f.VM_UFFD_WP), anon=False),
    ),
    ("unnamed-bits-are-zero", one("0x8010000012341805"), one("A1s")),
    ("unnamed-bits-are-zero", one("0x8100000012341805"), one("A1s")),
    ("devmap-is-not-modelled", one("0x8200000012341805"), one("A1s")),
    (
        "hardware-dirties-writable-entries",
        one("A1s", hardware=((1, 0x60),)),
        one("A1ws", hardware=((1, 0x60),)),
    ),
    (
        "hardware-dirties-writable-entries",
        one("A1s", hardware=((1, 0x40),)),
        one("A1s", hardware=((1, 0x20),)),
    ),
    (
        "hardware-sets-in-valid-entries",
        one("A1ns", hardware=((1, 0x20),)),
        one("A1s", hardware=((1, 0x20),)),
    ),
    ("hardware-sets-in-valid-entries", one(".", hardware=((1, 0x20),)), one(".")),
    (
        "hardware-in-range",
        one("A1s", hardware=((0, 0x20),)),
        one("A1s", hardware=((1, 0x20),)),
    ),
    ("special-means-zero-page-or-pfnmap", one("A1sz"), one("A1sz", vma=PFNMAP, anon=False)),
    ("special-means-zero-page-or-pfnmap", one("U1sz"), one("0x8000000002f7da05")),
    ("pfn-in-memory-map", one("0x8000010000000805"), one("0x800000fffffff805")),
    ("private-writable-means-exclusive", one("A1ws", exclusive={"A": "x.xx"}), one("A1ws")),
    ("private-writable-means-exclusive", one("A1ws", folio_flags=0), one("A1s", folio_flags=0)),
    ("private-writable-means-exclusive", one("U1ws"), one("U1ws", vma=SHARED, anon=False)),
    (
        "private-writable-means-exclusive",
        one("A1wsz", vma=PFNMAP, anon=False),
        one("A1wsz", vma=PFNMAP | int(f.VM_SHARED), anon=False),
    ),
    ("swap-entry-has-no-other-bit", one("0x07fffffffffffc10"), one("0x07fffffffffffc0a")),
    ("swap-entry-has-no-other-bit", one("0x07fffffffffffc80"), one("0x07fffffffffffc00")),
    # Migration entries have 34 bits of PFN, young and dirty.
    ("swap-pfn-fits", one("0xdfffdffffdb97400"), one("0xdfffe7fffdb97400")),
    ("marker-is-known", one("0xfffffffffffff800"), one(WP_MARKER)),
    ("marker-is-known", one("0xfffffffffffffe00"), one(GUARD)),
]


@pytest.mark.parametrize(("rule", "breaks", "keeps"), RULES)
def test_rule(rule: str, breaks: Case, keeps: Case):
    assert breaks.check() is None
    assert {name.split(",")[0] for name in broken_rules(breaks)} == {rule}
    assert not is_sane(breaks)
    assert list(broken_rules(keeps)) == []
    assert is_sane(keeps)


def test_a_broken_entry_is_named():
    assert list(broken_rules(one("A1sD"))) == [
        "hardware-dirty-means-writable, pte 1 0x8000000012341845"
    ]


def test_each_right_needs_its_may():
    broken = {rule for rule, _, _ in RULES}
    assert {f"{right}-needs-may{right}" for right in ("read", "write", "exec")} <= broken


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_golden_sane_cases_break_none(path: Path):
    wild = 0
    vectors = list(islice(read(path), 400))
    for vector in vectors:
        case = vector.case.replace(kernel="6.12" if vector.native_6_12 else "7.3")
        if vector.wild:
            wild += not is_sane(case)
        else:
            assert list(broken_rules(case)) == [], vector.line
    # A wild case may be sane by chance.
    assert wild >= 0.9 * sum(vector.wild for vector in vectors)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_kernel_makes_of_a_sane_case_is_sane(path: Path):
    """The same call on its own outcome; what it left behind breaks no rule of an entry."""
    for vector in islice(read(path), 200):
        outcome = vector.expect.get("expect_7_3")
        if vector.wild or outcome is None:
            continue
        ptes = tuple(int(word, 16) for word in outcome.ptes)
        assert list(broken_rules(vector.case.replace(ptes=ptes))) == [], vector.line


def test_there_are_vectors():
    assert {path.parent.name for path in VECTORS} >= {"x86_64"}
    assert len(VECTORS) >= 6
