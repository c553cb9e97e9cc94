"""Layouts to export, what each must show, and how a program of them is built, run and read."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness.case import Case
from harness.casefile import parse_case, read_case
from harness.export.text import Layout, layout_of, program
from tests.machine_settings import THP, alone

ROOT = Path(__file__).parents[1]
HISTORICAL = "mutants/first-page-is-folio-head"
MIXED = "seeds/mixed-exclusivity-mid-folio"

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
