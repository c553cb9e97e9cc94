"""The command as a user meets it: exit codes, one line per error, nothing half-written."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEEDS = ROOT / "corpus" / "seeds"
VECTORS = ROOT / "corpus" / "vectors" / "x86_64"
HISTORICAL = "zoo:first-page-is-folio-head"


def midfolio(
    *arguments: str, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, interpreted unless told otherwise."""
    return subprocess.run(
        [sys.executable, "-m", "fuzz.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MIDFOLIO_MODE": "interpreted", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """`done` ended with `code` and said why in one line of stderr, which has all `parts`."""
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("fuzz", "--nonsense"), ("No such option", "--nonsense")),
        (("nonsense",), ("No such command", "nonsense")),
        (("fuzz", "--arch", "sparc"), ("sparc", "x86_64")),
        (("fuzz", "--kernel", "5.0"), ("5.0", "6.17", "7.3")),
        (("fuzz", "--kernel", "6.12"), ("kernel 6.12 does not batch", "6.17, 6.18, 7.3")),
        (("fuzz", "--target", "zoo:nope"), ("unknown mutant 'nope'", "did you mean")),
        (("fuzz", "--target", "nope"), ("unknown target 'nope'", "expected batched")),
        (("fuzz", "--target", "no.such:thing"), ("cannot load target", "no.such")),
        (("fuzz", "--target", "os:sep"), ("is not callable",)),
        (("fuzz", "--deny", "dirt-merged"), ("unknown class 'dirt-merged'", "dirty-merged")),
        (("fuzz", "--cases", "0"), ("--cases", "0")),
        (("fuzz", "--time", "nan"), ("--time", "'nan' is not a number of seconds")),
        (("gate", "--time", "nan"), ("--time", "'nan' is not a number of seconds")),
        (("zoo", "bench", "--plot", "x.foo"), ("'x.foo'", ".svg or .png")),
        (("zoo", "nope"), ("unknown mutant 'nope'", "did you mean")),
        (("replay", "no-such-file"), ("no-such-file", "expected a case file")),
        (("replay", "x86_64:7.3:99:1:1"), ("generator version 99",)),
        (("replay", "sparc:7.3:1:1:1"), ("unknown arch 'sparc'",)),
        (("replay", "x86_64:5.0:1:1:1"), ("unknown kernel '5.0'",)),
        (("replay", "case:AAAA"), ("case:",)),
        (("show", "no-such-file"), ("no-such-file",)),
        (("conform", "no-such-file"), ("no-such-file:1", "No such file")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_bad_usage_is_one_line_and_2(
    arguments: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    done = midfolio(*arguments, cwd=tmp_path, MIDFOLIO_FINDINGS=str(tmp_path / "findings"))
    assert_one_line(done, 2, *parts)
    assert list(tmp_path.iterdir()) == []


GOOD = (SEEDS / "mid-folio-start-shared.case").read_text()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("range: [", "rnage: [", ("rnage",)),
        ("kernel: 7.3", "kernel: 9.9", ("9.9", "7.3")),
        ("folio A: pfn=0x", "folio A: pfn=0xf0000000", ("pfn",)),
        ("midfolio-case 1", "midfolio-case 2", ("midfolio-case 1",)),
    ],
)
def test_a_bad_case_file_is_one_line_with_file_and_line(
    old: str, new: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    assert old in GOOD
    path = tmp_path / "bad.case"
    path.write_text(GOOD.replace(old, new, 1))
    assert_one_line(midfolio("replay", str(path)), 2, f"{path}:", *parts)


def test_a_duplicate_pte_and_a_range_outside_the_window_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.case"
    path.write_text(GOOD + "pte 0: none\n")
    assert_one_line(midfolio("replay", str(path)), 2, f"{path}:", "second pte 0")
    lines = ["range: [0, 77)" if line.startswith("range:") else line for line in GOOD.splitlines()]
    path.write_text("\n".join(lines) + "\n")
    assert_one_line(midfolio("replay", str(path)), 2, f"{path}:", "inside the window")


def test_overlapping_folios_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.case"
    first = next(line for line in GOOD.splitlines() if line.startswith("folio A:"))
    path.write_text(GOOD.replace(first, first + "\n" + first.replace("folio A:", "folio Z:")))
    assert_one_line(midfolio("replay", str(path)), 2, f"{path}:", "overlaps")


def test_an_empty_directory_is_5_and_an_unreadable_one_is_2(tmp_path: Path) -> None:
    assert_one_line(midfolio("replay", str(tmp_path)), 5, "no case in")
    if os.geteuid() != 0:  # root reads everything
        closed = tmp_path / "closed"
        closed.mkdir(mode=0)
        assert_one_line(midfolio("replay", str(tmp_path)), 2, "closed", "Permission denied")


def test_conform_of_no_case_is_5(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    with gzip.open(tmp_path / "x.gz", "wb") as stream:
        stream.write(b"")
    header = '{"format": "pte-vectors/1", "arch": "x86_64", "zero_pfn": "0x1", "highest_memmap_pfn": "0x2"}\n'
    path.write_text(header)
    done = midfolio("conform", str(path))
    assert done.returncode == 5
    assert done.stdout.endswith("conform: 0 cases, 0 checks, 0 mismatches\n")


def test_conform_of_a_cut_file_names_the_line(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"format": "pte-vectors/1"}\n' * 9)
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert_one_line(midfolio("conform", str(path)), 2, f"{path}:1:")
    path.write_bytes(b"no gzip at all")
    assert_one_line(midfolio("conform", str(path)), 2, f"{path}:1:")


def test_conform_ends_with_its_line() -> None:
    done = midfolio("conform", str(VECTORS / "minimal.jsonl.xz"))
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert last.startswith("conform: 8 cases, ")
    assert last.endswith(" checks, 0 mismatches")


def test_conform_with_a_mutant_in_the_batched_place_is_1() -> None:
    done = midfolio(
        "conform", str(VECTORS / "minimal.jsonl.xz"), "--target", HISTORICAL, "--kernel", "7.3"
    )
    assert done.returncode == 1
    assert (
        "expect_7_3 ptes: expected [0] 0x8000000012341825, got [0] 0x8000000012341827"
        in done.stdout
    )


def test_replay_of_a_number_a_line_and_a_file_agree_with_each_other(tmp_path: Path) -> None:
    """The three ways to name a finding show the same divergence, from any directory."""
    found = midfolio(
        "fuzz",
        "--target",
        HISTORICAL,
        "--cases",
        "100",
        "--per-class",
        "1",
        "--json",
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert found.returncode == 1, found.stderr
    path = json.loads(found.stdout)["findings"][0]
    comment = next(x for x in Path(path).read_text().splitlines() if "Random case" in x)
    number = comment.split()[-1].rstrip(".")
    by_file = json.loads(midfolio("replay", path, "--target", HISTORICAL, "--json").stdout)
    line = by_file[0]["line"]
    for place in (number, line):
        done = midfolio("replay", place, "--target", HISTORICAL, "--json", cwd=tmp_path)
        assert done.returncode == 1
        assert json.loads(done.stdout)[0]["differences"] == by_file[0]["differences"]
    # The file says that it diverges there, so there it is as expected.
    assert midfolio("replay", path).returncode == 0
    assert midfolio("replay", path, "--target", "batched").returncode == 0


def test_a_stale_expectation_is_3(tmp_path: Path) -> None:
    path = tmp_path / "stale.case"
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("expect:"))
    path.write_text(text + "\nexpect: diverge cow-write target=batched\n")
    done = midfolio("replay", str(path))
    assert done.returncode == 3
    assert "expected cow-write, but it agrees" in done.stdout


def test_a_denied_class_is_1() -> None:
    seed = str(SEEDS / "soft-dirty-merged-tracking-on.case")
    assert midfolio("replay", seed, "--target", "batched").returncode == 0
    done = midfolio("replay", seed, "--target", "batched", "--deny", "soft-dirty-merged")
    assert done.returncode == 1
    assert "DENIED  soft-dirty-merged" in done.stdout


def test_a_target_of_ones_own_runs_interpreted_and_is_judged(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from batched.x86_64 import change_pte_range\n\n\n"
        "def off_by_one(state):\n    return change_pte_range(state) + 1\n"
    )
    done = midfolio(
        "fuzz",
        "--target",
        "mine:off_by_one",
        "--cases",
        "5",
        "--per-class",
        "1",
        cwd=tmp_path,
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert done.returncode == 1, done.stderr
    assert "pages-wrong" in done.stdout
    assert "interpreted" in done.stderr


def test_fuzz_without_a_finding_says_why_it_ended(tmp_path: Path) -> None:
    done = midfolio("fuzz", "--cases", "30", MIDFOLIO_FINDINGS=str(tmp_path / "findings"))
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == (
        "fuzz: 30 cases of x86_64, arm64, powerpc, nothing unexplained; case budget reached; exit 0"
    )
    assert not (tmp_path / "findings").exists()


@pytest.mark.parametrize("arch", ["x86_64", "arm64", "powerpc"])
def test_fuzz_of_one_architecture_names_it(arch: str, tmp_path: Path) -> None:
    done = midfolio(
        *("fuzz", "--arch", arch, "--cases", "5", "--json"),
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["arches"], record["cases"]) == ([arch], 5)


def test_the_reference_is_judged_as_what_changes_one_entry_at_a_time(tmp_path: Path) -> None:
    """On arm64 it folds and unfolds more than a target that batches may."""
    arguments = ("fuzz", "--arch", "arm64", "--target", "reference", "--cases", "12")
    findings = str(tmp_path / "findings")
    done = midfolio(*arguments, MIDFOLIO_FINDINGS=findings)
    assert done.returncode == 0, done.stdout
    done = midfolio(*arguments, "--batching", "exact", MIDFOLIO_FINDINGS=findings)
    assert done.returncode == 1, done.stderr
    assert "fold-unneeded" in done.stdout


def test_a_mutant_of_another_architecture_is_one_line_and_2(tmp_path: Path) -> None:
    done = midfolio(
        *("fuzz", "--target", "zoo:hint-without-clip", "--arch", "powerpc"), cwd=tmp_path
    )
    assert_one_line(done, 2, "zoo:hint-without-clip is of arm64, not of powerpc")


def test_conform_of_other_architectures() -> None:
    vectors = ROOT / "corpus" / "vectors"
    files = [str(vectors / arch / "minimal.jsonl.xz") for arch in ("arm64", "powerpc")]
    done = midfolio("conform", *files)
    assert done.returncode == 0, done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("conform: 35 cases, ")
    assert last.endswith(" checks, 0 mismatches")


def test_zoo_list_is_an_array_of_records() -> None:
    records = json.loads(midfolio("zoo", "--list", "--json").stdout)
    assert records[0]["name"] == "first-page-is-folio-head"
    assert sum(not r["equivalent"] for r in records) >= 20
    assert {"nothing", "batch-of-one"} <= {r["name"] for r in records if r["equivalent"]}


@pytest.mark.parametrize("verb", ["fuzz", "replay", "show", "shrink", "gate", "conform", "zoo"])
def test_each_verb_has_help_and_json_and_quiet(verb: str) -> None:
    done = midfolio(verb, "--help")
    assert done.returncode == 0
    for option in ("--json", "--quiet", "--kernel"):
        assert option in done.stdout
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['midfolio', '--help']; from fuzz.cli import main; main();"
        "heavy = {'numpy', 'numba', 'click', 'rich', 'msgspec', 'mm'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_replay_never_imports_numba() -> None:
    code = (
        "import sys; sys.argv = ['midfolio', 'replay', 'corpus/seeds/mixed-exclusivity.case'];"
        "from fuzz.cli import main; assert main() == 0; assert 'numba' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MIDFOLIO_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
