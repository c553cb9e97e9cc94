"""`midfolio cmin` and `merge` as a user meets them: what they write, what they leave alone, how they end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fuzz.corpus import copy_whole, free_directory, new_directory, read_corpus
from harness.case import CaseError
from harness.casefile import case_id, read_case

from .test_cli import ROOT, assert_one_line, midfolio

MUTANTS = ROOT / "corpus" / "mutants"
# Two cases of the same features, each the only one of the two that kills its mutant.
TWINS = ("migration-loses-young-and-dirty", "migration-read-not-exclusive")
# A kernel without batches: no mutant runs on its cases, so these tests are quick.
QUICK = ("--target", "reference", "--jobs", "1")


def write(path: Path, offsets: Sequence[int], *expect: str) -> Path:
    """A case that maps single pages of one folio, whose features are their offsets (33 to 63)."""
    ptes = ["none", *(word for o in offsets for word in (f"A+{o} r-- accessed", "none"))]
    lines = [
        *("midfolio-case 1", "arch: x86_64", "kernel: 6.12", "vma: anon READ MAYREAD"),
        *(f"range: [0, {len(ptes)})", "newprot: r-- accessed"),
        "folio A: pfn=0x10000 pages=64 anon exclusive=.*64",
        *(f"pte {i}: {word}" for i, word in enumerate(ptes)),
        *(f"expect: {e}" for e in expect),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_the_only_killers_stay_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    corpus, out, again = tmp_path / "corpus", tmp_path / "out", tmp_path / "again"
    corpus.mkdir()
    for name in TWINS:
        shutil.copy(MUTANTS / f"{name}.case", corpus)
    # The same case under another name, with less expected of it.
    text = (MUTANTS / f"{TWINS[0]}.case").read_text()
    (corpus / "a-copy.case").write_text(text[: text.index("expect:")])
    before = contents(corpus)
    done = midfolio("cmin", str(corpus), "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert names(out) == [f"{name}.case" for name in TWINS]
    assert contents(out).items() <= before.items()
    assert contents(corpus) == before
    assert "read: 3 files, 2 different cases; " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("cmin: 2 of 3 files bring all ")
    assert done.stdout.endswith(f" no fewer do; written to {out}; exit 0\n")
    record = json.loads(midfolio("cmin", str(out), "-o", str(again), "--json").stdout)
    assert contents(again) == contents(out)
    assert (record["gap"], record["least"], record["deleted"]) == (0, 2, [])
    assert {f"{name} on x86_64" for name in TWINS} <= set(record["killed"])
    # To features alone, the second brings nothing.
    (out / f"{TWINS[1]}.case").unlink()
    done = midfolio("merge", str(out), str(corpus))
    assert done.stdout.startswith(f"merge: 0 of 3 files added to {out}, features ")
    assert done.returncode == 0


def test_neither_the_order_of_arguments_nor_of_files_matters(tmp_path: Path) -> None:
    """Ties: the case with fewer entries, then the first name."""
    a, b = tmp_path / "a", tmp_path / "b"
    write(b / "1.case", (33, 34))
    write(a / "2.case", (34, 35, 34))
    write(b / "3.case", (35, 34))
    write(a / "5.case", (34, 35))
    write(a / "0.case", (33, 34, 36, 34))
    write(b / "4.case", (36, 33, 34))
    outs = [tmp_path / "x", tmp_path / "y"]
    for out, given in zip(outs, ((a, b), (b, a)), strict=True):
        done = midfolio("cmin", *map(str, given), "-o", str(out), *QUICK)
        assert done.returncode == 0, done.stderr
        assert f"kept     {b / '3.case'} as {out / '3.case'}" in done.stdout
    assert contents(outs[0]) == contents(outs[1])
    assert names(outs[0]) == ["3.case", "4.case"]


def test_a_gap_is_told(tmp_path: Path) -> None:
    rng = random.Random(3)
    corpus = tmp_path / "corpus"
    for number in range(24):
        write(corpus / f"{number:02}.case", rng.sample(range(33, 64), 5))
    done = midfolio("cmin", str(corpus), "-o", str(tmp_path / "rough"), "--nodes", "0", *QUICK)
    assert done.returncode == 0, done.stderr
    assert " at least are needed, gap " in done.stdout.splitlines()[-1]
    assert " at 0 nodes; written to " in done.stdout.splitlines()[-1]
    arguments = ("cmin", str(corpus), "-o", str(tmp_path / "best"), "--json", *QUICK)
    record = json.loads(midfolio(*arguments).stdout)
    assert (record["gap"], record["nodes"]) == (0, 1_000)
    assert len(names(tmp_path / "best")) == record["least"] <= len(names(tmp_path / "rough"))


def test_files_of_one_name_get_the_id_of_their_case(tmp_path: Path) -> None:
    one = write(tmp_path / "in" / "a" / "x.case", (33,), "diverge cow-write target=mine:f")
    two = write(tmp_path / "in" / "b" / "x.case", (34,))
    # Of one case, what is expected on one's own target stays.
    write(tmp_path / "in" / "c" / "w.case", (33,), "agree target=mine:f")
    done = midfolio("cmin", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *QUICK)
    assert done.returncode == 0, done.stderr
    other = f"x-{case_id(read_case(two).case)}.case"
    assert names(tmp_path / "out") == [other, "x.case"]
    assert (tmp_path / "out" / "x.case").read_bytes() == one.read_bytes()
    assert (tmp_path / "out" / other).read_bytes() == two.read_bytes()
    assert f"kept     {two} as {tmp_path / 'out' / other}" in done.stdout


def test_in_place_deletes_the_others_and_only_then(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    big = write(corpus / "sub" / "big.case", (33, 34))
    small = write(corpus / "small.case", (33,))
    (corpus / "notes.txt").write_text("mine\n")
    arm = ROOT / "corpus" / "seeds" / "arm64-foldable-but-unfolded.case"
    for name in ("arm.case", "arm-again.case"):
        shutil.copy(arm, corpus / name)
    done = midfolio("cmin", str(corpus), "--in-place", "--arch", "x86_64", *QUICK)
    assert done.returncode == 0, done.stderr
    assert f"kept     {big}\ndeleted  {small}\n" in done.stdout
    assert done.stdout.endswith("; 1 deleted; exit 0\n")
    # Nothing of another architecture, or that is no case, is touched.
    assert sorted(contents(corpus)) == [
        *("arm-again.case", "arm.case", "notes.txt", "sub/big.case")
    ]


def test_merge_adds_what_is_new_the_smallest_first(tmp_path: Path) -> None:
    out, more = tmp_path / "out", tmp_path / "more"
    write(out / "x.case", (33,))
    write(more / "a.case", (34, 35, 36))
    write(more / "b.case", (35,))
    write(more / "c.case", (35, 33))
    x = write(more / "sub" / "x.case", (34,))
    before = contents(more)
    done = midfolio("merge", str(out), str(more), *QUICK)
    assert done.returncode == 0, done.stderr
    new = out / f"x-{case_id(read_case(x).case)}.case"
    # b, then x: both have three entries. c brings nothing then, a only the offset 36.
    lines = done.stdout.splitlines()
    assert lines[0] == f"added {more / 'b.case'} as {out / 'b.case'}: 1 new features"
    assert lines[1] == f"added {x} as {new}: 1 new features"
    assert lines[2].startswith(f"added {more / 'a.case'} as {out / 'a.case'}: 1 new ")
    assert lines[3].startswith(f"merge: 3 of 4 files added to {out}, features ")
    assert len(lines) == 4
    assert names(out) == sorted(["a.case", "b.case", new.name, "x.case"])
    assert contents(more) == before
    # Again, there is nothing to add; into a new one, there is.
    written = contents(out)
    record = json.loads(midfolio("merge", str(out), str(more), "--json", *QUICK).stdout)
    assert (record["added"], record["files"]) == ([], 4)
    assert record["features_before"] == record["features_after"]
    assert contents(out) == written
    done = midfolio("merge", str(tmp_path / "new"), str(more), "-q", *QUICK)
    assert done.stdout.count("\n") == 1
    assert len(names(tmp_path / "new")) == 4


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("cmin", "nowhere", "-o", "out"), ("nowhere", "expected a directory or a case file")),
        (("cmin", "good"), ("expected one of --output DIR and --in-place",)),
        (("cmin", "good", "bad", "-o", "out"), ("bad/b.case:2: ", "sparc", "x86_64")),
        (("cmin", "good", "-o", "out"), ("good/a.case: kernel 6.12 does not batch",)),
        (("merge", "bad", "good"), ("bad/b.case:2: ",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_bad_usage_is_one_line_and_2(
    arguments: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    good = write(tmp_path / "good" / "a.case", (33,))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.case").write_text(good.read_text().replace("x86_64", "sparc"))
    before = contents(tmp_path)
    assert_one_line(midfolio(*arguments, cwd=tmp_path), 2, *parts)
    assert contents(tmp_path) == before
    assert names(tmp_path) == ["bad", "good"]


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "a.case", (33,))
    with pytest.raises(CaseError, match=r"is not empty; expected a new directory .*merge"):
        free_directory(tmp_path / "in")
    with pytest.raises(CaseError, match="is a file; expected a directory"):
        free_directory(path)
    (tmp_path / "empty").mkdir()
    free_directory(tmp_path / "empty")
    # Not even if it was changed between reading and copying.
    (file,) = read_corpus((tmp_path,))
    write(path, (34,))
    with pytest.raises(CaseError, match="was changed while it was looked at"):
        copy_whole(file, tmp_path / "copy.case")
    with pytest.raises(CaseError, match="was changed"), new_directory(tmp_path / "new") as partial:
        copy_whole(file, partial / "a.case")
    assert names(tmp_path) == ["empty", "in"]


def test_a_file_counts_once_whatever_way_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "a.case", (33,))
    (tmp_path / "link.case").symlink_to(path)
    assert [file.path for file in read_corpus((tmp_path / "in", path, tmp_path))] == [path]


@pytest.mark.parametrize("verb", ["cmin", "merge"])
def test_no_case_is_5(verb: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ("empty", "-o", "out") if verb == "cmin" else ("out", "empty")
    done = midfolio(verb, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, f"{verb}: no case in empty; exit 5\n")
    assert names(tmp_path) == ["empty"]


# A solver that forgets the last file.
FORGETFUL = """
import sys, types
from typing import NamedTuple

class Cover(NamedTuple):
    chosen: tuple
    least: int
    gap = 0

cover = types.ModuleType("harness.corpus.cover")
cover.Cover, cover.Row, cover.NODES = Cover, frozenset, 0
cover.smallest_cover = lambda rows, sizes, nodes: Cover((0,), 1)
sys.modules["harness.corpus.cover"] = cover
from fuzz.cli import main
sys.exit(main())
"""


def test_a_loss_is_6_and_nothing_is_written(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.case", (33,))
    write(tmp_path / "in" / "b.case", (34,))
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, "cmin", "in", "-o", "out", *QUICK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert done.stdout == "cmin: lost x86_64 6.12: offset page=34; nothing written; exit 6\n"
    assert names(tmp_path) == ["in"]


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
@pytest.mark.parametrize("how", ["interrupted", "a worker dies"])
def test_what_does_not_end_writes_nothing(how: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fuzz.cli", "cmin", str(ROOT / "corpus"), "-o", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # There is more to do than two workers do at once.
    while len(children(process.pid)) < 2 and process.poll() is None:
        time.sleep(0.02)
    if how == "interrupted":
        # As a terminal does: to all processes.
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(children(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    if how == "interrupted":
        assert (process.returncode, err) == (5, "")
        assert out == "cmin: interrupted, nothing written; exit 5\n"
    else:
        assert process.returncode == 8
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
