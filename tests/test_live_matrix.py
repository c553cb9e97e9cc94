"""The matrix of kernels: each probe tells both sides apart, and rows of several kernels make one table."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest

from fuzz import exits
from fuzz.commands import group
from fuzz.live.guests import run_guests
from fuzz.live.matrix import code_of
from harness.case import CaseError, layout_of
from harness.lane import LaneMissing
from harness.live import calls, matrix, properties
from harness.live.kernel import Found
from harness.live.machines import MACHINES
from harness.live.memory import PROT_READ, PROT_WRITE, Vma
from harness.live.properties import (
    BATCHED,
    NO,
    NOT_SHOWN,
    PER_PTE,
    UNCLEAR,
    YES,
    Answer,
    Ground,
    NotShown,
    Unclear,
)
from harness.live.window import Window
from harness.run import run
from harness.targets import load
from harness.vm.report import BadReport

READ_WRITE = PROT_READ | PROT_WRITE
PFN = 0x400


class Modelled(Ground):
    """Ground of a kernel that is one of the sides, or a mutant."""

    def __init__(self, target: str, arch: str, version: str, *, soft_dirty: bool = True) -> None:
        self.layout, self.directory = layout_of(arch), Path("here")
        machine = MACHINES[arch]
        config = self.layout.config._replace(soft_dirty=soft_dirty and arch == "x86_64")
        self.live: Any = SimpleNamespace(machine=machine, config=config, kernel=self)
        self.site: Any = self
        self.window = Window(arch, version, config)
        self.function = load(target, arch).function
        self.bits = {f.name: int(f.mask) for f in self.layout.fields}
        self.entries = np.zeros(0, np.uint64)

    def lay(self, kind: str, pages: int = properties.PAGES, **more: Any) -> None:
        self.mapping = calls.Mapping(kind == "file", kind == "anon", False, False, kind == "file")
        self.rights = [READ_WRITE] * pages
        whole, written = set(range(pages)), set(more.get("written", ()))
        self.marks = np.array([i in more.get("exclusive", whole) for i in range(pages)], bool)
        flags = calls.vma_flags(self.mapping, READ_WRITE)
        plain = calls.page_protection(self.layout, self.mapping, flags)
        words = [plain | self.bits["accessed"] | (PFN + i) << 12 for i in range(pages)]
        self.entries = np.array(words, np.uint64)
        if kind == "anon":
            self._become_writable([i for i in range(pages) if self.marks[i]])
        if kind == "anon":
            self.write(whole)
        if more.get("clean"):
            self.entries &= ~np.uint64(self.bits["accessed"] | self.bits["dirty"])
            self.entries |= np.uint64(self.bits.get("rdonly", 0))
        self.write(written)
        if pages == self.layout.block:
            self.entries |= np.uint64(self.bits["cont"])

    def _become_writable(self, pages: list[int]) -> None:
        self.entries[pages] |= np.uint64(self.live.machine.paging.writable)

    def write(self, pages: Any) -> None:
        chosen = [page for page in pages if self.marks[page]]
        self._become_writable(chosen)
        # What the kernel maps for a write is soft-dirty, too.
        self.entries[chosen] |= np.uint64(self.bits["dirty"] | self.soft_dirty)
        if "rdonly" in self.bits:
            self.entries[chosen] &= ~np.uint64(self.bits["rdonly"])

    def arm(self) -> None:
        if self.soft_dirty:
            self.mapping = self.mapping._replace(armed=True)
            self.entries &= ~np.uint64(self.soft_dirty)
            paging = self.live.machine.paging
            dirty = [i for i in self.dirty if int(self.entries[i]) & paging.writable]
            # What is dirty and read-only keeps its mark elsewhere.
            self.entries[dirty] ^= np.uint64(self.bits["dirty"] | self.bits["saved_dirty"])
            self.entries &= ~np.uint64(paging.writable)

    def words(self, pages: int = properties.PAGES) -> Any:
        return self.entries.copy()

    def folios(self, pfns: Any) -> Any:
        return np.array([Found(PFN, len(self.entries), self.mapping.anon)])

    def exclusive(self, folios: Any) -> Any:
        return self.marks

    def protect(self, first: int, last: int, prot: int) -> None:
        """mprotect(), by the side."""
        vmas = [Vma(i, i + 1, rights) for i, rights in enumerate(self.rights)]
        vmas = [vma._replace(first=first, last=last) for vma in vmas[first : first + 1]]
        self.rights[first:last] = [prot] * (last - first)
        place = self.layout, self.mapping, vmas, first, last, prot
        for call in calls.calls_of_mprotect(*place):
            self.window.set_folios(self.folios(None), self.marks)
            self.window.set_call(self.mapping, call._replace(margin=64), 0x7F << 32, self.entries)
            self.entries = np.array(run(self.window.case(), self.function).ptes, np.uint64)


def answers(target: str, arch: str, version: str) -> dict[str, str]:
    """What each probe says of a kernel that is `target`."""
    ground = Modelled(target, arch, version)
    return {
        name: properties.measure(probe, ground).value for name, _, probe in properties.PROPERTIES
    }


@pytest.mark.parametrize(
    ("target", "arch", "version", "said"),
    [
        ("reference", "x86_64", "6.12", (PER_PTE, NO, NO, YES, NOT_SHOWN)),
        ("batched", "x86_64", "6.17", (BATCHED, YES, YES, YES, NOT_SHOWN)),
        ("batched", "x86_64", "7.3", (BATCHED, YES, YES, YES, NOT_SHOWN)),
        ("reference", "arm64", "6.12", (PER_PTE, NOT_SHOWN, NO, YES, YES)),
        ("batched", "arm64", "7.3", (BATCHED, NOT_SHOWN, YES, YES, NO)),
        # The bug that went upstream.
        ("zoo:first-page-is-folio-head", "x86_64", "6.17", (BATCHED, YES, YES, NO, NOT_SHOWN)),
        ("zoo:merge-without-dirty", "x86_64", "6.17", (UNCLEAR, NO, NO, YES, NOT_SHOWN)),
    ],
)
def test_each_probe_tells_kernels_apart(
    target: str, arch: str, version: str, said: tuple[str, ...]
) -> None:
    assert tuple(answers(target, arch, version).values()) == said


def test_what_is_not_configured_is_named() -> None:
    ground = Modelled("batched", "x86_64", "7.3", soft_dirty=False)
    answer = properties.measure(properties.soft_dirty_merged, ground)
    assert answer == (NOT_SHOWN, "soft-dirty is not configured (CONFIG_MEM_SOFT_DIRTY)")
    assert "no contiguous entries" in properties.measure(properties.refold, ground).detail


def scripted(*script: Answer | Exception) -> Callable[[Any], Answer]:
    """A probe that says what is in the script, and the last of it for ever."""
    left = list(script)

    def probe(ground: Any) -> Answer:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said

    return probe


Y, N, GONE = Answer(YES, "8"), Answer(NO, "0"), NotShown("did not hold still")


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ((Y,), YES),
        # A layout that did not hold still is made anew, up to a limit.
        ((GONE, GONE, Y, GONE, Y), YES),
        ((Y, Y, GONE), NOT_SHOWN),
        ((Y, Y, N), UNCLEAR),
        ((Y, Unclear("3 of 8")), UNCLEAR),
    ],
)
def test_a_probe_says_the_same_three_times(script: Any, value: str) -> None:
    ground: Any = None
    answer = properties.measure(scripted(*script), ground)
    assert answer.value == value
    assert answer.detail


# Rows and tables.


def a_row(kernel: str, walk: str = BATCHED, arch: str = "x86_64") -> dict[str, Any]:
    """A row with an answer, a property that is not shown, and nothing else."""
    told = {"walk": Answer(walk, "8 of 8"), "refold": Answer(NOT_SHOWN, "no such entries")}
    return {
        "kernel": kernel,
        "arch": arch,
        "version": "6.12",
        "properties": {name: answer._asdict() for name, answer in told.items()},
    }


def test_rows_come_together_in_one_table(tmp_path: Path) -> None:
    matrix.add(tmp_path, [a_row("6.12.9-x"), a_row("6.9.1")])
    matrix.add(tmp_path, [a_row("7.0", arch="arm64"), a_row("6.12.9-x", PER_PTE)])
    rows = matrix.read(tmp_path / "matrix.json")
    # By version, not by text, and the new one instead of the old one.
    assert [row["kernel"] for row in rows] == ["7.0", "6.9.1", "6.12.9-x"]
    text = (tmp_path / "matrix.md").read_text()
    assert "| 6.12.9-x | x86_64 | per PTE | - |\n" in text
    assert "* 6.9.1 x86_64, refold: no such entries\n" in text
    assert "* 6.9.1 x86_64, walk: 8 of 8\n" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matrix.json", "matrix.md"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "no matrix"),
        ("[]", "no matrix"),
        ('{"format": "other 1", "rows": []}', "'other 1'; expected 'midfolio-matrix 1'"),
        ('{"format": "midfolio-matrix 1", "rows": [{}]}', "no row of a matrix"),
        (
            '{"format": "midfolio-matrix 1", "rows": [{"kernel": "6", "arch": "a", "version": "6", '
            '"properties": {"walk": {"value": 1}}}]}',
            "expected a value and a detail",
        ),
    ],
)
def test_what_is_no_matrix_is_left_alone(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "matrix.json"
    path.write_text(text)
    with pytest.raises(CaseError, match=says) as caught:
        matrix.add(tmp_path, [a_row("6.12")])
    assert str(caught.value).startswith(str(path))
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ((YES, NOT_SHOWN), exits.OK),
        ((YES, UNCLEAR), exits.TOO_LITTLE),
        ((NOT_SHOWN, NOT_SHOWN), exits.TOO_LITTLE),
    ],
)
def test_a_row_that_tells_nothing_is_no_success(values: tuple[str, ...], code: int) -> None:
    row = {"properties": {str(i): {"value": value} for i, value in enumerate(values)}}
    assert code_of([row]) == code


# Guests.


def guest(kernel: str) -> Any:
    """What booted as `kernel` left."""
    stdout = json.dumps({"row": a_row(kernel), "exit": 0})
    return SimpleNamespace(report=SimpleNamespace(stdout=stdout, stderr=""))


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (BadReport("the guest did not start"), exits.TOO_LITTLE, "kernel 6.17: the guest did not"),
        (LaneMissing("no qemu"), exits.LANE_MISSING, "kernel 6.17: no qemu"),
        (None, exits.TOO_LITTLE, "kernel 6.17: no row came back; the guest said: not root"),
    ],
)
def test_a_guest_without_a_row_is_told_and_passed_over(
    tmp_path: Path, capsys: Any, failure: Exception | None, code: int, says: str
) -> None:
    def boot(spec: str) -> Any:
        if spec != "6.17":
            return guest(spec)
        if failure is not None:
            raise failure
        return SimpleNamespace(report=SimpleNamespace(stdout="", stderr="not root\n"))

    asked = ("6.12", "6.17", "7.3", "6.12")
    assert run_guests(asked, boot, tmp_path, as_json=False, quiet=False) == code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert says in err
    assert [row["kernel"] for row in matrix.read(tmp_path / "matrix.json")] == ["6.12", "7.3"]
    assert out.splitlines()[2].startswith("| 6.12 | x86_64 | batched |")
    assert out.splitlines()[-1].endswith(f"exit {code}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("live", "--matrix", "--ops", "5"), "it takes no --ops"),
        (("live", "--matrix", "--against", "both"), "it takes no --against"),
        (("live", "--out", "there"), "give both"),
        (("vm", "--kernel", "6.12", "--matrix", "--time", "5"), "it takes no --time"),
        (("vm", "--kernel", "6.12", "--matrix", "--", "--ops", "5"), "it takes no arguments"),
        (("vm", "--kernel", "6.12", "--kernel", "7"), "several --kernel are for --matrix"),
        (("vm", "--kernel", "6.12", "--out", "there"), "give both"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        group.main(list(words), standalone_mode=False)
