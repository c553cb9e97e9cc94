"""Exported programs: compiled by the real compiler and run on this machine's kernel."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.case import Case, CaseError
from harness.casefile import parse_case, read_case
from harness.export.plan import plan_of
from harness.export.sight import expected_of, shown_by
from harness.export.text import Layout, layout_of, program
from tests.machine_settings import THP, alone
from tests.test_cli import assert_one_line, midfolio

ROOT = Path(__file__).parents[1]
HISTORICAL = "mutants/first-page-is-folio-head"
MIXED = "seeds/mixed-exclusivity-mid-folio"
TMPFS = Path("/dev/shm")

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER")

REGISTERED = "file READ WRITE SHARED MAYREAD MAYWRITE MAYEXEC MAYSHARE UFFD_WP SOFTDIRTY"
# Shared memory, of which the corpus has no case that a program can build.
OWN = {
    # Nobody asks for first writes: what is clean is as writable as what is dirty.
    "shmem": """
        vma: file READ WRITE SHARED MAYREAD MAYWRITE MAYEXEC MAYSHARE SOFTDIRTY
        range: [1, 4)
        newprot: rw- accessed
        folio A: pfn=0x12340 pages=4
        pte 0..1: A+0 r-- accessed soft_dirty
        pte 2..3: A+2 r-- accessed soft_dirty saved_dirty
        """,
    # What userfaultfd protects stays so; the rest is never upgraded in a shared mapping.
    "shmem-uffd": f"""
        vma: {REGISTERED}
        range: [1, 6)
        newprot: r-- accessed
        folio A: pfn=0x12340 pages=4
        pte 0: A+0 r-- accessed soft_dirty
        pte 1: A+1 r-- accessed uffd soft_dirty saved_dirty
        pte 2..3: A+2 r-- accessed soft_dirty
        pte 4: marker uffd-wp
        pte 5: none
        """,
    # A hole becomes a marker, so that what is written there is stopped, too.
    "shmem-protect": f"""
        vma: {REGISTERED}
        range: [0, 4)
        newprot: r-- accessed
        cp: UFFD_WP
        folio A: pfn=0x12340 pages=2
        pte 0..1: A+0 r-- accessed soft_dirty saved_dirty
        pte 2: none
        pte 3: marker uffd-wp
        """,
    "shmem-resolve": f"""
        vma: {REGISTERED}
        range: [0, 3)
        newprot: r-- accessed
        cp: UFFD_WP_RESOLVE
        folio A: pfn=0x12340 pages=2
        pte 0..1: A+0 r-- accessed uffd soft_dirty
        pte 2: marker uffd-wp
        """,
    # Pages of their own in a file: no batch, so nothing merges.
    "file-small": """
        vma: file READ WRITE SHARED MAYREAD MAYWRITE MAYEXEC MAYSHARE SOFTDIRTY
        range: [1, 8)
        newprot: r-- accessed
        cp: TRY_CHANGE_WRITABLE
        pte 0..2: pfn=0x12340 r-- accessed soft_dirty
        pte 3..4: pfn=0x12343 r-- accessed soft_dirty saved_dirty
        pte 5: pfn=0x12345 r-- accessed soft_dirty
        pte 6: pfn=0x12346 r-- accessed soft_dirty saved_dirty
        pte 7: none
        """,
    # A private mapping of a file: its pages, and copies, one of which a child shares.
    "private-file": """
        vma: file READ WRITE MAYREAD MAYWRITE MAYEXEC SOFTDIRTY
        range: [1, 6)
        newprot: r-- accessed
        cp: TRY_CHANGE_WRITABLE
        folio A: pfn=0x12340 pages=4 file_lru
        folio B: pfn=0x12350 pages=1 anon exclusive=x
        folio C: pfn=0x12360 pages=1 anon
        pte 0..1: A+0 r-- accessed soft_dirty
        pte 2: B+0 r-- accessed soft_dirty saved_dirty
        pte 3: none
        pte 4: C+0 r-- accessed soft_dirty saved_dirty
        pte 5: pfn=0x12390 r-- accessed soft_dirty
        """,
    # One page that a child shares.
    "cow": """
        vma: anon READ WRITE MAYREAD MAYWRITE MAYEXEC SOFTDIRTY
        range: [0, 1)
        newprot: r-- accessed
        cp: TRY_CHANGE_WRITABLE
        folio A: pfn=0x12340 pages=1 anon
        pte 0: A+0 r-- accessed soft_dirty saved_dirty
        """,
    # Denied, so only pagemap tells that the bit stays.
    "uffd-to-none": """
        vma: anon MAYREAD MAYWRITE MAYEXEC UFFD_WP SOFTDIRTY
        range: [1, 4)
        newprot: --- accessed
        folio A: pfn=0x12340 pages=4 anon exclusive=xx.x
        pte 0: A+0 rw- accessed dirty soft_dirty
        pte 1: A+1 rw- accessed dirty soft_dirty
        pte 2..3: A+2 r-- accessed uffd soft_dirty
        """,
}

# What each must show, by page; `?`: a batch may merge a dirty bit into it.
EXPECTED = {
    HISTORICAL: ".f..",
    MIXED: "...wffww",
    "seeds/to-prot-none": ".---",
    "seeds/uffd-wp-stays-on-mprotect": "wuuw",
    "seeds/uffd-wp-set": "uuuu",
    "seeds/uffd-wp-resolve-upgrade": ".fww",
    "seeds/none-anon-unpopulated": ".uu",
    "mutants/upgrade-ignores-uffd": "u",
    "mutants/upgrade-judged-on-old": "w",
    "witnesses/write-by-merged-dirty": ".?w.",
    "witnesses/flush-elided": ".fw.",
    "file-small": ".ffwwfw.",
    "private-file": ".fw.ff",
    "seeds/exec-change": "----",
    "shmem": ".www",
    "shmem-uffd": ".uffuf",
    "shmem-protect": "uuuu",
    "shmem-resolve": "fff",
    "uffd-to-none": ".---",
    "cow": "f",
}
# Of those, what a kernel with a known bug would show.
BUGS = {
    HISTORICAL: ("zoo:first-page-is-folio-head", ".w.."),
    MIXED: ("zoo:first-page-is-folio-head", "...wwfwf"),
    "seeds/uffd-wp-resolve-upgrade": ("zoo:first-page-is-folio-head", ".wfw"),
    "mutants/upgrade-ignores-uffd": ("zoo:upgrade-ignores-uffd", "w"),
    "mutants/upgrade-judged-on-old": ("zoo:upgrade-judged-on-old", "f"),
}


def case_of(name: str) -> Case:
    if name in OWN:
        lines = ["midfolio-case 1", "arch: x86_64", "kernel: 7.3", *OWN[name].split("\n")]
        return parse_case("\n".join(line.strip() for line in lines if line.strip()) + "\n").case
    return read_case(ROOT / "corpus" / f"{name}.case").case


def exported(*names: str) -> list[Layout]:
    return [layout_of(case_of(name), name) for name in names]


def text_of(*names: str) -> str:
    return program(exported(*names))


def settings() -> dict[Path, str]:
    return {path: path.read_text() for path in THP.glob("hugepages-*/*enabled")}


class Ran(NamedTuple):
    """What a program said."""

    code: int
    lines: list[str]
    results: dict[str, str]  # by layout, its line
    told: dict[str, str]  # by layout, what it said before


def parse(code: int, output: str) -> Ran:
    lines = output.splitlines()
    assert lines[0] == "TAP version 13"
    results: dict[str, str] = {}
    told: dict[str, str] = {}
    said: list[str] = []
    for line in lines[2:]:
        match = re.fullmatch(r"(?:not )?ok (\d+) (\S+)( # SKIP .+)?", line)
        if not match:
            assert line.startswith("#")
            said.append(line)
            continue
        results[match[2]], told[match[2]], said = line, "\n".join(said), []
        assert int(match[1]) == len(results)
    assert lines[1] == f"1..{len(results)}" or lines[1].startswith("1..0 # SKIP ")
    return Ran(code, lines, results, told)


# The first as a reader does it, the last as the kernel's selftests do; the least takes least time.
PLAIN, QUICK, SELFTEST = ("-O2",), ("-O0",), ("-O2", "-D_GNU_SOURCE=", "-std=gnu11")


def built(text: str, directory: Path, flags: tuple[str, ...] = QUICK) -> Path:
    source, binary = directory / "case.c", directory / "case"
    source.write_text(text)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, *warnings, "-o", binary, source], check=True)
    return binary


def run(
    text: str,
    directory: Path,
    *arguments: str,
    cwd: Path | None = None,
    flags: tuple[str, ...] = QUICK,
) -> Ran:
    """What the program `text` said; settings are as before, whatever it did."""
    binary = built(text, directory, flags)
    with alone():
        before = settings()
        try:
            done = subprocess.run(
                [binary, *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                cwd=cwd or directory,
            )
            assert settings() == before
        finally:
            put_back(before)
    assert done.stderr == ""
    return parse(done.returncode, done.stdout)


def put_back(before: dict[Path, str]) -> None:
    for path, text in settings().items():
        if text != before[path]:
            path.write_text(re.search(r"\[(\w+)\]", before[path])[1])


def result_or_skip(ran: Ran, name: str) -> str:
    line = ran.results[name]
    if "# SKIP" in line:
        pytest.skip(line)
    return line


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All layouts, as they are exported."""
    return run(text_of(*EXPECTED), tmp_path_factory.mktemp("sound"), "-e", flags=PLAIN)


@needs_cc
@pytest.mark.parametrize("name", EXPECTED)
def test_a_sound_kernel_passes(name: str, sound: Ran) -> None:
    assert result_or_skip(sound, name).startswith("ok ")
    seen = re.search(r"expected +(\S+)\n# +seen +(\S+)$", sound.told[name])
    assert seen is not None
    assert seen[1] == EXPECTED[name]
    assert re.fullmatch(seen[1].replace(".", r"\.").replace("?", "[wf]"), seen[2])


@needs_cc
def test_the_outcome_is_of_all_layouts(sound: Ran) -> None:
    skipped = sum("# SKIP" in line for line in sound.results.values())
    passed = len(EXPECTED) - skipped
    assert sound.lines[-1] == (
        f"# Totals: pass:{passed} fail:0 xfail:0 xpass:0 skip:{skipped} error:0"
    )
    assert sound.code == (0 if passed else 4)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Layouts of which one thing is expected wrongly, or done wrongly by the program itself."""
    text = text_of(*EXPECTED)
    for name, other in WRONG.items():
        start = text.index(f'.name = "{name}"')
        end = text.index("\n\t},", start)
        entry = text[start:end]
        assert other[0] in entry
        text = text[:start] + entry.replace(*other) + text[end:]
    return run(text, tmp_path_factory.mktemp("wrong"), "-e")


# By layout: what stands in its entry, and what stands there instead.
WRONG = {
    MIXED: ('expected  = "...wffww"', 'expected  = "...wwfww"'),
    "seeds/to-prot-none": ('expected  = ".---"', 'expected  = ".--w"'),
    "seeds/uffd-wp-stays-on-mprotect": ('expected  = "wuuw"', 'expected  = "wuww"'),
    "seeds/uffd-wp-set": (".call = PROTECT", ".call = RESOLVE"),
    "seeds/uffd-wp-resolve-upgrade": (".call = RESOLVE", ".call = PROTECT"),
    "witnesses/write-by-merged-dirty": ('expected  = ".?w."', 'expected  = ".?f."'),
    "witnesses/flush-elided": ('clean     = ".c.."', 'clean     = "...."'),
    "shmem-uffd": ('remains   = ".u..u."', 'remains   = ".u...."'),
    "uffd-to-none": ('remains   = "..uu"', 'remains   = ".uuu"'),
    "shmem": (".after = PROT_READ | PROT_WRITE", ".after = PROT_READ"),
}


@needs_cc
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_fails(name: str, wrong: Ran) -> None:
    assert result_or_skip(wrong, name).startswith("not ok ")
    assert re.search(r"\n# +[ ]*\^", wrong.told[name])
    assert wrong.code == 1


@needs_cc
def test_what_is_not_wrong_does_not_fail_beside_it(wrong: Ran) -> None:
    assert not [name for name in EXPECTED if name not in WRONG and "not" in wrong.results[name]]


@pytest.fixture(scope="module")
def buggy(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Layouts that expect what a kernel with a bug shows: then a sound one must fail."""
    text = text_of(*BUGS)
    for name, (_, shows) in BUGS.items():
        start = text.index(f'.name = "{name}"')
        old = f'expected  = "{EXPECTED[name]}"'
        assert old in text[start:]
        text = text[:start] + text[start:].replace(old, f'expected  = "{shows}"', 1)
    return run(text, tmp_path_factory.mktemp("buggy"), "-e")


@needs_cc
@pytest.mark.parametrize("name", BUGS)
def test_a_kernel_with_the_bug_is_told_from_this_one(name: str, buggy: Ran) -> None:
    target, shows = BUGS[name]
    case = case_of(name)
    plan = plan_of(case)
    assert expected_of(case, plan) == EXPECTED[name]
    assert shown_by(case, plan, target) == shows
    assert shows != EXPECTED[name]
    assert result_or_skip(buggy, name).startswith("not ok ")


@needs_cc
@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        # A kernel with the bug writes without copying; shared memory does the same here. What is
        # expected is what it shows, so that the last look alone can tell.
        ("cow", "MAP_PRIVATE | MAP_ANONYMOUS;", "MAP_SHARED | MAP_ANONYMOUS;", "the child sees"),
        ("shmem", "MAP_PRIVATE : MAP_SHARED", "MAP_PRIVATE : MAP_PRIVATE", "the file has"),
        ("private-file", "? MAP_PRIVATE : MAP_SHARED", "? MAP_SHARED : MAP_SHARED", "the file has"),
        (MIXED, "\n\tcall();\n", "\n\tcall(), base[3 * PAGE]++;\n", "page 3 has another content"),
        (MIXED, "\n\tcall();\n", "\n\tcall(), abort();\n", "Aborted"),
    ],
)
def test_each_look_sees_what_it_is_for(
    name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    text = text_of(name)
    assert old in text
    for row, other in (('"f"', '"w"'), ('".www"', '".fww"'), ('".fw.ff"', '".??.?\\?"')):
        text = text.replace(f"expected  = {row}", f"expected  = {other}")
    ran = run(text.replace(old, new), tmp_path, "-e")
    assert result_or_skip(ran, name).startswith("not ok 1 ")
    assert says in ran.told[name]
    assert "^" not in ran.told[name]


@needs_cc
@pytest.mark.parametrize(
    ("when", "result", "times"), [("== 2", "ok 1", 1), (">= 0", "not ok 1", 2)]
)
def test_a_fault_too_many_must_show_each_time(
    when: str, result: str, times: int, tmp_path: Path
) -> None:
    old = "took = poke(place, WRITTEN);"
    text = text_of("mutants/upgrade-judged-on-old")
    assert old in text
    ran = run(text.replace(old, old[:-1] + f" + (tries_left {when});"), tmp_path)
    name = "mutants/upgrade-judged-on-old"
    assert result_or_skip(ran, name) == f"{result} {name}"
    assert ran.told[name].count("once more") == times


@needs_cc
@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (MIXED, "transparent_hugepage/hugepages", "transparent_hugepage/no", "no folios of 8"),
        ("mutants/upgrade-ignores-uffd", "__NR_userfaultfd", "9999", "userfaultfd: Function not"),
        ("shmem-uffd", "fill(f->first);\n\t\tneed(minc", "need(minc", "no folio of 4 pages was"),
    ],
)
def test_what_is_missing_skips(name: str, old: str, new: str, says: str, tmp_path: Path) -> None:
    text = text_of(name)
    assert old in text
    ran = run(text.replace(old, new), tmp_path, "-e")
    assert ran.code == 4
    assert f"ok 1 {name} # SKIP " in ran.results[name]
    assert says in ran.results[name]


@needs_cc
def test_a_file_system_that_does_not_ask_for_first_writes_skips(tmp_path: Path) -> None:
    if not TMPFS.is_dir():
        pytest.skip(f"NO {TMPFS}")
    ran = run(text_of("witnesses/write-by-merged-dirty"), tmp_path, cwd=TMPFS, flags=SELFTEST)
    assert ran.code == 4
    assert ran.lines[-2].endswith(
        "# SKIP the file system of this directory does not ask for first writes"
    )


def wait_until_changed(setting: Path, before: str) -> None:
    for _ in range(1000):
        if setting.read_text() != before:
            return
        time.sleep(0.01)
    raise AssertionError(f"{setting} was not changed")


@needs_cc
def test_settings_come_back_after_a_signal_and_are_not_changed_twice(tmp_path: Path) -> None:
    waiting = text_of(MIXED).replace("\n\tcall();\n", "\n\tcall(), pause();\n")
    waits = [built(waiting, tmp_path).rename(tmp_path / "waits"), "-e"]
    # Another size, which it would have to change as well.
    other = [built(text_of(HISTORICAL), tmp_path), "-e"]
    size = THP / "hugepages-32kB" / "enabled"
    with alone():
        before = settings()
        if "[never]" not in before.get(size, "") or not os.access(size, os.W_OK):
            pytest.skip("FOLIOS OF 32 KIB CANNOT BE SWITCHED ON HERE")
        try:
            with subprocess.Popen(
                waits, stdout=subprocess.DEVNULL, start_new_session=True
            ) as first:
                try:
                    wait_until_changed(size, before[size])
                    done = subprocess.run(other, capture_output=True, text=True, check=False)
                finally:
                    os.killpg(first.pid, signal.SIGTERM)
            assert first.returncode == -signal.SIGTERM
            assert settings() == before
        finally:
            put_back(before)
    assert done.returncode == 4
    assert done.stdout.splitlines()[1] == "1..0 # SKIP another program has sizes of folios changed"


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
