"""The parts of the live oracle that need no kernel of their own: readers, walks, settings, probes, plans."""

import contextlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fuzz import exits
from harness import classes
from harness.case import layout_of
from harness.live import btf, calls, kernel, machines, plans, probes, session
from harness.live.bpf import Reader
from harness.live.judging import Model, Verdict
from harness.live.kernel import Found, Kernel, NotThere, Offsets, find_table
from harness.live.lane import LaneMissing
from harness.live.layouts import runs
from harness.live.memory import PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, Vma
from harness.live.oracle import Observed, Tally
from harness.live.settings import Settings, chosen
from harness.live.window import Window
from harness.sane import broken_rules
from harness.targets import load
from mm.flags import MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE
from mm.jit import ROOT
from tests.test_cli import midfolio

READ_WRITE = PROT_READ | PROT_WRITE
TRY = int(MM_CP_TRY_CHANGE_WRITABLE)


# BTF.


class Description:
    """A BTF file, written type by type."""

    def __init__(self) -> None:
        self.strings, self.types = b"\0", b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: int, name: str, parts: list[bytes], size: int, flag: int = 0) -> None:
        head = struct.pack("<III", self.name(name), flag << 31 | kind << 24 | len(parts), size)
        self.types += head + b"".join(parts)

    def member(self, name: str, kind: int, bits: int) -> bytes:
        return struct.pack("<III", self.name(name), kind, bits)

    def data(self) -> bytes:
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return header + self.types + self.strings


def a_description() -> bytes:
    d = Description()
    d.types += struct.pack("<IIII", d.name("long"), 1 << 24, 8, 64)  # 1: an integer
    d.add(5, "", [d.member("index", 1, 0), d.member("share", 1, 0)], 8)  # 2: a nameless union
    d.add(4, "", [d.member("lru", 1, 0), d.member("", 2, 128)], 24)  # 3: a nameless struct
    d.add(4, "page", [d.member("flags", 1, 0), d.member("", 3, 64)], 64)  # 4
    # 5: with the flag set, offsets carry the size of bit fields above them.
    d.add(4, "task_struct", [d.member("few", 1, 3 << 24 | 96), d.member("mm", 1, 256)], 99, flag=1)
    d.add(6, "pageflags", [struct.pack("<Ii", d.name("PG_head"), 6)], 4)  # 6
    d.add(19, "wide", [struct.pack("<III", d.name("PG_wide"), 21, 0)], 8)  # 7
    return d.data()


def test_btf_finds_members_of_nameless_parts_and_enumerators() -> None:
    found = btf.Btf(a_description(), ("page", "task_struct"))
    assert found.size("page") == 64
    assert found.offset("page", "flags") == 0
    assert found.offset("page", "index") == 24
    assert found.offset("page", "gone", "lru") == 8
    assert found.offset("task_struct", "mm") == 32
    assert found.offset("task_struct", "few") == 12
    assert found.enumerator("PG_head") == 6
    assert found.enumerator("PG_wide") == 21


@pytest.mark.parametrize(
    "ask",
    [
        lambda b: b.offset("page", "gone"),
        lambda b: b.size("folio"),
        lambda b: b.enumerator("PG_gone"),
        # A name that is there, and no enumerator.
        lambda b: b.enumerator("index"),
    ],
)
def test_what_btf_lacks_is_named(ask: Callable[[btf.Btf], int]) -> None:
    with pytest.raises(LaneMissing, match=r"gone|folio|index"):
        ask(btf.Btf(a_description(), ("page", "folio")))


def test_a_broken_btf_is_none(tmp_path: Path) -> None:
    for data in (b"", b"\x9f\xeb", a_description()[:-5], b"ELF" + bytes(60)):
        with pytest.raises(LaneMissing, match="BTF"):
            btf.Btf(data, ("page",))
    with pytest.raises(LaneMissing, match="no BTF"):
        btf.read_btf(("page",), tmp_path / "vmlinux")


@pytest.mark.skipif(not btf.VMLINUX.exists(), reason="this kernel has no BTF")
def test_btf_of_this_kernel() -> None:
    found = kernel.offsets_of(btf.read_btf(kernel.STRUCTS))
    assert found.page_size >= 56
    assert found.page_size % 8 == 0
    assert found.head != found.anon_exclusive
    assert 0 < found.folio_mapping < found.page_size


# Page tables.


class Memory:
    """Physical memory with page tables in it, seen through a direct map."""

    def __init__(self, arch: str, levels: int, direct: int) -> None:
        self.paging = machines.MACHINES[arch].paging
        self.levels, self.direct = levels, direct
        self.words: dict[int, int] = {}
        self.free = 0x5000
        self.pgd = self.table()

    def table(self) -> int:
        self.free += 0x1000
        return self.free

    def map(self, address: int, until: int = 0) -> int:
        """Tables down to level `until` for `address`; the physical address of the last one."""
        table = self.pgd
        for level in range(self.levels - 1, until, -1):
            at = table + (address >> 12 + 9 * level & 511) * 8
            if at not in self.words:
                bits = self.paging.present | self.paging.table_value
                self.words[at] = self.table() | bits | 1 << 63
            table = self.words[at] & self.paging.table_mask
        return table

    def read(self, address: int) -> int:
        return self.words.get(address - self.direct, 0)


@pytest.mark.parametrize(
    ("arch", "levels"), [("x86_64", 4), ("x86_64", 5), ("arm64", 3), ("arm64", 4)]
)
def test_walk_reaches_the_table(arch: str, levels: int) -> None:
    memory = Memory(arch, levels, 0xFFFF_8881_0000_0000)
    address = 0x7F12_3456_7000 & (1 << 12 + 9 * levels) - 1
    table = memory.map(address)
    found = find_table(
        memory.read, memory.paging, levels, memory.direct + memory.pgd, memory.direct, address
    )
    assert found == memory.direct + table
    # Another gigabyte has no table, and a huge page is none.
    with pytest.raises(NotThere):
        find_table(
            memory.read,
            memory.paging,
            levels,
            memory.direct + memory.pgd,
            memory.direct,
            address ^ 1 << 30,
        )
    at = memory.map(address, until=1) + (address >> 21 & 511) * 8
    memory.words[at] ^= memory.paging.table_bits
    with pytest.raises(NotThere, match="level 1"):
        find_table(
            memory.read, memory.paging, levels, memory.direct + memory.pgd, memory.direct, address
        )


class Pages:
    """A reader of a memory map that is an array: 64 bytes for each page."""

    OFFSETS = Offsets(0, 0, 0, 0, 64, 24, 32, 8, 1 << 6, 1 << 11)

    def __init__(self, count: int) -> None:
        self.map = np.zeros((count, 8), np.uint64)

    def folio(self, pfn: int, order: int, *, anon: bool, exclusive: tuple[int, ...] = ()) -> None:
        for page in range(1 << order):
            self.map[pfn + page, 1] = 0xDEAD0001 if page else 0
        if order:
            self.map[pfn, 0] |= np.uint64(1 << 6)
            self.map[pfn + 1, 0] |= np.uint64(order)
        self.map[pfn, 3] = 0x1001 if anon else 0x1000
        for page in exclusive:
            self.map[pfn + page, 0] |= np.uint64(1 << 11)

    def words(self, address: int, count: int) -> Any:
        return self.map.reshape(-1)[address // 8 : address // 8 + count]

    def word(self, address: int) -> int:
        return int(self.words(address, 1)[0])

    def gather(self, places: Any, count: int) -> Any:
        return np.array([self.words(int(place), count) for place in places], np.uint64)


def a_kernel(pages: Pages) -> Kernel:
    made: Kernel = Kernel.__new__(Kernel)
    made.reader, made.offsets, made.memory_map = pages, pages.OFFSETS, 0  # type: ignore[assignment]
    return made


def test_folios_of_pages_in_any_order() -> None:
    pages = Pages(4096)
    pages.folio(64, 4, anon=True, exclusive=(0, 3, 15))
    pages.folio(80, 0, anon=True, exclusive=(0,))
    pages.folio(81, 0, anon=False, exclusive=(0,))
    pages.folio(1024, 9, anon=False)
    seen = a_kernel(pages)
    pfns = np.array([81, 70, 80, 79, 64, 1500, 1400], np.uint64)
    folios = seen.folios(pfns)
    assert folios == [
        Found(64, 16, True),
        Found(80, 1, True),
        Found(81, 1, False),
        Found(1024, 512, False),
    ]
    marks = seen.exclusive(folios)
    # The flag of a page that is not anon says something else.
    assert np.flatnonzero(marks).tolist() == [0, 3, 15, 16]
    # A head that no entry maps is found from a tail.
    assert seen.folio(70) == Found(64, 16, True)
    assert seen.exclusive([]).tolist() == []


def test_a_tail_of_nothing_is_not_there() -> None:
    pages = Pages(4096)
    pages.map[70, 1] = 1
    with pytest.raises(NotThere):
        a_kernel(pages).folios(np.array([70]))


# Settings.


def a_machine(root: Path, size: str = "never", top: str = "madvise") -> Path:
    """A directory that looks like the settings of transparent huge pages."""
    thp = root / "thp"
    for name in ("hugepages-64kB", "hugepages-128kB"):
        (thp / name).mkdir(parents=True)
        (thp / name / "enabled").write_text(size)
        (thp / name / "shmem_enabled").write_text(size)
    (thp / "enabled").write_text(top)
    (root / "boot").write_text("boot-1\n")
    return thp


def settings_of(root: Path) -> Settings:
    return Settings(root / "work" / "journal.json", root / "thp", root / "boot")


def test_chosen() -> None:
    assert chosen("always inherit [madvise] never\n") == "madvise"
    assert chosen("1\n") == "1"


def test_settings_are_put_back(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with settings_of(tmp_path) as settings:
        settings.change(thp / "enabled", "madvise")
        assert not (tmp_path / "work").exists()
        settings.change(thp / "hugepages-64kB" / "enabled", "madvise")
        assert (thp / "hugepages-64kB" / "enabled").read_text() == "madvise"
        assert json.loads((tmp_path / "work" / "journal.json").read_text())["boot"] == "boot-1"
    assert (thp / "hugepages-64kB" / "enabled").read_text() == "never"
    assert list((tmp_path / "work").iterdir()) == []


def test_settings_are_put_back_after_an_error(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with contextlib.suppress(KeyboardInterrupt), settings_of(tmp_path) as settings:
        settings.change(thp / "enabled", "always")
        signal.raise_signal(signal.SIGINT)
    assert (thp / "enabled").read_text() == "madvise"


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.live.settings import Settings
root = Path(sys.argv[1])
settings = Settings(root / "work" / "journal.json", root / "thp", root / "boot")
for name in ("hugepages-64kB", "hugepages-128kB"):
    settings.change(root / "thp" / name / "enabled", "madvise")
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_run(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root)], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def test_the_next_start_undoes_what_a_killed_run_left(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    killed_run(tmp_path)
    changed = [thp / name / "enabled" for name in ("hugepages-64kB", "hugepages-128kB")]
    assert [path.read_text() for path in changed] == ["madvise", "madvise"]
    # Somebody has set one of them to something else meanwhile: that is theirs.
    changed[1].write_text("always")
    back = settings_of(tmp_path).undo_leftovers()
    assert back == [str(changed[0])]
    assert [path.read_text() for path in changed] == ["never", "always"]
    assert settings_of(tmp_path).undo_leftovers() == []
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_restart_forgot_is_not_undone(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    killed_run(tmp_path)
    (tmp_path / "boot").write_text("boot-2\n")
    assert settings_of(tmp_path).undo_leftovers() == []
    assert (thp / "hugepages-64kB" / "enabled").read_text() == "madvise"
    assert list((tmp_path / "work").iterdir()) == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with settings_of(tmp_path) as first:
        first.change(thp / "enabled", "always")
        second = settings_of(tmp_path)
        with pytest.raises(LaneMissing, match="another run"):
            second.undo_leftovers()
        with pytest.raises(LaneMissing, match="another run"):
            second.change(thp / "enabled", "never")
        assert (thp / "enabled").read_text() == "always"


def test_a_refused_setting_is_named(tmp_path: Path) -> None:
    a_machine(tmp_path)
    with settings_of(tmp_path) as settings, pytest.raises(LaneMissing, match="cannot set"):
        settings.change(tmp_path / "thp" / "nothing", "always")


# Probes.


def test_without_the_switch_nothing_changes(tmp_path: Path) -> None:
    places = probes.Places(thp=a_machine(tmp_path))
    with (
        settings_of(tmp_path) as settings,
        pytest.raises(LaneMissing, match=r"2 settings keep .*enabled.*--allow-sysfs"),
    ):
        probes.need_large_folios(places, settings, ("anon",), allowed=False)
    assert {path.read_text() for path in (tmp_path / "thp").rglob("*enabled")} == {
        "never",
        "madvise",
    }
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("anon", "enabled", "madvise"), ("shmem", "shmem_enabled", "advise")],
)
def test_with_the_switch_each_size_is_on(tmp_path: Path, kind: str, name: str, value: str) -> None:
    thp = a_machine(tmp_path, top="never")
    places = probes.Places(thp=thp)
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(places, settings, (kind,), allowed=True)
        assert {path.read_text() for path in thp.glob(f"*/{name}")} == {value}
        assert (thp / "enabled").read_text() == ("madvise" if kind == "anon" else "never")
    assert {path.read_text() for path in thp.glob(f"*/{name}")} == {"never"}
    assert (thp / "enabled").read_text() == "never"


def test_what_is_on_already_needs_no_switch(tmp_path: Path) -> None:
    places = probes.Places(thp=a_machine(tmp_path, size="always"))
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(places, settings, ("anon", "uffd", "shmem"), allowed=False)
    assert not (tmp_path / "work").exists()


def test_files_need_no_setting(tmp_path: Path) -> None:
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(
            probes.Places(thp=tmp_path / "no"), settings, ("file",), allowed=False
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"euid": lambda: 1000}, "not root"),
        ({"machine": lambda: "riscv64"}, "x86_64 and aarch64, not riscv64"),
        ({"release": lambda: "5.15.0-generic"}, "older than all that are modelled"),
        ({"release": lambda: "unknown"}, "is no version"),
        ({"btf": Path("/nonexistent/vmlinux")}, "no BTF: /nonexistent/vmlinux"),
    ],
)
def test_each_absence_is_one_line(change: dict[str, Any], says: str) -> None:
    places = probes.Places(**{"euid": lambda: 0, "machine": lambda: "x86_64", **change})
    with pytest.raises(LaneMissing, match=says) as caught:
        probes.probe(places, ("anon",))
    assert "\n" not in str(caught.value)


def test_without_large_folios_at_all(tmp_path: Path) -> None:
    with settings_of(tmp_path) as settings:
        with pytest.raises(LaneMissing, match="CONFIG_TRANSPARENT_HUGEPAGE"):
            probes.need_large_folios(probes.Places(thp=tmp_path), settings, ("anon",), allowed=True)
        (tmp_path / "enabled").write_text("madvise")
        with pytest.raises(LaneMissing, match="no large folios below 2 MiB"):
            probes.need_large_folios(probes.Places(thp=tmp_path), settings, ("anon",), allowed=True)


def test_without_bpf() -> None:
    with pytest.raises(LaneMissing, match=r"bpf\(2\) refuses a map: this kernel has none"):
        Reader(100_000)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.107", "6.12"),
        ("6.16.3+deb14-amd64", "6.16"),
        ("6.18.44-fc", "6.18"),
        ("7.2.13", "6.18"),
        ("7.3.4", "7.3"),
        ("10.1", "7.3"),
    ],
)
def test_a_kernel_is_modelled_by_the_newest_that_is_not_newer(release: str, version: str) -> None:
    assert probes.modelled(release) == version


def test_the_verb_says_what_lacks(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from fuzz.commands import group

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    places = probes.Places(euid=lambda: 1000)
    monkeypatch.setattr(probes, "Places", lambda: places)
    assert group.main(["live"], standalone_mode=False) == exits.LANE_MISSING
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("midfolio: live: not root")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--kind", "swap"), "'swap' is not one of"), (("--ops", "0"), "--ops"), (("x",), "x")],
)
def test_bad_usage(arguments: tuple[str, ...], says: str) -> None:
    done = midfolio("live", *arguments)
    assert done.returncode == exits.BAD_INPUT
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


# Which calls.


PRIVATE = calls.Mapping(shared=False, anon=True, uffd=False, armed=False, notifies=False)
FILE = PRIVATE._replace(shared=True, anon=False, notifies=True)
SHMEM = FILE._replace(notifies=False)
X86 = layout_of("x86_64")
RO, RW = 0x8000_0000_0000_0025, 0x8000_0000_0000_0027


@pytest.mark.parametrize(
    ("mapping", "old", "prot", "cp_flags", "newprot"),
    [
        (PRIVATE, PROT_READ, READ_WRITE, TRY, RO),
        (PRIVATE, READ_WRITE, PROT_READ, 0, RO),
        (PRIVATE, READ_WRITE, PROT_NONE, 0, 0x120),
        (FILE, PROT_READ, READ_WRITE, TRY, RO),
        (FILE, READ_WRITE, PROT_READ | PROT_EXEC, 0, 0x25),
        (SHMEM, PROT_READ, READ_WRITE, 0, RW),
        # Protected by userfaultfd a shared page must fault before it is written, but the
        # protection before the call is another one, so nothing is upgraded.
        (SHMEM._replace(uffd=True), PROT_READ, READ_WRITE, 0, RO),
        (SHMEM._replace(armed=True), PROT_READ, READ_WRITE, 0, RO),
    ],
)
def test_what_mprotect_asks_for(
    mapping: calls.Mapping, old: int, prot: int, cp_flags: int, newprot: int
) -> None:
    (call,) = calls.calls_of_mprotect(X86, mapping, [Vma(0, 8, old)], 2, 6, prot)
    assert (call.first, call.last, call.cp_flags, call.newprot) == (2, 6, cp_flags, newprot)


def test_writes_are_noticed_where_somebody_asks() -> None:
    flags = calls.vma_flags(SHMEM, READ_WRITE)
    assert calls.page_protection(X86, SHMEM, flags) == RW
    for change in ({"notifies": True}, {"uffd": True}, {"armed": True}):
        mapping = SHMEM._replace(**change)
        flags = calls.vma_flags(mapping, READ_WRITE)
        assert calls.page_protection(X86, mapping, flags) == RO
        # A file system is asked first; the others only where the protection is the VMA's own.
        assert calls.wants_writenotify(X86, mapping, flags, RO) == mapping.notifies
        assert calls.wants_writenotify(X86, mapping, flags, RW)


def test_each_vma_is_one_call_and_those_that_stay_are_none() -> None:
    vmas = [Vma(0, 4, PROT_READ), Vma(4, 6, READ_WRITE), Vma(6, 9, PROT_NONE)]
    found = calls.calls_of_mprotect(X86, PRIVATE, vmas, 1, 8, READ_WRITE)
    assert [(call.first, call.last) for call in found] == [(1, 4), (6, 8)]
    assert calls.calls_of_mprotect(X86, PRIVATE, vmas, 4, 6, READ_WRITE) == []


def test_what_userfaultfd_asks_for() -> None:
    vmas = [Vma(0, 4, PROT_READ), Vma(4, 6, READ_WRITE)]
    mapping = PRIVATE._replace(uffd=True)
    on = calls.calls_of_uffd(X86, mapping, vmas, 0, 6, True)
    off = calls.calls_of_uffd(X86, mapping, vmas, 0, 6, False)
    assert [call.cp_flags for call in on] == [int(MM_CP_UFFD_WP)] * 2
    resolve = int(MM_CP_UFFD_WP_RESOLVE)
    assert [call.cp_flags for call in off] == [resolve, resolve | TRY]
    # A neighbour may have other rights than the VMA that is asked about.
    assert {call.margin for call in (*on, *off)} == {0}


# Plans.


@pytest.mark.parametrize("kind", plans.KINDS)
def test_a_plan_is_the_same_each_time_and_fits_its_window(kind: str) -> None:
    for index in range(20):
        made = plans.plan(7, index, kind, 64, takes_back=True)
        assert made == plans.plan(7, index, kind, 64, takes_back=True)
        at = 0
        for first, last, what in made.pieces:
            assert first == at
            at = last
            if what == plans.FOLIO:
                assert (last - first).bit_count() == 1
                assert first % (last - first) == 0
        assert at == 64
        for step in made.steps:
            if step.what.startswith("protect"):
                assert 0 <= step.first < step.last <= 64
            assert all(0 <= page < 64 for page in step.pages)
    assert plans.plan(7, 1, kind, 64, takes_back=True) != plans.plan(
        8, 1, kind, 64, takes_back=True
    )


def test_plans_begin_and_end_inside_folios() -> None:
    inside = 0
    for index in range(50):
        made = plans.plan(1, index, "anon", 64, takes_back=True)
        edges = {edge for first, last, _ in made.pieces for edge in (first, last)}
        inside += sum(s.what == "protect" and s.first not in edges for s in made.steps)
    assert inside > 50 * plans.STEPS / 4


def test_a_kernel_that_copies_gets_its_exclusive_pages_otherwise() -> None:
    ways = {plans.plan(1, i, "anon", 64, takes_back=False).forked for i in range(40)}
    assert ways == {"", "keep"}


def test_a_layout_does_not_depend_on_the_other_kinds() -> None:
    kinds = {plans.kind_of(1, index, plans.KINDS) for index in range(40)}
    assert kinds == set(plans.KINDS)
    assert plans.kind_of(1, 3, ("file",)) == "file"


def test_runs() -> None:
    assert list(runs([])) == []
    assert list(runs([0, 1, 5, 6, 7, 9])) == [(0, 2), (5, 8), (9, 10)]
    pages = sorted(random.Random(1).sample(range(500), 200))
    assert [page for first, last in runs(pages) for page in range(first, last)] == pages


# Judging.


def a_window() -> tuple[Window, tuple[int, int]]:
    """A folio of four pages, the middle two of which become writable if they are exclusive."""
    window = Window("x86_64", "6.18", X86.config._replace(soft_dirty=False))
    window.set_folios([Found(64, 4, True)], np.array([1, 1, 0, 1], bool))
    before = np.array([RO | pfn << 12 for pfn in range(64, 68)], np.uint64)
    (call,) = calls.calls_of_mprotect(X86, PRIVATE, [Vma(0, 4, PROT_READ)], 1, 3, READ_WRITE)
    return window, window.set_call(PRIVATE, call, 0x7F00_0000_0000, before)


def test_the_case_is_what_was_read() -> None:
    window, shown = a_window()
    case = window.case()
    assert shown == (0, 4)
    assert case.check() is None
    assert list(broken_rules(case)) == []
    assert (case.call.start, case.call.end, case.call.cp_flags) == (1, 3, TRY)
    assert [(f.pfn, f.nr_pages, f.exclusive) for f in case.folios] == [(64, 4, 0b1011)]


@pytest.mark.parametrize("name", ["batched", "reference"])
def test_each_bit_of_each_entry_counts(name: str) -> None:
    window, _ = a_window()
    model = Model(load(name, "x86_64"), window)
    right = np.array(window.case().ptes, np.uint64)
    right[1] |= np.uint64(2)
    verdict = model.judge(right)
    assert (verdict.same, verdict.wrong, verdict.differing, verdict.flushes) == (
        True,
        False,
        0,
        True,
    )
    for entry in range(4):
        for bit in range(64):
            other = right.copy()
            other[entry] ^= np.uint64(1 << bit)
            verdict = model.judge(other)
            assert verdict.wrong
            assert (verdict.same, verdict.differing) == (False, 1 << bit)


def test_the_relation_names_what_the_kernel_did() -> None:
    window, _ = a_window()
    wrong = np.array(window.case().ptes, np.uint64)
    # The page that is not exclusive becomes writable, and not the one that is.
    wrong[2] |= np.uint64(2)
    union = Model(load("batched", "x86_64"), window).judge(wrong).union
    assert {"cow-write", "write-lost", "invariant-W"} <= set(classes.names(union))


# Budgets and noise.


class Again:
    """An oracle that sees an observation again, or does not."""

    def __init__(self, *answers: bool) -> None:
        self.tally = Tally(operations=100)
        self.live = SimpleNamespace(machine=machines.MACHINES["x86_64"])
        self.answers = list(answers)

    def again(self, layout: int, step: int) -> list[Observed]:
        return [observed(1 << 5)] if self.answers.pop(0) else []


def observed(differing: int, why: str = "words", *, preempted: bool = False) -> Observed:
    """An observation of entries that differ in the bits `differing`."""
    window, _ = a_window()
    verdict = Verdict(same=False, union=0, flushes=False, differing=differing)
    return Observed(1, 2, "anon", 3, 64, window.case(), (), None, preempted, verdict, why)


def settled(found: Observed, *answers: bool) -> tuple[int, dict[str, int]]:
    oracle: Any = Again(*answers)
    run = session.Session(oracle, session.Budget(1, None), lambda _: None, lambda _: None)
    run._settle(found)
    return oracle.tally.mismatches, oracle.tally.noise


def test_accessed_bits_that_do_not_come_again_are_noise() -> None:
    accessed, dirty = 1 << 5, 1 << 6
    assert settled(observed(accessed), True, False) == (0, {"unlike-model": 1})
    assert settled(observed(accessed), True, True) == (1, {})
    assert settled(observed(0, "flush"), False, False) == (0, {"flush": 1})
    # All else is a mismatch at once.
    assert settled(observed(dirty), False, False) == (1, {})
    assert settled(observed(accessed | dirty), False, False) == (1, {})


def test_what_happened_while_another_task_ran_is_counted_apart() -> None:
    assert settled(observed(1 << 5, preempted=True), False, False) == (0, {})
    # And is a mismatch as any other if it comes again.
    assert settled(observed(1 << 5, preempted=True), True, True) == (1, {})
    assert settled(observed(1 << 6, preempted=True), False, False) == (1, {})


def test_noise_has_a_limit() -> None:
    oracle: Any = Again()
    run = session.Session(oracle, session.Budget(1, None), lambda _: None, lambda _: None)
    for operations, noise, noisy in ((10, 3, False), (10, 4, True), (50_000, 11, True)):
        oracle.tally.operations, oracle.tally.noise = operations, {"flush": noise}
        assert run.is_noisy is noisy


def test_a_budget_ends_with_whichever_comes_first() -> None:
    both = session.Budget(100, 5.0)
    assert not both.is_used_up(99, 4.9)
    assert both.is_used_up(100, 0.0)
    assert both.is_used_up(0, 5.0)
    assert not session.Budget(None, None).is_used_up(1 << 40, 1e9)
