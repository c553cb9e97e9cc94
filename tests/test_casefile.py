"""The text form of cases: equal cases have equal text, and errors help.

That nothing is lost, on any layout, is tests/test_casefile_layouts.py.
"""

import base64
import contextlib
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import case as cases_module
from harness.case import Call, Case, CaseError, Folio, Mm, Vma
from harness.casefile import (
    MAX_BYTES,
    Expect,
    case_id,
    case_line,
    format_case,
    parse_case,
    parse_case_line,
    read_case,
)
from mm import flags
from mm.version import Config

VM = sum(int(flags.VM_FLAGS[n]) for n in ("READ", "WRITE", "MAYREAD", "MAYWRITE", "MAYEXEC"))

MIDDLE = """\
midfolio-case 1
# The range starts inside the folio.
arch: x86_64
kernel: 7.3
vma: anon READ WRITE MAYREAD MAYWRITE MAYEXEC
range: [1, 4)
newprot: r-- accessed
cp: TRY_CHANGE_WRITABLE
folio A: pfn=0x12340 pages=4 anon exclusive=x.xx
pte 0: A+0 r--
pte 1..3: A+1 r-- accessed
hardware 2: dirty
expect: agree
expect: diverge cow-write target=zoo:first-page-is-folio-head
"""

MIDDLE_CASE = Case(
    vma=Vma(VM),
    call=Call(cp_flags=1, newprot=0x8000_0000_0000_0025, start=1, end=4),
    ptes=(
        0x8000_0000_1234_0005,
        0x8000_0000_1234_1025,
        0x8000_0000_1234_2025,
        0x8000_0000_1234_3025,
    ),
    folios=(Folio(0x12340, 4, int(flags.FOLIO_ANON), 0, 0b1101),),
    hardware=((2, 0x40),),
)

# Facts that are not at their defaults.
FACTS = """\
midfolio-case 1
arch: x86_64
kernel: 7.3
config: soft_dirty=n zero_pfn=0x10
vma: file uffd_wp_unpopulated SHARED
mm: users=2 toptier_nodes=0x3
table_addr: 0x1ff000
range: [0, 1)
newprot: raw 0x0
pte 0: none
"""

# Every kind of entry.
KINDS = """\
midfolio-case 1
arch: x86_64
kernel: 7.3
vma: file uffd_wp_unpopulated READ SHARED
mm: users=2 toptier_nodes=0x3
table_addr: 0x7f0000001000
range: [0, 20)
newprot: --- accessed
folio A: pfn=0x12340 pages=64 file_lru nid=1 exclusive=x*63.
folio B: pfn=0x20000 pages=2 anon ksm
pte 0..2: none
pte 3: marker uffd-wp
pte 4: marker poison
pte 5: marker guard
pte 6: swap type=0 offset=0x1
pte 7: migration-write A+5
pte 8: migration-write A+5 young dirty
pte 9..10: migration-read B+0 soft_dirty
pte 11: hwpoison pfn=0x7
pte 12: device-private-write offset=0x400000000 exclusive
pte 13..14: pfn=0x2f7d r-- accessed special
pte 15: A+63 rwx accessed dirty pkey=5
pte 16: A+3 ---
pte 17: A+3 r-x -user
pte 18: pfn=0x0 present write global unnamed=0x1f
pte 19: raw 0x20
"""

# Markers, swap and migration entries: words that compiled kernels made.
KIND_WORDS = {
    3: 0xFFFF_FFFF_FFFF_FC00,
    4: 0xFFFF_FFFF_FFFF_FA00,
    5: 0xFFFF_FFFF_FFFF_F600,
    6: 0x07FF_FFFF_FFFF_FC00,
    7: 0xDFFF_FFFF_FDB9_7400,
    8: 0xDFFF_E7FF_FDB9_7400,
    16: (0x12343 << 12 ^ 0x000F_FFFF_FFFF_F000) | 0x100,
    17: 0x0000_0000_1234_3001,
    18: 0x01F0_0000_0000_0103,
    19: 0x20,
}


def edit(old: str, new: str) -> str:
    """The text of MIDDLE with one piece replaced."""
    assert MIDDLE.count(old) == 1
    return MIDDLE.replace(old, new)


# The canonical text.


def test_a_case_by_hand_means_these_words():
    parsed = parse_case(MIDDLE)
    assert parsed.case == MIDDLE_CASE
    assert parsed.comments == ("The range starts inside the folio.",)
    assert parsed.expect == (
        Expect(),
        Expect(target="zoo:first-page-is-folio-head", divergence="cow-write"),
    )


def test_each_kind_of_entry_means_these_words():
    case = parse_case(KINDS).case
    assert {i: case.ptes[i] for i in KIND_WORDS} == KIND_WORDS
    assert case.folios[0].exclusive == (1 << 63) - 1


def test_three_texts_are_canonical_to_the_byte():
    middle = parse_case(MIDDLE)
    assert format_case(middle.case, comments=middle.comments, expect=middle.expect) == MIDDLE
    assert format_case(parse_case(KINDS).case) == KINDS
    assert format_case(parse_case(FACTS).case) == FACTS


def test_order_blanks_names_and_number_bases_do_not_matter():
    lines = MIDDLE.replace("folio A:", "folio HEAD2:").replace("A+", "HEAD2+").splitlines()[1:]
    text = "\n".join(["midfolio-case 1  ", "", *reversed(lines)])
    text = text.replace("pfn=0x12340", "pfn=74560").replace(": ", " :\t ")
    assert parse_case(text).case == MIDDLE_CASE


def test_comments_of_line_ends_are_kept():
    parsed = parse_case(edit("pte 0: A+0 r--\n", "pte 0: A+0 r-- # not ours #2\n\n  # own line\n"))
    assert parsed.case == MIDDLE_CASE
    assert parsed.comments == ("The range starts inside the folio.", "not ours #2", "own line")
    again = parse_case(format_case(parsed.case, comments=parsed.comments))
    assert again.comments == parsed.comments


def test_runs_end_where_a_folio_ends():
    case = MIDDLE_CASE.replace(
        folios=(Folio(0x12340, 2), Folio(0x12342, 2)), hardware=(), call=Call(0, 0x25, 0, 4)
    )
    text = format_case(case)
    assert "pte 1: A+1 r-- accessed\npte 2..3: B+0 r-- accessed\n" in text


# Names of a case.


def test_the_id_is_of_the_case_alone():
    bare = format_case(MIDDLE_CASE)
    assert "expect" not in bare
    assert "#" not in bare
    assert case_id(parse_case(MIDDLE).case) == case_id(parse_case(bare).case)
    assert case_id(MIDDLE_CASE) != case_id(MIDDLE_CASE.replace(mm=Mm(users=2)))
    assert len(case_id(MIDDLE_CASE)) == 8


def test_a_case_line_is_one_word_of_safe_characters():
    line = case_line(MIDDLE_CASE)
    assert line.startswith("case:")
    assert line.removeprefix("case:").replace("-", "").replace("_", "").isalnum()
    assert parse_case_line(f"  {line}\n").case == MIDDLE_CASE


def packed(content: bytes) -> str:
    return "case:" + base64.urlsafe_b64encode(zlib.compress(content)).decode().rstrip("=")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("case:", "must be 'case:' and letters"),
        ("case:a b", "must be 'case:' and letters"),
        ("x86_64:7.3:1:42:7", "must be 'case:' and letters"),
        ("case:AAAAA", "is damaged"),
        (case_line(MIDDLE_CASE)[:-8], "is cut or too long"),
        (packed(b"\n" * (MAX_BYTES + 1)), f"unpacks to more than {MAX_BYTES} bytes"),
        (packed(b"nonsense"), ":1: 'nonsense' must be 'midfolio-case 1'"),
        (packed(MIDDLE.encode().replace(b"7.3", b"7.9")), ":4: unknown kernel '7.9'"),
    ],
)
def test_a_bad_case_line_is_refused(line, message):
    with pytest.raises(CaseError) as caught:
        parse_case_line(line)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


# Errors.

PTES = "pte 0: A+0 r--\npte 1..3: A+1 r-- accessed\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "'' must be 'midfolio-case 1', the format and its version"),
        (edit("midfolio-case 1", "midfolio-case 2"), 1, "'midfolio-case 2' must be"),
        (edit("kernel: 7.3", "colour: 7.3"), 4, "unknown key 'colour'; a line is 'key: words'"),
        (edit("kernel: 7.3", "kernel 7.3"), 4, "unknown key 'kernel 7.3'"),
        (edit("kernel: 7.3", "kernel x: 7.3"), 4, "'kernel x:' must be 'kernel:'"),
        (edit("hardware 2: dirty", "hardware: dirty"), 12, "must be 'hardware ENTRY:'"),
        (edit("kernel: 7.3\n", ""), 13, "no 'kernel:' line up to here; a case has arch, kernel"),
        (edit("kernel: 7.3", "kernel: 7.3\nkernel: 7.3"), 5, "the first is line 4"),
        (edit("kernel: 7.3", "kernel: 5.0"), 4, "unknown kernel '5.0'; known: 6.12, 6.16"),
        (edit("arch: x86_64", "arch: vax"), 3, "unknown arch 'vax'; known: x86_64, arm64, powerpc"),
        (
            edit("arch: x86", "config: page_shift=60\narch: x86"),
            3,
            "page_shift of x86_64 must be 12, got 60",
        ),
        (edit("arch: x86", "config: thp=y\narch: x86"), 3, "unknown config 'thp=y'; known: soft"),
        (edit("arch: x86", "config: uffd_wp=1\narch: x86"), 3, "must be uffd_wp=y or uffd_wp=n"),
        (edit("arch: x86", "mm: users=0\narch: x86"), 3, "mm users must be 1..4294967296, got 0"),
        (edit("arch: x86", "mm: users=1 users=2\narch: x86"), 3, "users is given twice"),
        (edit("arch: x86", "table_addr: 0x1\narch: x86"), 3, "must be a multiple of 0x1000"),
        (edit("arch: x86", "table_addr: 0x1ff000\narch: x86"), 3, "its last entry is at 0x1ff000"),
        (edit("anon READ", "READ"), 5, "must say one of anon and file"),
        (edit("anon READ", "anon READ READ"), 5, "'READ' is given twice"),
        (edit("anon READ", "anon VM_READ"), 5, "unknown word 'VM_READ'; flags, without VM_: READ"),
        (edit("[1, 4)", "[1, 4]"), 6, "range '[1, 4]' must be '[START, END)'"),
        (edit("[1, 4)", "[1, 5)"), 6, "must be non-empty and inside the window [0, 4)"),
        (edit("newprot: r-- accessed", "newprot:"), 7, "nothing is given; letters like r-x"),
        (edit("newprot: r-- accessed", "newprot: rx"), 7, "unknown word 'rx'; one of --- r--"),
        (edit("TRY_CHANGE_WRITABLE", "TRY"), 8, "unknown word 'TRY'; flags, without MM_CP_: TRY_"),
        (edit("folio A", "folio a"), 9, "folio name 'a' must be capitals, then digits"),
        (edit("anon exclusive", "big exclusive"), 9, "unknown word 'big' for a folio"),
        (edit("pages=4 ", ""), 9, "no pages= for a folio"),
        (edit("x.xx", "x.x"), 9, "exclusive=x.x must have exactly 4 characters"),
        (edit("x.xx", "x*5"), 9, "exclusive=x*5 must have exactly 4 characters"),
        (edit("x.xx", "1011"), 9, "exclusive=1011 must be x and . for each page"),
        (edit("pfn=0x12340", "pfn=0x12342"), 9, "needs a pfn that is a multiple of 0x4"),
        (edit("pfn=0x12340", "pfn=0x10000000"), 9, "its last page must be <= 0xfffffff"),
        (edit("pages=4", "pages=99999999999"), 9, "must be a power of two up to 4096"),
        (edit("anon exclusive", "anon nid=64 exclusive"), 9, "nodes are 0..63"),
        (edit("folio A", "folio B: pfn=0x12342 pages=2\nfolio A"), 9, "overlaps or precedes"),
        (
            edit("folio A", "folio A: pfn=1 pages=1\nfolio A"),
            10,
            "second folio A; the first is line 9",
        ),
        (edit("A+0 r--", "B+0 r--"), 10, "no folio B is given for 'B+0'; given: A"),
        (edit("A+0 r--", "A+4 r--"), 10, "page A+4 is not there; A ends at +3"),
        (edit("pte 1..3: A+1", "pte 1..3: A+2"), 11, "page A+4 is not there; A ends at +3"),
        (edit("A+0 r--", "pfn=0x10000000000 r--"), 10, "it has at most 40 bits here"),
        (edit("A+0 r--", "zero r--"), 10, "must begin with a page (A+0, pfn=0x...), none, raw"),
        (edit("A+0 r--", "A+0 r-- young"), 10, "unknown word 'young'; one of --- r--"),
        (edit("A+0 r--", "A+0 r-- dirty dirty"), 10, "field dirty is given twice"),
        (edit("A+0 r--", "A+0 r-- dirty=1"), 10, "field dirty is one bit"),
        (edit("A+0 r--", "A+0 r-- pkey"), 10, "field pkey needs a value, pkey=0..0xf"),
        (edit("A+0 r--", "A+0 r-- pkey=16"), 10, "pkey=16 does not fit; it must be 0..0xf"),
        (edit("A+0 r--", ""), 10, "nothing is given; a page (A+0"),
        (edit("A+0 r--", "raw 12"), 10, "'raw 12' must be 'raw 0x...', 64 bits"),
        (edit("A+0 r--", "raw 0x10000000000000000"), 10, "at most 64 bits"),
        (edit("A+0 r--", "none none"), 10, "'none none' must begin with a page"),
        (edit("A+0 r--", "swap offset=1"), 10, "'offset=1' must be type=0..0x1f"),
        (edit("A+0 r--", "swap type=1 offset=0x4000000000000"), 10, "must be offset=0..0x3ff"),
        (edit("A+0 r--", "swap type=1 offset=1 young"), 10, "unknown word 'young' for swap"),
        (edit("A+0 r--", "swap type=1 offset=1 uffd uffd"), 10, "word 'uffd' is given twice"),
        (edit("A+0 r--", "marker"), 10, "a marker is uffd-wp, poison, guard or offset=0x..."),
        (edit("A+0 r--", "hwpoison"), 10, "hwpoison needs a page (A+0, pfn=0x...) or offset="),
        (edit("A+0 r--", "hwpoison A+0 young"), 10, "unknown word 'young' for hwpoison"),
        (edit("A+0 r--", "device-exclusive-write A+0"), 10, "kernel 7.3 has no device-exclusive-w"),
        (edit("pte 0", "pte 0..1"), 11, "second pte 1; each entry is given once"),
        (edit("pte 0", "pte 512"), 10, "entry '512' must be N, or FIRST..LAST"),
        (edit("pte 1..3", "pte 3..1"), 11, "entry '3..1' must be N, or FIRST..LAST"),
        (edit("pte 0: A+0 r--\n", ""), 13, "pte 0 is not given; entries from 0 to the last"),
        (edit(PTES, ""), 12, "pte 0 is not given"),
        (edit("hardware 2: dirty", "hardware 4: dirty"), 12, "outside the window [0, 4)"),
        (edit("hardware 2: dirty", "hardware 2: write"), 12, "must be among 0x60, got 0x2"),
        (
            edit("hardware 2: dirty", "hardware 2: dirty\nhardware 2: dirty"),
            13,
            "second hardware 2",
        ),
        (edit("agree", "maybe"), 13, "expectation 'maybe' must be 'agree', 'agree target=NAME'"),
        (edit("cow-write ", ""), 14, "must be 'agree', 'agree target=NAME', or 'diverge CLASS"),
        (edit("expect: agree", "expect: agree\nexpect: agree"), 14, "second expectation for any"),
        (
            edit("inside", "insid\u00e9"),
            2,
            "column 25 has '\u00e9'; a case file is printable ASCII",
        ),
        (edit("7.3\n", "7.3\r\n"), 4, "has '\\r'; a case file is printable ASCII"),
    ],
)
def test_errors_name_file_line_and_what_is_right(text, line, message):
    with pytest.raises(CaseError) as caught:
        parse_case(text, "a.case")
    assert str(caught.value).startswith(f"a.case:{line}: ")
    assert message in str(caught.value)


def test_a_file_is_read_and_its_errors_name_it(tmp_path):
    path = tmp_path / "middle.case"
    path.write_text(MIDDLE)
    assert read_case(path).case == MIDDLE_CASE
    path.write_bytes(MIDDLE.encode().replace(b"inside", b"insid\xc3\xa9"))
    with pytest.raises(CaseError, match=r"middle\.case:2: column 25 has"):
        read_case(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(CaseError, match=rf"middle\.case:1: longer than {MAX_BYTES} bytes"):
        read_case(path)
    with pytest.raises(CaseError, match=r"absent\.case:1: cannot be read: No such file"):
        read_case(tmp_path / "absent.case")
    with pytest.raises(CaseError, match=r":1: cannot be read: Is a directory"):
        read_case(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"comments": ("two\nlines",)}, "must be one line of printable ASCII"),
        ({"comments": ("caf\u00e9",)}, "must be one line of printable ASCII"),
        ({"expect": (Expect(divergence="cow-write"),)}, "'diverge CLASS target=NAME'"),
        ({"expect": (Expect("two words"),)}, "'diverge CLASS target=NAME'"),
        ({"expect": (Expect("a"), Expect("a", "cow-write"))}, "second expectation for a"),
    ],
)
def test_what_would_not_read_back_is_not_written(arguments, message):
    with pytest.raises(CaseError, match="cannot be written") as caught:
        format_case(MIDDLE_CASE, **arguments)
    assert message in str(caught.value)


def test_a_case_that_breaks_a_rule_is_not_written():
    with pytest.raises(CaseError, match="cannot be written: a window has"):
        format_case(MIDDLE_CASE.replace(ptes=()))
    with pytest.raises(
        CaseError, match="cannot be written: page_shift of x86_64 must be 12, got 10"
    ):
        format_case(MIDDLE_CASE.replace(config=Config(page_shift=10)))


@given(st.text(alphabet=st.characters(min_codepoint=9, max_codepoint=255), max_size=60), st.data())
def test_damaged_text_is_a_case_or_an_error(junk, data):
    at = data.draw(st.integers(0, len(KINDS)))
    cut = data.draw(st.integers(0, 20))
    text = KINDS[:at] + junk + KINDS[at + cut :]
    # Anything else that is raised fails the test.
    with contextlib.suppress(CaseError):
        parsed = parse_case(text)
        assert parsed.case.check() is None


def test_reading_a_case_does_not_start_the_compiler():
    code = "import sys, harness.casefile; sys.exit('numba' in sys.modules)"
    root = cases_module.__file__.rsplit("/", 2)[0]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
