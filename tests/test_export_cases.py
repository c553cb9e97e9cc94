"""What `midfolio export` takes, what it refuses, and what it says of both."""

import re
import shutil
from pathlib import Path

import pytest

from harness.case import CaseError
from harness.casefile import read_case
from harness.export.text import layout_of
from tests.exported import HISTORICAL, MIXED, ROOT, case_of, text_of
from tests.test_cli import assert_one_line, midfolio


def test_the_head_of_the_historical_case_is_exclusive_beside_the_window() -> None:
    text = text_of(HISTORICAL)
    assert re.search(r'exclusive += "x\.\.\."', text)
    assert "Replay: midfolio replay case:" in text


def test_what_a_program_does_not_show_is_said_in_it() -> None:
    def said(name: str) -> tuple[str, tuple[tuple[str, str | None], ...]]:
        parsed = read_case(ROOT / "corpus" / f"{name}.case")
        layout = layout_of(parsed.case, name, parsed.comments, parsed.expect)
        return layout.text, layout.apart

    text, apart = said(HISTORICAL)
    assert apart == (("zoo:first-page-is-folio-head", "page 1 shows w"),)
    assert "A kernel like zoo:first-page-is-folio-head fails: page 1 shows w." in text
    assert "# The batch is page 1 of the folio" in text
    text, apart = said("mutants/mkwrite-keeps-saved-dirty")
    assert apart == (("zoo:mkwrite-keeps-saved-dirty", None),)
    assert "leaves no entry that shows here" in text
    assert said("mutants/new-not-advanced")[1][0][1] == "page 1 has another content"
    assert said("mutants/marker-in-any-vma")[1][0][1] == "page 0 shows u"


def test_a_name_may_hold_anything() -> None:
    name = 'a */ "b" \\ # ?? \u00e9 c'
    layout = layout_of(case_of(HISTORICAL), name)
    assert layout.text.count("*/") == 1
    assert '.name = "a * / _b_ _ _ __ _xe9 c"' in layout.text
    assert layout.text.isascii()


@pytest.mark.parametrize(
    ("name", "what", "instead"),
    [
        ("seeds/arm64-two-folded-blocks", "arch arm64", "x86_64 can"),
        ("seeds/none-gets-uffd-wp-marker", "a private mapping of a file", "(file SHARED) can be"),
        ("mutants/migration-read-not-exclusive", "neither a page nor empty", "pages, holes and"),
        ("seeds/swap-entries-uffd-wp", "neither a page nor empty", "markers of userfaultfd can"),
        ("seeds/rwp-set", "UFFD_RWP", "UFFD_WP) can"),
        ("seeds/numa-same-node", "a scan of NUMA", "mprotect(2) and userfaultfd's can"),
        ("seeds/pfnmap", "PFNMAP", "anonymous memory, shared files and shmem can"),
        ("seeds/hardware-bits-order-0", "hardware lines", "cases without can"),
        ("seeds/uffd-wp-resolve", "TRY_CHANGE_WRITABLE is missing", "exactly where it has WRITE"),
        ("seeds/wild-try-without-vm-write", "TRY_CHANGE_WRITABLE is passed", "where it has WRITE"),
        ("seeds/soft-dirty-merged-tracking-on", "tracking is armed", "VMAs with SOFTDIRTY can"),
        ("seeds/pkey-change", "newprot", "theirs can"),
        ("seeds/large-folio-two-tables", "has 1024 pages", "up to 256 can"),
        ("seeds/adjacent-foreign-folio", "multiples of their size", "such addresses can"),
        ("seeds/folio-at-two-places", "at two places", "follow each other can"),
        ("seeds/shared-write-by-merged-dirty", "pte 3 maps another page", "one place"),
        ("seeds/wild-bad-map", "a program cannot put there", "anon, dirty"),
        ("mutants/wild-mkuffd-keeps-write", "newprot is writable", "without write can"),
    ],
)
def test_what_no_program_can_build_is_refused(name: str, what: str, instead: str) -> None:
    with pytest.raises(CaseError) as raised:
        text_of(name)
    assert re.fullmatch(
        f"cannot be exported: .*{re.escape(what)}.*; .*{re.escape(instead)}.*", str(raised.value)
    )


def test_a_file_has_one_page_at_each_place() -> None:
    case = case_of("shmem")
    words = (case.ptes[0] + (1 << 20), *case.ptes[1:])
    with pytest.raises(CaseError, match="pte 0 maps another page than folio 0x12340 has there"):
        layout_of(case.replace(ptes=words), "wrong")


def test_shared_memory_with_userfaultfd_is_never_upgraded() -> None:
    """vma_wants_writenotify() compares page protections that differ while they change."""
    case = case_of("shmem-uffd")
    wrong = case.replace(call=case.call.__class__(1, case.call.newprot, 1, 6))
    with pytest.raises(CaseError, match=r"is passed; .* with UFFD_WP never"):
        layout_of(wrong, "wrong")


def test_several_cases_and_directories_make_one_program(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in (MIXED, "seeds/rwp-set"):
        shutil.copy(ROOT / "corpus" / f"{name}.case", corpus)
    historical = str(ROOT / "corpus" / f"{HISTORICAL}.case")
    place = tmp_path / "made" / "on" / "the" / "way" / "two.c"
    done = midfolio("export", "--c", historical, "corpus", "-o", str(place), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("corpus/rwp-set.case: cannot be exported: ")
    assert done.stdout == (
        f"export: wrote {place}: 2 cases; 1 left out; "
        "fails on a kernel like zoo:first-page-is-folio-head\n"
    )
    assert [path.name for path in place.parent.iterdir()] == ["two.c"]
    names = re.findall(r'\.name = "(.+)"', place.read_text())
    assert names == ["first-page-is-folio-head", "corpus/mixed-exclusivity-mid-folio"]
    # What is named itself must go in, and nothing is written without it.
    place.unlink()
    named = midfolio(
        "export", "--c", historical, "corpus/rwp-set.case", "-o", str(place), cwd=tmp_path
    )
    assert_one_line(named, 2, "corpus/rwp-set.case: cannot be exported: ")
    assert not place.exists()


def test_without_a_case_it_is_5_and_with_none_that_fits_2(tmp_path: Path) -> None:
    assert_one_line(midfolio("export", "--c", str(tmp_path)), 5, "no case in")
    shutil.copy(ROOT / "corpus" / "seeds" / "rwp-set.case", tmp_path)
    done = midfolio("export", "--c", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith("none of 1 cases can be exported")
