"""The text form on every layout: nothing is lost, whatever the words, and what is common reads well."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.strategies import any_cases
from fuzz.strategies.lawful import ANY_WORD, some_words, swap_like, with_page
from harness.anatomy import is_present
from harness.case import ARCHES, LAYOUTS, Call, Case, CaseError, Folio, Vma
from harness.casefile import case_line, format_case, parse_case, parse_case_line
from harness.vocabulary import vocabulary_of
from mm.jit import ROOT
from mm.version import VERSIONS

from .layout_cases import ALL, BY_NAME, NAMES

TOP = (1 << 64) - 1
on_each_layout = pytest.mark.parametrize("layout", ALL, ids=NAMES)


def plain_case(layout, words, **parts) -> Case:
    """A case with `words`, filled up with none entries to whole blocks."""
    ptes = (*words, *(0,) * (-len(words) % layout.block))
    return Case(Vma(0), Call(0, 0, 0, 1), ptes, arch=layout.arch, config=layout.config).replace(
        **parts
    )


def survives(case: Case) -> str:
    """The text of `case`, which means `case` and is canonical."""
    text = format_case(case)
    parsed = parse_case(text).case
    assert parsed == case
    assert format_case(parsed) == text
    return text


# Nothing is lost.


@on_each_layout
@given(st.data())
def test_any_case_survives_its_text(layout, data):
    case = data.draw(any_cases(layout))
    assert case.check() is None
    survives(case)
    assert parse_case_line(case_line(case)).case == case


@on_each_layout
@given(st.data(), st.sampled_from(sorted(VERSIONS)))
def test_any_words_survive_their_text(layout, data, kernel):
    words = data.draw(st.lists(st.one_of(ANY_WORD, some_words(layout)), min_size=1, max_size=32))
    survives(plain_case(layout, words, kernel=kernel, call=Call(0, words[0], 0, 1)))


@on_each_layout
@pytest.mark.parametrize("kernel", sorted(VERSIONS))
def test_each_bit_survives_alone_and_missing(layout, kernel):
    mapped = with_page(layout, int(layout.protection_map[9] | layout.swap.always_set), 0x12345)
    types = VERSIONS[kernel].swap_types
    migration = swap_like(layout, types.migration_write, 0x12345)
    for number in range(64):
        bit = 1 << number
        words = (bit, TOP ^ bit, mapped ^ bit, migration ^ bit)
        survives(plain_case(layout, words, kernel=kernel, call=Call(0, bit, 0, 1)))


# What is written `raw`: only what neither maps a page nor has a swap-like entry's parts alone.


@on_each_layout
@given(st.data())
def test_raw_is_the_last_resort(layout, data):
    word = data.draw(some_words(layout))
    text = survives(plain_case(layout, (word,)))
    line = re.search(r"^pte 0(?:\.\.\d+)?: (.*)$", text, re.MULTILINE)[1]
    swap = layout.swap
    parts = swap_like(layout, (1 << swap.type_bits) - 1, 0) | swap_like(layout, 0, TOP)
    parts |= swap_like(layout, 0, 0) | int(swap.soft_dirty | swap.uffd | swap.exclusive)
    is_swap_like = not word & ~parts and word & int(swap.always_set) == int(swap.always_set)
    mapped = is_present(layout, word) or word & vocabulary_of(layout).valid
    assert line.startswith("raw 0x") == (word != 0 and not is_swap_like and not mapped)
    # A present entry is never drawn as something else.
    assert not is_present(layout, word) or re.match(r"pfn=0x|[A-Z]+\+", line)


# Entries as people write them, and what they mean.

ARM64 = """\
midfolio-case 1
arch: arm64
kernel: 7.3
vma: file READ SHARED
range: [0, 32)
newprot: r-x accessed
folio A: pfn=0x12340 pages=32 anon exclusive=x*32
pte 0..15: A+0 r-- accessed cont
pte 16: A+16 rw-
pte 17: A+17 rw- -rdonly accessed
pte 18: A+18 rw- -rdonly accessed dirty
pte 19: A+19 r-x accessed dirty
pte 20: A+20 ---
pte 21: A+21 r-- accessed special uffd pkey=5
pte 22: A+22 r-- attrindx=2
pte 23: none
pte 24: marker uffd-wp
pte 25: marker poison
pte 26: marker guard
pte 27: swap type=1 offset=0x1000
pte 28: migration-write A+5
pte 29: migration-read A+3 young dirty uffd exclusive
pte 30: swap type=0 offset=0x10000000000
pte 31: raw 0x2
hardware 16: rdonly accessed
"""
ARM64_WORDS = {
    0: 0x0070_0000_1234_0FC3,
    15: 0x0070_0000_1234_FFC3,
    16: 0x0068_0000_1235_0BC3,
    17: 0x0068_0000_1235_1F43,
    18: 0x00E8_0000_1235_2F43,
    19: 0x00A0_0000_1235_3FC3,
    20: 0x0060_0000_1235_4B82,
    21: 0x5560_0000_1235_5FC3,
    22: 0x0060_0000_1235_6BCB,
    # Words that compiled kernels made.
    24: 0x17C0,
    25: 0x27C0,
    26: 0x47C0,
    27: 0x0100_0040,
    28: 0x1234_56C0,
    29: (0x12343 | 3 << 36) << 12 | 25 << 6 | 0xC,
    30: 1 << 52,  # where a present entry has CONT
}

POWERPC = """\
midfolio-case 1
arch: powerpc
kernel: 7.3
vma: file READ EXEC SHARED
range: [0, 16)
newprot: --x accessed
folio A: pfn=0x12340 pages=16
pte 0..1: A+0 r-- accessed
pte 2: A+2 rw- dirty accessed soft_dirty
pte 3: A+3 ---
pte 4: A+4 --x
pte 5: A+5 rwx accessed special
pte 6: A+6 r-- sao non_idempotent
pte 7: A+7 r-- -pte
pte 8: A+8 rwx invalid -present
pte 9: marker uffd-wp
pte 10: marker poison
pte 11: marker guard
pte 12: migration-write A+5
pte 13: migration-write A+5 young dirty soft_dirty exclusive
pte 14: swap type=1 offset=0x1000
pte 15: raw 0x80
hardware 2: dirty accessed
"""
POWERPC_WORDS = {
    0: 0xC000_0001_2340_0104,
    1: 0xC000_0001_2341_0104,
    2: 0xC000_0001_2342_0386,
    3: 0xC000_0001_2343_0000,
    4: 0xC000_0001_2344_0001,
    5: 0xC000_0001_2345_0507,
    6: 0xC000_0001_2346_0034,
    7: 0x8000_0001_2347_0004,
    8: 0x6000_0001_2348_0007,
    9: 0x4000_0000_0001_001F,
    10: 0x4000_0000_0002_001F,
    11: 0x4000_0000_0004_001F,
    12: 0x4000_0001_2345_001B,
    13: 0x4000_0001_2345_023B | 3 << 35 << 16,
    14: 0x4000_0000_1000_0001,
    15: 0x80,
}
# The same with 4 KiB pages: the PFN four bits lower, young and dirty of a migration not.
POWERPC_4K = POWERPC.replace("vma:", "config: page_shift=12\nvma:")
POWERPC_4K_WORDS = {
    0: 0xC000_0000_1234_0104,
    2: 0xC000_0000_1234_2386,
    9: 0x4000_0000_0000_101F,
    12: 0x4000_0000_1234_501B,
    13: 0x4000_0000_1234_523B | 3 << 39 << 12,
    14: 0x4000_0000_0100_0001,
}


@pytest.mark.parametrize(
    ("text", "words", "newprot"),
    [
        (ARM64, ARM64_WORDS, 0x0020_0000_0000_0FC3),
        (POWERPC, POWERPC_WORDS, 0x8000_0000_0000_0101),
        (POWERPC_4K, POWERPC_4K_WORDS, 0x8000_0000_0000_0101),
    ],
    ids=["arm64", "powerpc-64K", "powerpc-4K"],
)
def test_each_kind_of_entry_means_these_words(text, words, newprot):
    case = parse_case(text).case
    assert {i: hex(case.ptes[i]) for i in words} == {i: hex(word) for i, word in words.items()}
    assert case.call.newprot == newprot
    assert survives(case) == text


def test_a_contpte_block_is_one_line():
    case = parse_case(ARM64).case
    assert "pte 0..15: A+0 r-- accessed cont\n" in format_case(case)
    dirty = case.replace(ptes=(*case.ptes[:7], case.ptes[7] | 1 << 55, *case.ptes[8:]))
    assert "pte 7: A+7 r-- accessed cont dirty\npte 8..15: A+8 r-- accessed cont\n" in format_case(
        dirty
    )


# The configuration: what is left out is as the layout has it.


@on_each_layout
def test_a_default_configuration_has_no_text_but_the_page_size(layout):
    text = survives(plain_case(layout, (0,)))
    first = next(lay for lay in ALL if lay.arch == layout.arch)
    config = re.findall("^config: (.*)$", text, re.MULTILINE)
    assert config == ([] if layout is first else [f"page_shift={layout.page_shift}"])


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("arm64-4K", "uffd_wp=n bbml3=y", {"uffd_wp": False, "bbml3": True}),
        ("powerpc-64K", "soft_dirty=n hash_mmu=y", {"soft_dirty": False, "hash_mmu": True}),
        (
            "powerpc-4K",
            "page_shift=12 coprocessors=2 isa_31=y",
            {"coprocessors": 2, "isa_31": True},
        ),
    ],
)
def test_a_configuration_says_what_differs(name, text, changes):
    layout = BY_NAME[name]
    case = plain_case(layout, (0,), config=layout.config._replace(**changes))
    assert f"\nconfig: {text}\n" in survives(case)


def test_each_size_of_pages_has_its_own_defaults(monkeypatch):
    first, second = LAYOUTS["powerpc"]
    special = second._replace(config=second.config._replace(isa_31=True))
    monkeypatch.setitem(LAYOUTS, "powerpc", (first, special))
    config = parse_case(POWERPC_4K).case.config
    assert config.isa_31
    assert not parse_case(POWERPC).case.config.isa_31
    case = plain_case(special, (0,), config=config._replace(isa_31=False))
    assert "\nconfig: page_shift=12 isa_31=n\n" in survives(case)


# Errors name the line.


def edit(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def to_arm64(old: str, new: str) -> str:
    return edit(ARM64, old, new)


def to_powerpc(old: str, new: str) -> str:
    return edit(POWERPC, old, new)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (to_arm64("hardware", "pte 32: none\nhardware"), 25, "whole blocks of 16 entries, aligned"),
        (
            to_arm64("pte 31: raw 0x2\n", ""),
            23,
            "got 31 entries",
        ),
        # The last entry is to blame wherever its line stands.
        (
            edit(
                to_arm64("pte 31: raw 0x2\n", "").replace(
                    "pte 30: swap type=0 offset=0x10000000000\n", ""
                ),
                "vma:",
                "pte 30: none\nvma:",
            ),
            4,
            "got 31 entries",
        ),
        (
            to_arm64("vma", "table_addr: 0x7f0000001000\nvma"),
            4,
            "32 entries from address 0x7f0000001",
        ),
        (to_arm64("vma", "table_addr: 0x7f00001f0000\nvma"), 4, "leave the page table; its last"),
        (to_arm64("hardware 16: rdonly", "hardware 16: dirty"), 25, "must be among 0x480, got"),
        (
            to_arm64("vma", "config: soft_dirty=y\nvma"),
            4,
            "arm64 has no soft_dirty; it must be off",
        ),
        (to_arm64("vma", "config: coprocessors=1\nvma"), 4, "arm64 has no coprocessors"),
        (
            to_arm64("vma", "config: page_shift=16\nvma"),
            4,
            "page_shift of arm64 must be 12, got 16",
        ),
        (
            to_arm64("A+16 rw-", "A+16 rw- soft_dirty"),
            9,
            "unknown word 'soft_dirty'; one of --- r--",
        ),
        (to_arm64("A+16 rw-", "A+16 --x"), 9, "unknown word '--x'; one of --- r-- rw- r-x rwx may"),
        (to_arm64("A+16 rw-", "pfn=0x4000000000 rw-"), 9, "it has at most 38 bits here"),
        (to_arm64("write A+5", "write pfn=0x1000000000"), 21, "it has at most 36 bits here"),
        (
            to_arm64("offset=0x1000\n", "offset=0x1000 soft_dirty\n"),
            20,
            "unknown word 'soft_dirty' for swap; on arm64: uffd exclusive",
        ),
        (to_powerpc("vma", "config: page_shift=13\nvma"), 4, "powerpc must be 16 or 12, got 13"),
        (to_powerpc("vma", "config: uffd_wp=y\nvma"), 4, "powerpc has no uffd_wp; it must be off"),
        (to_powerpc("vma", "config: bbml3=y\nvma"), 4, "powerpc has no bbml3; it must be off"),
        (to_powerpc("pte 15", "pte 15..32"), 22, "entry '15..32' must be N, or FIRST..LAST"),
        (to_powerpc("pte 15: raw 0x80", "pte 15..32: raw 0x80"), 22, "of 0..31"),
        (to_powerpc("vma", "table_addr: 0x1000\nvma"), 4, "must be a multiple of 0x10000"),
        (to_powerpc("vma", "table_addr: 0x1f0000\nvma"), 4, "its last entry is at 0x1f0000"),
        (to_powerpc("offset=0x1000", "offset=0x1000 uffd"), 21, "on powerpc: soft_dirty exclusive"),
        (to_powerpc("A+4 --x", "pfn=0x2000000000 --x"), 11, "it has at most 37 bits here"),
        (to_powerpc("A+4 --x", "A+4 --x rdonly"), 11, "one of --- r-- rw- r-x rwx --x may come"),
    ],
)
def test_errors_name_file_line_and_what_is_right(text, line, message):
    with pytest.raises(CaseError) as caught:
        parse_case(text, "a.case")
    assert str(caught.value).startswith(f"a.case:{line}: ")
    assert message in str(caught.value)


# corpus/README.md says it, too.

README = (ROOT / "corpus" / "README.md").read_text()


def table_row(start: str) -> list[str]:
    """The cells of the row of the table of architectures that begins with `start`."""
    chapter = README[README.index("## Architectures") :]
    line = next(line for line in chapter.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_readme_has_every_architecture():
    assert tuple(table_row("|")) == ARCHES
    assert table_row("pages") == ["4 KiB, 12", "4 KiB, 12", "64 KiB, 16; or 4 KiB, 12"]


@pytest.mark.parametrize("arch", ARCHES)
def test_readme_has_the_letters_right(arch):
    layout = next(lay for lay in ALL if lay.arch == arch)
    names = vocabulary_of(layout)

    def fields(word: int) -> set[str]:
        return {name for name, mask in names.fields.items() if word & mask}

    column = ARCHES.index(arch)
    words = names.entries.words
    assert set(table_row("`r--` is")[column].split(", ")) == fields(words["r--"])
    assert set(table_row("`---` is")[column].split(", ")) == fields(words["---"])
    besides = table_row("`rw-` is besides")[column].split(";")[0]
    assert {besides} == fields(words["rw-"]) - fields(words["r--"])
    flips = table_row("bits of `hardware`")[column].replace("`", "").split(", ")
    assert set(flips) == fields(int(layout.hardware_bits))


def test_readme_example_is_canonical():
    example = README[README.index("    midfolio-case 1") :].split("\n\n")[0]
    text = "".join(line.removeprefix("    ") + "\n" for line in example.splitlines())
    parsed = parse_case(text)
    assert format_case(parsed.case, comments=parsed.comments, expect=parsed.expect) == text


def test_a_folio_of_pages_of_64k_is_found_by_its_pfn():
    layout = BY_NAME["powerpc-64K"]
    word = with_page(layout, int(layout.protection_map[9] | layout.swap.always_set), 0x12341)
    case = plain_case(layout, (word, word + (1 << 16)), folios=(Folio(0x12340, 4),))
    assert "pte 0..1: A+1 r-- accessed\n" in survives(case)
