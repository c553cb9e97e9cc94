"""How the live oracle reads a kernel: BTF, page tables, struct pages, without a kernel of its own."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.lane import LaneMissing
from harness.live import btf, kernel, machines
from harness.live.kernel import Found, Kernel, NotThere, Offsets, find_table

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
    assert folios.tolist() == [[64, 16, 1], [80, 1, 1], [81, 1, 0], [1024, 512, 0]]
    marks = seen.exclusive(folios)
    # The flag of a page that is not anon says something else.
    assert np.flatnonzero(marks).tolist() == [0, 3, 15, 16]
    # A head that no entry maps is found from a tail.
    assert seen.folio(70) == Found(64, 16, True)
    assert seen.exclusive(folios[:0]).tolist() == []


def test_a_tail_of_nothing_is_not_there() -> None:
    pages = Pages(4096)
    pages.map[70, 1] = 1
    with pytest.raises(NotThere):
        a_kernel(pages).folios(np.array([70]))
