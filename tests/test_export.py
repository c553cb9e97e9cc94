"""Exported programs: compiled by the real compiler and run on this machine's kernel."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.export.plan import plan_of
from harness.export.sight import expected_of, shown_by
from tests.exported import (
    EXPECTED,
    HISTORICAL,
    MIXED,
    PLAIN,
    SELFTEST,
    Ran,
    built,
    case_of,
    put_back,
    run,
    settings,
    text_of,
)
from tests.machine_settings import THP, alone

TMPFS = Path("/dev/shm")


needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER")

# What a kernel with a known bug would show of some of EXPECTED.
BUGS = {
    HISTORICAL: ("zoo:first-page-is-folio-head", ".w.."),
    MIXED: ("zoo:first-page-is-folio-head", "...wwfwf"),
    "seeds/uffd-wp-resolve-upgrade": ("zoo:first-page-is-folio-head", ".wfw"),
    "mutants/upgrade-ignores-uffd": ("zoo:upgrade-ignores-uffd", "w"),
    "mutants/upgrade-judged-on-old": ("zoo:upgrade-judged-on-old", "f"),
}


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
