"""The golden vectors: both sides and the judges conform, and a spoiled vector does not.

Runs in processes of their own, traced: batches, commits and the raw accesses are
compared as well. Of large files the first cases; `midfolio conform corpus/vectors/*/*`
has all of them.
"""

import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.case import CaseError
from harness.vectors import read
from mm.jit import ROOT

VECTORS = ROOT / "corpus/vectors"
# How many cases each file has.
FILES = {
    "x86_64": {
        "minimal": 8,
        "small": 2500,
        "present-only": 500,
        "bug": 350,
        "rwp": 500,
        "612-native": 400,
    },
    "arm64": {"minimal": 24, "small": 420, "present-only": 420, "bug": 260},
    "powerpc": {"minimal": 11, "small": 600, "present-only": 400, "bug": 426, "4k": 700},
}

CONFORM = """
import json, sys
from itertools import islice
from pathlib import Path
from harness.conform import conform
from harness.vectors import read

count = int(sys.argv[1])
answers = {}
for path in sys.argv[2:]:
    report = conform(islice(read(Path(path)), count))
    answers[Path(path).name] = {
        "cases": report.cases,
        "checks": report.checks,
        "raw_checks": report.raw_checks,
        "mismatched": report.mismatched,
        "bug_revealed": report.bug_revealed,
        "classes": {name: n for name, n in report.class_cases.items() if n},
        "fields": [[m.line, m.expectation, m.field] for m in report.mismatches],
        "first": str(report.mismatches[:3]),
    }
print(json.dumps(answers))
"""


def conform(count: int, *paths: Path) -> dict[str, dict]:
    """What a traced conformance run says of the first `count` vectors of each file, by file name."""
    done = subprocess.run(
        [sys.executable, "-c", CONFORM, str(count), *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted", "MIDFOLIO_TRACE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Classes that occur among so many sane cases: kernels do it, so they are needed.
NEEDED = {
    "x86_64": {
        *("accessed-merged", "dirty-merged", "soft-dirty-merged", "extra-flush"),
        *("write-by-merged-dirty", "write-by-merged-soft-dirty"),
    },
    "arm64": {
        *("accessed-merged", "dirty-merged", "write-by-merged-dirty", "extra-flush"),
        *("accessed-by-unfold", "dirty-by-unfold", "cont-set-without-tlbi"),
    },
    "powerpc": {"dirty-merged", "soft-dirty-merged"},
}


# Cases, and the least number of checks that they must come to, of raw accesses too:
# a field that is not compared is one that nobody misses.
@pytest.mark.parametrize(
    ("arch", "name", "cases", "checks", "raw"),
    [
        ("x86_64", "minimal", 8, 200, 0),
        ("x86_64", "small", 250, 6000, 0),
        ("x86_64", "present-only", 60, 1400, 0),
        ("x86_64", "bug", 40, 950, 0),
        ("x86_64", "rwp", 80, 1300, 0),
        ("x86_64", "612-native", 100, 650, 0),
        ("arm64", "minimal", 24, 900, 216),
        ("arm64", "small", 120, 4400, 1080),
        ("arm64", "present-only", 30, 1100, 270),
        ("arm64", "bug", 30, 1100, 270),
        ("powerpc", "minimal", 11, 400, 99),
        ("powerpc", "small", 150, 5500, 1350),
        ("powerpc", "present-only", 60, 2200, 540),
        ("powerpc", "bug", 30, 1100, 270),
        ("powerpc", "4k", 30, 1100, 270),
    ],
)
def test_both_sides_conform(arch: str, name: str, cases: int, checks: int, raw: int):
    report = conform(cases, VECTORS / arch / f"{name}.jsonl.xz")[f"{name}.jsonl.xz"]
    assert report["mismatched"] == 0, report["first"]
    assert report["cases"] == cases
    assert report["checks"] >= checks
    assert report["raw_checks"] == raw
    if name == "bug":
        assert report["bug_revealed"] == cases
    if name == {"x86_64": "small", "arm64": "small", "powerpc": "present-only"}[arch]:
        assert set(report["classes"]) >= NEEDED[arch]


@pytest.mark.parametrize("arch", FILES)
def test_vectors_are_complete(arch: str):
    """No file is an empty promise: each has its cases, sane and wild ones."""
    found = {path.name.split(".")[0] for path in (VECTORS / arch).iterdir()}
    assert found == set(FILES[arch])
    counts = {
        name: [v.wild for v in read(VECTORS / arch / f"{name}.jsonl.xz")] for name in FILES[arch]
    }
    assert {name: len(wild) for name, wild in counts.items()} == FILES[arch]
    for name in set(counts) - {"minimal", "present-only"}:
        assert sum(counts[name]) >= 20
        assert sum(counts[name]) < len(counts[name])
    if arch == "powerpc":
        # Its pages are of 64 KiB, and in the file of that name of 4 KiB.
        for name, shift in (("minimal", 16), ("4k", 12)):
            vector = next(read(VECTORS / arch / f"{name}.jsonl.xz"))
            assert vector.case.config.page_shift == shift


# Spoiled vectors.


def lines_of(name: str, arch: str = "x86_64") -> list[str]:
    with lzma.open(VECTORS / arch / f"{name}.jsonl.xz", "rt") as stream:
        return stream.read().splitlines()


def spoil_word(expect: dict, field: str) -> None:
    words = expect[field]
    words[-1] = f"{int(words[-1], 16) ^ 1 << 11:#x}"


def spoil_pages(expect: dict, field: str) -> None:
    expect[field] += 1


def spoil_flush(expect: dict, field: str) -> None:
    address, pages = expect[field][0]
    expect[field][0] = [f"{int(address, 16) + 0x1000:#x}", pages]


def spoil_length(expect: dict, field: str) -> None:
    expect[field][0][1] += 1


def spoil_list(expect: dict, field: str) -> None:
    expect[field].pop()


def spoil_warn(expect: dict, field: str) -> None:
    expect[field] = [] if expect[field] else ["no_vm_write"]


SPOILERS = [
    ("ptes", spoil_word),
    ("flush", spoil_flush),
    ("flush", spoil_length),
    ("flush", spoil_list),
    ("pages", spoil_pages),
    ("warns", spoil_warn),
    ("bad_map", spoil_pages),
    ("access_time", spoil_list),
    ("batches", spoil_length),
    ("batches", spoil_list),
    ("subs", spoil_length),
    ("subs", spoil_list),
]


def spoiled_files(arch: str, names: tuple[str, ...], spoilers, directory: Path):
    """A file for each field of each kernel's outcome, where there is one to spoil; what it shows."""
    header, *lines = lines_of(names[0], arch)
    for name in names[1:]:
        lines += lines_of(name, arch)[1:]
    wanted = {}
    for kernel in ("expect_6_12", "expect_7_3", "expect_7_3_bug"):
        for number, (field, spoil) in enumerate(spoilers):
            records = (json.loads(line) for line in lines)
            # What is a list needs something in it to be spoiled, except that a WARN can be added.
            record = next(
                (r for r in records if r[kernel].get(field, []) != [] or field == "warns"), None
            )
            if record is None:
                continue
            spoil(record[kernel], field)
            path = directory / f"{kernel}-{field}-{number}.jsonl"
            path.write_text(f"{header}\n{json.dumps(record)}\n")
            wanted[path] = [2, kernel, field]
    return wanted


def test_spoiled_expectation_is_reported(tmp_path: Path):
    wanted = spoiled_files("x86_64", ("small",), SPOILERS, tmp_path)
    # 6.12 has no batches.
    assert len(wanted) == 3 * len(SPOILERS) - 4
    reports = conform(10, *wanted)
    for path, field in wanted.items():
        report = reports[path.name]
        assert field in report["fields"], (path.name, report)
        if "7_3-ptes" in path.name or "7_3-flush" in path.name:
            # The judges see it too.
            assert [2, "expect_7_3", "relation"] in report["fields"], (path.name, report)


def spoil_block(expect: dict, field: str) -> None:
    address, pages, why = expect[field][-1]
    expect[field][-1] = [f"{int(address, 16) + (pages << 12):#x}", pages, why]


def spoil_reason(expect: dict, field: str) -> None:
    other = {"unfold": "fold", "fold": "unfold", "nmmu": "unfold"}
    expect[field][-1][2] = other[expect[field][-1][2]]


def spoil_twice(expect: dict, field: str) -> None:
    expect[field].append(expect[field][-1])


AT_ONCE = [
    *(("tlbi", spoil) for spoil in (spoil_block, spoil_length, spoil_list)),
    *(("tlbi", spoil) for spoil in (spoil_reason, spoil_twice)),
    *((field, spoil_pages) for field in ("raw_reads", "raw_writes", "raw_xchg")),
]


# What the judges see, too. Nobody judges accesses; to say a page of the coprocessors
# twice, or with its neighbour, is no fault.
JUDGED = {
    "arm64": {spoil_block, spoil_length, spoil_list, spoil_reason, spoil_twice},
    "powerpc": {spoil_block, spoil_list, spoil_reason},
}


@pytest.mark.parametrize("arch", ["arm64", "powerpc"])
def test_spoiled_invalidation_is_reported(arch: str, tmp_path: Path):
    """And what each of them reads and writes: in the fields that these architectures have."""
    wanted = spoiled_files(arch, ("minimal", "small"), AT_ONCE, tmp_path)
    assert len(wanted) == 3 * len(AT_ONCE)
    reports = conform(10, *wanted)
    for path, field in wanted.items():
        report = reports[path.name]
        assert field in report["fields"], (path.name, report)
        seen = [2, field[1], "relation"] in report["fields"]
        spoil = AT_ONCE[int(path.stem.rsplit("-", 1)[1])][1]
        if field[1] != "expect_7_3_bug":
            assert seen == (spoil in JUDGED[arch]), (path.name, report)


def test_spoiled_batch_outcome_is_seen_by_the_judges_alone(tmp_path: Path):
    """A target that is right does not excuse a relation that would let a wrong word pass."""
    header, *lines = lines_of("minimal")
    record = json.loads(next(line for line in lines if "wrongly writable" in line))
    record["expect_7_3"] = record["expect_7_3_bug"]
    path = tmp_path / "bug.jsonl"
    path.write_text(f"{header}\n{json.dumps(record)}\n")
    fields = conform(10, path)["bug.jsonl"]["fields"]
    for field in ("ptes", "flush", "relation", "invariants"):
        assert [2, "expect_7_3", field] in fields


# Files that are wrong.

HEADER, *CASES = lines_of("minimal")


def damaged(**changes) -> str:
    return json.dumps(json.loads(CASES[0]) | changes)


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        ([], 1, "empty file"),
        (["{}"], 1, "format None is not 'pte-vectors/1'"),
        (["[]"], 1, r"format \[\] is not"),
        (["midfolio-case 1"], 1, "line 1 must be a pte-vectors/1 header"),
        ([HEADER.replace("vectors/1", "vectors/2")], 1, "'pte-vectors/2' is not 'pte-vectors/1'"),
        (
            [HEADER.replace('"x86_64"', '"sparc"', 1)],
            1,
            "unknown arch 'sparc'; known: x86_64, arm64, powerpc",
        ),
        ([HEADER, CASES[0], CASES[1][:-1]], 3, "truncated"),
        ([HEADER, CASES[0] + "}"], 2, "malformed"),
        ([HEADER, damaged(surprise=1)], 2, "unknown field `surprise`"),
        ([HEADER, damaged(mm={"users": 1})], 2, r"required field `numa_node` - at `\$.mm`"),
        ([HEADER, damaged(cp=["FROB"])], 2, "unknown name 'FROB'"),
        ([HEADER, damaged(ptes=["xyz"])], 2, "invalid literal"),
        ([HEADER, damaged(pages="two", start="0")], 2, "unknown field|Expected"),
        ([HEADER, damaged(end=9)], 2, r"range \[0, 9\) must be non-empty and inside"),
    ],
)
def test_bad_line_is_an_error(lines: list[str], line: int, says: str, tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(f"{text}\n" for text in lines))
    with pytest.raises(CaseError, match=says) as error:
        list(read(path))
    assert str(error.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("field", ["flush", "batches", "expect", "folios", "vma"])
def test_unknown_field_inside_is_an_error(field: str, tmp_path: Path):
    record = json.loads(CASES[0])
    inside = {
        "flush": record["expect_7_3"],
        "batches": record["expect_6_12"],
        "expect": record,
        "folios": record["folios"][0],
        "vma": record["vma"],
    }[field]
    inside["expect_8_0"] = None
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{HEADER}\n{json.dumps(record)}\n")
    with pytest.raises(CaseError, match=f"^{path}:2: .*unknown field `expect_8_0`"):
        list(read(path))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_damaged_archive_is_an_error(suffix: str, pack, tmp_path: Path):
    text = "\n".join([HEADER, *CASES]) + "\n"
    packed = pack(text.encode())
    path = tmp_path / f"cut.jsonl{suffix}"
    path.write_bytes(packed)
    assert len(list(read(path))) == len(CASES)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CaseError, match=rf"^{path}:[0-9]+: .*; expected JSON Lines, plain, .gz"):
        list(read(path))
    path.write_bytes(b"no archive at all")
    with pytest.raises(CaseError, match=rf"^{path}:1: .*; expected JSON Lines"):
        list(read(path))
    with pytest.raises(CaseError, match="No such file"):
        list(read(tmp_path / f"none.jsonl{suffix}"))
