"""The rules of a sane case on arm64 and powerpc: each broken once, and nothing else by that case."""

import re
from pathlib import Path

import pytest

from harness.case import Case
from harness.casefile import parse_case
from harness.sane import broken_rules, is_sane
from mm.jit import ROOT

from .test_sane import RULES as X86_64_RULES

PRIVATE = "anon READ WRITE MAYREAD MAYWRITE MAYEXEC"
EXEC = "anon EXEC MAYREAD MAYWRITE MAYEXEC"
UFFD = f"{PRIVATE} UFFD_WP"
READ_ONLY = "anon READ MAYREAD MAYWRITE MAYEXEC"
SHARED = "file READ WRITE SHARED MAYREAD MAYWRITE MAYEXEC MAYSHARE"
DEVICE = "file READ MAYREAD MAYWRITE MAYEXEC PFNMAP"
FOLIO = "A: pfn=0x12340 pages=32 anon exclusive=x*31."
HALVES = ("A: pfn=0x12340 pages=8 anon", "B: pfn=0x12348 pages=8 anon")


def a_case(arch: str, *entries: str, **lines: str | tuple[str, ...]) -> Case:
    """The case with these `pte` lines; `lines` are others, `folio` and `hardware` several."""
    lines = {"vma": PRIVATE, "range": "[0, 1)", "newprot": "r-- accessed", "folio": FOLIO} | lines
    text = f"midfolio-case 1\narch: {arch}\nkernel: 7.3\n"
    for key, value in lines.items():
        for one in (value,) if isinstance(value, str) else value:
            text += f"{key} {one}\n" if key in ("folio", "hardware") else f"{key}: {one}\n"
    return parse_case(text + "".join(f"pte {entry}\n" for entry in entries)).case


def arm64(entry: str, **lines) -> Case:
    """One entry, and none entries to the end of its block."""
    return a_case("arm64", f"0: {entry}", "1..15: none", **lines)


def block(*entries: str, **lines) -> Case:
    """A block of arm64."""
    return a_case("arm64", *entries, **lines)


def powerpc(entry: str, **lines) -> Case:
    """One entry."""
    return a_case("powerpc", f"0: {entry}", **lines)


def small(entry: str, config: str = "", **lines) -> Case:
    """One entry of a powerpc with 4 KiB pages."""
    return a_case("powerpc", f"0: {entry}", config=f"page_shift=12 {config}", **lines)


# The rule, a case that breaks it and nothing else, and near ones that keep it.
ARM64_RULES = [
    (
        "fold-is-complete",
        block("0..14: A+0 r-- cont", "15: A+15 r--"),
        block("0..15: A+0 r-- cont"),
    ),
    (
        "fold-is-complete",
        block("0: none", "1..15: A+1 r-- cont"),
        block("0: none", "1..15: A+1 r--"),
    ),
    (
        "fold-is-uniform",
        block("0..7: A+0 r-- cont", "8..15: A+8 r-x cont"),
        # What mkclean and mkold make equal may differ.
        block(
            "0..3: A+0 rw- accessed cont",
            "4..7: A+4 rw- -rdonly accessed cont",
            "8..14: A+8 rw- -rdonly cont dirty",
            "15: A+15 rw- cont",
        ),
    ),
    (
        "fold-is-uniform",
        block("0..7: A+0 r-- cont", "8..15: A+8 r-- cont uffd", vma=UFFD),
        block("0..7: A+0 r-- accessed cont", "8..15: A+8 r-- cont dirty"),
    ),
    (
        "fold-is-uniform",
        block("0..7: A+0 r-- cont", "8..15: A+9 r-- cont"),
        block("0..7: A+0 r--", "8..15: A+9 r--"),
    ),
    ("fold-is-aligned", block("0..15: A+1 r-- cont"), block("0..15: A+16 r-- cont")),
    (
        "fold-is-of-one-folio",
        block("0..7: A+0 r-- cont", "8..15: B+0 r-- cont", folio=HALVES),
        block("0..7: A+0 r--", "8..15: B+0 r--", folio=HALVES),
    ),
    (
        "fold-is-of-one-folio",
        block("0..15: pfn=0x50000 r-- cont"),
        block("0..15: pfn=0x50000 r--"),
    ),
    # The second block is looked at, too, wherever the range is.
    (
        "fold-is-complete",
        block("0..16: A+0 r-- cont", "17..31: A+17 r--"),
        block("0..31: A+0 r-- cont"),
    ),
    ("folded-means-valid", arm64("A+0 --- cont"), arm64("A+0 ---")),
    (
        "folded-means-not-special",
        block("0..15: A+0 r-- cont special", vma=DEVICE),
        block("0..15: A+0 r-- special", vma=DEVICE),
    ),
    ("type-is-page", arm64("A+0 r-- -type"), arm64("A+0 r--")),
    ("type-is-page", arm64("A+0 --- -type"), arm64("A+0 ---")),
    ("user-entry-is-not-global", arm64("A+0 r-- -ng"), arm64("A+0 r--")),
    ("valid-means-user", arm64("A+0 r-- -user"), arm64("A+0 r--")),
    ("valid-means-user", arm64("A+0 --- user"), arm64("A+0 ---")),
    ("executable-means-valid", arm64("A+0 --- -uxn"), arm64("A+0 r-x")),
    ("kernel-executes-no-user-page", arm64("A+0 r-- -pxn"), arm64("A+0 r--")),
    ("kernel-executes-no-user-page", arm64("A+0 --- -pxn"), arm64("A+0 ---")),
    ("user-entry-is-shareable", arm64("A+0 r-- shared=2"), arm64("A+0 r--")),
    ("guarded-is-not-modelled", arm64("A+0 r-x gp"), arm64("A+0 r-x")),
    ("devmap-is-not-modelled", arm64("A+0 r-- devmap"), arm64("A+0 r--")),
    ("unnamed-bits-are-zero", arm64("A+0 r-- ns"), arm64("A+0 r-- pkey=7")),
    ("unnamed-bits-are-zero", arm64("A+0 r-- unused"), arm64("A+0 r--")),
    ("unnamed-bits-are-zero", arm64("A+0 r-- software"), arm64("A+0 r--")),
    ("writable-means-valid", arm64("A+0 --- write"), arm64("A+0 rw-")),
    ("not-writable-means-rdonly", arm64("A+0 r-- -rdonly"), arm64("A+0 r-- dirty")),
    ("not-writable-means-rdonly", arm64("A+0 --- -rdonly"), arm64("A+0 --- dirty")),
    ("dirty-writable-means-no-rdonly", arm64("A+0 rw- dirty"), arm64("A+0 rw- -rdonly dirty")),
    ("dirty-writable-means-no-rdonly", arm64("A+0 rwx dirty"), arm64("A+0 rw- -rdonly")),
    ("memory-type-is-known", arm64("A+0 r-- attrindx=1"), arm64("A+0 r--")),
    (
        "memory-type-is-known",
        arm64("A+0 r-- attrindx=3 special", vma=DEVICE),
        arm64("A+0 r-- attrindx=4 special", vma=DEVICE),
    ),
    (
        "device-memory-means-pfnmap",
        arm64("A+0 r-- attrindx=2"),
        arm64("A+0 r-- attrindx=2", vma=DEVICE),
    ),
    ("uffd-means-read-only", arm64("A+0 rw- uffd", vma=UFFD), arm64("A+0 r-- uffd", vma=UFFD)),
    ("uffd-means-registered", arm64("A+0 r-- uffd"), arm64("A+0 r-- uffd", vma=UFFD)),
    (
        "uffd-means-registered",
        arm64("swap type=1 offset=1 uffd"),
        arm64("swap type=1 offset=1 uffd exclusive", vma=UFFD),
    ),
    (
        "writable-means-vm-write",
        arm64("A+0 rw-", vma=READ_ONLY, cp="PROT_NUMA", newprot="--- accessed"),
        arm64("A+0 rw-", vma=READ_ONLY),
    ),
    # Whether the hardware has written yet makes no difference.
    ("private-writable-means-exclusive", arm64("A+31 rw-"), arm64("A+31 r--")),
    ("private-writable-means-exclusive", arm64("A+31 rw- -rdonly"), arm64("A+30 rw- -rdonly")),
    ("private-writable-means-exclusive", arm64("pfn=0x50000 rw-"), arm64("A+31 rw-", vma=SHARED)),
    (
        "special-means-zero-page-or-pfnmap",
        arm64("A+0 r-- special"),
        arm64("pfn=0x2f7d r-- special"),
    ),
    ("pfn-in-memory-map", arm64("pfn=0x10000000 r--"), arm64("pfn=0xfffffff r--")),
    (
        "pfn-is-an-address",
        arm64("pfn=0x1000000000 r-- special", vma=DEVICE),
        arm64("pfn=0xfffffffff r-- special", vma=DEVICE),
    ),
    (
        "hardware-dirties-writable-entries",
        arm64("A+0 r--", hardware="0: rdonly"),
        arm64("A+0 rw-", hardware="0: rdonly accessed"),
    ),
    (
        "hardware-sets-in-valid-entries",
        arm64("A+0 ---", hardware="0: accessed"),
        arm64("A+0 r--", hardware="0: accessed"),
    ),
    ("hardware-sets-in-valid-entries", arm64("none", hardware="0: accessed"), arm64("none")),
    (
        "hardware-in-range",
        block("0..15: A+0 rw-", hardware="1: accessed"),
        block("0..15: A+0 rw-", hardware="0: accessed"),
    ),
    # 4 PiB of swap, and an offset that is no byte less.
    (
        "swap-offset-without-cont",
        arm64("swap type=1 offset=0x10000000000"),
        arm64("swap type=1 offset=0xffffffffff"),
    ),
    ("swap-entry-has-no-other-bit", arm64("raw 0x1000042"), arm64("raw 0x1000044")),
    ("swap-entry-has-no-other-bit", arm64("raw 0x4000000001000040"), arm64("raw 0x1000040")),
    (
        "swap-pfn-fits",
        arm64("migration-write offset=0x4000000000"),
        arm64("migration-write offset=0x3fffffffff"),
    ),
    ("marker-is-known", arm64("marker offset=0x8"), arm64("marker guard")),
    ("soft-dirty-exists", arm64("none", vma=f"{PRIVATE} SOFTDIRTY"), arm64("none")),
    (
        "uffd-is-configured",
        arm64("none", cp="UFFD_WP", config="uffd_wp=n"),
        arm64("none", cp="UFFD_WP", vma=UFFD),
    ),
    (
        "newprot-is-page-none",
        arm64("none", cp="PROT_NUMA"),
        arm64("none", cp="PROT_NUMA", newprot="--- accessed"),
    ),
    (
        "newprot-is-page-none",
        arm64("none", cp="PROT_NUMA", newprot="--- accessed pkey=1"),
        arm64("none", newprot="r-- accessed pkey=1"),
    ),
    ("newprot-from-protection-map", arm64("none", newprot="rw- accessed"), arm64("none")),
    ("newprot-from-protection-map", arm64("none", newprot="r--"), arm64("none")),
    (
        "newprot-from-protection-map",
        arm64("none", newprot="r-- accessed attrindx=2"),
        arm64("none", newprot="r-- accessed attrindx=2", vma=DEVICE),
    ),
    (
        "newprot-from-protection-map",
        arm64("none", newprot="r-- accessed attrindx=1", vma=DEVICE),
        arm64("none", newprot="r-- accessed attrindx=4", vma=DEVICE),
    ),
    (
        "newprot-from-protection-map",
        arm64("none", newprot="r-x gp accessed", vma=EXEC),
        arm64("none", newprot="r-x accessed", vma=EXEC),
    ),
]

POWERPC_RULES = [
    ("none-is-zero", powerpc("raw 0x180"), powerpc("none")),
    ("none-is-zero", small("raw 0x80"), small("none")),
    ("pte-bit-is-set", powerpc("A+0 r-- -pte"), powerpc("A+0 r--")),
    ("pte-bit-is-set", powerpc("raw 0x1000"), powerpc("none")),
    # As ptep_modify_prot_start() leaves it.
    ("present-means-not-invalid", powerpc("A+0 r-- invalid -present"), powerpc("A+0 r--")),
    ("present-means-not-invalid", powerpc("A+0 r-- invalid"), powerpc("A+0 r--")),
    ("user-entry-is-not-privileged", powerpc("A+0 r-- privileged"), powerpc("A+0 r--")),
    ("writable-means-readable", powerpc("A+0 rw- -read"), powerpc("A+0 rw-")),
    ("writable-means-readable", powerpc("A+0 rwx -read"), powerpc("A+0 --x")),
    ("devmap-is-not-modelled", powerpc("A+0 r-- devmap"), powerpc("A+0 r--")),
    ("unnamed-bits-are-zero", powerpc("A+0 r-- busy"), powerpc("A+0 r--")),
    ("unnamed-bits-are-zero", powerpc("A+0 r-- rpage=1"), powerpc("A+0 r--")),
    ("unnamed-bits-are-zero", powerpc("A+0 r-- high=1"), powerpc("A+0 r--")),
    (
        "unnamed-bits-are-zero",
        powerpc("A+0 r-- pkey=1", config="hash_mmu=y"),
        powerpc("A+0 r--", config="hash_mmu=y"),
    ),
    (
        "hash-bits-need-the-hash-mmu",
        powerpc("A+0 r-- combo hashpte"),
        powerpc("A+0 r-- combo hashpte", config="hash_mmu=y"),
    ),
    ("hash-bits-need-the-hash-mmu", powerpc("A+0 r-- combo"), powerpc("A+0 r--")),
    ("hash-bits-need-the-hash-mmu", powerpc("A+0 r-- hashpte"), powerpc("A+0 r--")),
    ("hash-bits-need-the-hash-mmu", small("A+0 r-- gix=3"), small("A+0 r--")),
    (
        "hash-bits-need-the-hash-mmu",
        small("A+0 r-- gix=3 hashpte"),
        small("A+0 r-- gix=3 hashpte", "hash_mmu=y"),
    ),
    ("device-memory-means-pfnmap", powerpc("A+0 r-- sao"), powerpc("A+0 r-- sao", vma=DEVICE)),
    (
        "device-memory-means-pfnmap",
        powerpc("A+0 r-- non_idempotent"),
        powerpc("A+0 r-- sao non_idempotent", vma=DEVICE),
    ),
    (
        "hardware-sets-in-valid-entries",
        powerpc("A+0 ---", hardware="0: accessed"),
        powerpc("A+0 --x", hardware="0: accessed"),
    ),
    (
        "hardware-dirties-writable-entries",
        powerpc("A+0 r--", hardware="0: dirty"),
        powerpc("A+0 rw-", hardware="0: dirty"),
    ),
    (
        "soft-dirty-is-configured",
        powerpc("A+0 r-- soft_dirty", config="soft_dirty=n"),
        powerpc("A+0 r-- soft_dirty"),
    ),
    (
        "soft-dirty-is-configured",
        powerpc("swap type=1 offset=1 soft_dirty", config="soft_dirty=n"),
        powerpc("swap type=1 offset=1 soft_dirty exclusive"),
    ),
    (
        "writable-means-vm-write",
        powerpc("A+0 rw-", vma=READ_ONLY, cp="PROT_NUMA", newprot="--- accessed"),
        powerpc("A+0 rw-", vma=READ_ONLY),
    ),
    ("private-writable-means-exclusive", powerpc("A+31 rw-"), powerpc("A+30 rw-")),
    (
        "special-means-zero-page-or-pfnmap",
        powerpc("A+0 r-- special"),
        powerpc("A+0 r-- special", vma=DEVICE),
    ),
    ("pfn-in-memory-map", powerpc("pfn=0x10000000 r--"), powerpc("pfn=0xfffffff r--")),
    (
        "pfn-is-an-address",
        powerpc("pfn=0x800000000 r-- special", vma=DEVICE),
        powerpc("pfn=0x7ffffffff r-- special", vma=DEVICE),
    ),
    (
        "pfn-is-an-address",
        small("pfn=0x8000000000 r-- special", vma=DEVICE),
        small("pfn=0x7fffffffff r-- special", vma=DEVICE),
    ),
    (
        "swap-entry-has-no-other-bit",
        powerpc("raw 0x4000000010000041"),
        powerpc("raw 0x4000000010000021"),
    ),
    # What is a page of memory here is a bit of no meaning there.
    (
        "swap-entry-has-no-other-bit",
        powerpc("raw 0x4000000010001001"),
        small("raw 0x4000000010001001"),
    ),
    ("marker-is-known", powerpc("marker uffd-wp guard"), powerpc("marker uffd-wp")),
    ("uffd-is-configured", powerpc("none", vma=UFFD), powerpc("none")),
    ("uffd-is-configured", powerpc("none", cp="UFFD_WP"), powerpc("none")),
    ("newprot-from-protection-map", powerpc("none", newprot="rw- accessed"), powerpc("none")),
    (
        "newprot-from-protection-map",
        powerpc("none", newprot="r-x accessed", vma=EXEC),
        powerpc("none", newprot="--x accessed", vma=EXEC),
    ),
    (
        "newprot-from-protection-map",
        powerpc("none", newprot="r-- non_idempotent accessed"),
        powerpc("none", newprot="r-- non_idempotent accessed", vma=DEVICE),
    ),
    # An entry's bit in a protection, which no protection has.
    ("newprot-from-protection-map", powerpc("none", newprot="r-- accessed pte"), powerpc("none")),
    (
        "newprot-from-protection-map",
        powerpc("none", newprot="r-- accessed pkey=1", config="hash_mmu=y"),
        powerpc("none", newprot="r-- accessed", config="hash_mmu=y"),
    ),
    (
        "newprot-is-page-none",
        powerpc("none", cp="PROT_NUMA", newprot="---"),
        powerpc("none", cp="PROT_NUMA", newprot="--- accessed"),
    ),
]
BROKEN = {"x86_64": X86_64_RULES, "arm64": ARM64_RULES, "powerpc": POWERPC_RULES}


@pytest.mark.parametrize(
    ("rule", "breaks", "keeps"),
    [*ARM64_RULES, *POWERPC_RULES],
    ids=[f"{breaks.arch}-{rule}" for rule, breaks, _ in (*ARM64_RULES, *POWERPC_RULES)],
)
def test_rule(rule: str, breaks: Case, keeps: Case):
    assert breaks.check() is None
    assert {name.split(",")[0] for name in broken_rules(breaks)} == {rule}
    assert not is_sane(breaks)
    assert list(broken_rules(keeps)) == []
    assert is_sane(keeps)


def test_a_broken_block_is_named_by_its_entry():
    case = block("0..15: A+0 r-- cont", "16..20: A+16 r-- cont", "21..31: A+21 r--")
    assert list(broken_rules(case)) == ["fold-is-complete, pte 16 0x70000012350bc3"]
    case = block("0..8: A+0 r-- cont", "9: A+9 r-x cont", "10..15: A+10 r-- cont")
    assert list(broken_rules(case)) == ["fold-is-uniform, pte 9 0x30000012349bc3"]


def rules_in(path: str) -> set[str]:
    """The rules that a file of the harness names."""
    return set(re.findall(r'yield "([a-z0-9-]+)"', (Path(ROOT) / "harness" / path).read_text()))


@pytest.mark.parametrize("arch", sorted(BROKEN))
def test_every_rule_of_an_architecture_is_broken_by_a_case_of_it(arch: str):
    names = rules_in(f"sanity/{arch}.py")
    assert len(names) >= 9
    assert names - {rule for rule, _, _ in BROKEN[arch]} == set()


def test_every_shared_rule_is_broken_by_some_case():
    broken = {rule for rules in BROKEN.values() for rule, _, _ in rules}
    files = ("sane.py", "sanity/mapped.py", "sanity/swaplike.py")
    names = {name for path in files for name in rules_in(path)}
    text = (Path(ROOT) / "harness/sane.py").read_text()
    assert 'yield f"{right.lower()}-needs-{may.lower()}"' in text
    names |= {f"{right}-needs-may{right}" for right in ("read", "write", "exec")}
    assert len(names) >= 20
    # Each type number from hwpoison on has a meaning in each version.
    assert names - broken == {"swap-type-is-known"}
