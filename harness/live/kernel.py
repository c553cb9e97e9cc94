"""The running kernel seen through `bpf`: page tables of this process, struct page, folios.

Nothing here needs a symbol. The direct map is found by walking to a page whose PFN
/proc/self/pagemap tells, the memory map by finding the struct page of pages whose place
in the address space struct page itself tells.
"""

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..lane import LaneMissing
from .bpf import MAX_PLACES, Reader, ReadError
from .btf import Btf
from .machines import ENTRIES, PAGE_SHIFT, TABLE_SHIFT, Paging

GIB = 1 << 30
ONE = np.uint64(1)
ADDRESS = (1 << 64) - 1
MAX_ORDER = 10  # of a folio in the page cache or anon memory here
ANON_BIT = 1  # of folio->mapping: FOLIO_MAPPING_ANON (PAGE_MAPPING_ANON before 6.18)
ANON_KINDS = 3  # the two low bits: movable and KSM have the other one set, too
# Steps between the places where the memory map can begin: that of 1 GiB of memory.
MAP_STEP = 1 << 24
STRUCTS = ("task_struct", "mm_struct", "page", "folio", "vm_struct")


class Offsets(NamedTuple):
    """Where in the kernel's structures things stand, in bytes, and numbers of page flags."""

    task_mm: int
    mm_pgd: int
    task_stack: int
    stack_pages: int
    page_size: int
    folio_mapping: int
    folio_index: int
    page_link: int  # bit 0 of this word is set in a tail page, whatever else it says
    head: int
    anon_exclusive: int


def offsets_of(btf: Btf) -> Offsets:
    """The offsets that `btf` gives; LaneMissing for a kernel that lacks one."""
    return Offsets(
        task_mm=btf.offset("task_struct", "mm"),
        mm_pgd=btf.offset("mm_struct", "pgd"),
        task_stack=btf.offset("task_struct", "stack_vm_area"),
        stack_pages=btf.offset("vm_struct", "pages"),
        page_size=btf.size("page"),
        folio_mapping=btf.offset("folio", "mapping"),
        folio_index=btf.offset("folio", "index"),
        page_link=btf.offset("page", "compound_head", "compound_info"),
        head=1 << btf.enumerator("PG_head"),
        anon_exclusive=1 << btf.enumerator("PG_anon_exclusive"),
    )


class NotThere(Exception):
    """No table of the lowest level stands behind an address: nothing there, or a huge page."""


def find_table(
    word: Callable[[int], int], paging: Paging, levels: int, pgd: int, direct: int, address: int
) -> int:
    """The kernel address of the page table of the lowest level that maps `address`.

    `word` reads kernel memory, `direct` is the address of physical address 0. Raises
    NotThere, and ReadError where `direct` is wrong.
    """
    table = pgd
    for level in range(levels - 1, 0, -1):
        index = address >> PAGE_SHIFT + level * TABLE_SHIFT & ENTRIES - 1
        entry = word(table + index * 8)
        if not entry & paging.present or entry & paging.table_bits != paging.table_value:
            raise NotThere(f"level {level} of {address:#x} is {entry:#x}")
        table = direct + (entry & paging.table_mask) & ADDRESS
    return table


class Pagemap:
    """/proc/self/pagemap: PFNs, for root."""

    def __init__(self) -> None:
        """Open it."""
        self._fd = os.open("/proc/self/pagemap", os.O_RDONLY)

    def pfn(self, address: int) -> int:
        """The PFN behind `address`; 0 without one or without the right to know it."""
        (word,) = struct.unpack("<Q", os.pread(self._fd, 8, (address >> PAGE_SHIFT) * 8))
        return int(word) & (1 << 55) - 1 if word >> 63 else 0


def highest_pfn(iomem: Path = Path("/proc/iomem")) -> int:
    """The PFN of the last page of RAM; 0 where /proc/iomem does not tell."""
    last = 0
    with contextlib.suppress(OSError):
        for line in iomem.read_text().splitlines():
            place, _, what = line.partition(" : ")
            if what == "System RAM":
                last = max(last, int(place.split("-")[1], 16) >> PAGE_SHIFT)
    return last


class Found(NamedTuple):
    """A folio that pages of a window belong to; several are an array with such rows."""

    pfn: int
    nr_pages: int
    anon: bool


class Kernel:
    """The page tables of this process, and the struct pages behind them."""

    def __init__(self, reader: Reader, paging: Paging, offsets: Offsets, probes: list[int]) -> None:
        """Find the bases; `probes` are addresses of three private anon pages that were written."""
        self.reader, self.paging, self.offsets = reader, paging, offsets
        self.levels, self.direct = self._find_direct(probes[0])
        self.memory_map = self._find_map(probes)

    def _pgd(self) -> int:
        mm = self.reader.word(self.reader.task() + self.offsets.task_mm)
        return self.reader.word(mm + self.offsets.mm_pgd)

    def _find_direct(self, probe: int) -> tuple[int, int]:
        pfn = Pagemap().pfn(probe)
        if not pfn:
            raise LaneMissing("/proc/self/pagemap tells no PFN; it does to root (CAP_SYS_ADMIN)")
        pgd = self._pgd()
        gibibytes = (highest_pfn() or pfn) >> 30 - PAGE_SHIFT
        for levels in self.paging.levels:
            for below in range(gibibytes + 1):
                direct = (pgd & -GIB) - below * GIB & ADDRESS
                with contextlib.suppress(NotThere, ReadError):
                    word = self.reader.word(
                        find_table(self.reader.word, self.paging, levels, pgd, direct, probe)
                        + (probe >> PAGE_SHIFT & ENTRIES - 1) * 8
                    )
                    if word & self.paging.table_mask == pfn << PAGE_SHIFT:
                        return levels, direct
        raise LaneMissing("the direct map of physical memory was not found from mm->pgd")

    def _find_map(self, probes: list[int]) -> int:
        """The address of the struct page of PFN 0, from the page of this thread's kernel stack."""
        pagemap = Pagemap()
        pfns = [(address, pagemap.pfn(address)) for address in probes]
        o = self.offsets
        area = self.reader.word(self.reader.task() + o.task_stack)
        near = self.reader.word(self.reader.word(area + o.stack_pages)) & -MAP_STEP
        gibibytes = (highest_pfn() or max(pfn for _, pfn in pfns)) >> 30 - PAGE_SHIFT
        for below in range(gibibytes + 65):
            base = near - below * MAP_STEP & ADDRESS
            if all(self._is_page_of(base + pfn * o.page_size, a) for a, pfn in pfns):
                return base
        raise LaneMissing("the memory map (vmemmap) was not found from the kernel's stack")

    def _is_page_of(self, page: int, address: int) -> bool:
        """Whether `page` is a struct page of private anon memory at `address`."""
        with contextlib.suppress(ReadError):
            mapping = self.reader.word(page + self.offsets.folio_mapping)
            index = self.reader.word(page + self.offsets.folio_index)
            return mapping & ANON_KINDS == ANON_BIT and index == address >> PAGE_SHIFT
        return False

    # Page tables.

    def table(self, address: int) -> int:
        """The kernel address of the entry that maps `address`; NotThere without one."""
        table = find_table(
            self.reader.word, self.paging, self.levels, self._pgd(), self.direct, address
        )
        return table + (address >> PAGE_SHIFT & ENTRIES - 1) * 8

    # Folios.

    def _flags(self, pfn: int, count: int) -> Any:
        """The page flags of `count` pages from `pfn` on."""
        step = self.offsets.page_size // 8
        return self.reader.words(self.memory_map + pfn * step * 8, count * step)[::step]

    def folio(self, pfn: int) -> Found:
        """The folio that holds `pfn`.

        A folio is aligned to its size, so the head of a tail page is one of few pages; that
        saves reading how it names its head, which differs between kernels.
        """
        o, step = self.offsets, self.offsets.page_size // 8
        page = self.reader.words(self.memory_map + pfn * o.page_size, 2 * step)
        flags, link, mapping = int(page[0]), int(page[o.page_link // 8]), page[o.folio_mapping // 8]
        if not link & 1:
            # The order stands in the flags of the second page: folio->_flags_1.
            size = 1 << (int(page[step]) & 0xFF) if flags & o.head else 1
            return Found(pfn, size, int(mapping) & ANON_KINDS == ANON_BIT)
        head = pfn
        for order in range(1, MAX_ORDER + 1):
            at = pfn & -(1 << order)
            if at == head:
                continue
            head = at
            first = self._flags(head, 2)
            if int(first[0]) & o.head and head + (1 << (int(first[1]) & 0xFF)) > pfn:
                return Found(head, 1 << (int(first[1]) & 0xFF), self._is_anon(head))
        raise NotThere(f"page {pfn:#x} is a tail of no folio up to order {MAX_ORDER}")

    def _is_anon(self, head: int) -> bool:
        page = self.memory_map + head * self.offsets.page_size
        return self.reader.word(page + self.offsets.folio_mapping) & ANON_KINDS == ANON_BIT

    def _gather(self, pfns: Any, words: int) -> Any:
        """The first `words` of the struct pages of `pfns` (int64[])."""
        places = np.uint64(self.memory_map) + pfns.astype(np.uint64) * np.uint64(
            self.offsets.page_size
        )
        parts = [
            self.reader.gather(places[at : at + MAX_PLACES], words).copy()
            for at in range(0, len(places), MAX_PLACES)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, words), np.uint64)

    def folios(self, pfns: Any) -> Any:
        """int64[folios, 3], a row as of `Found` for each folio that holds pages of `pfns`, ascending."""
        o, step = self.offsets, self.offsets.page_size // 8
        pfns = np.sort(pfns.astype(np.int64))
        pfns = pfns[np.diff(pfns, prepend=-1) != 0]
        # Two pages: the order of a folio stands in the flags of its second one.
        pages = self._gather(pfns, step + 1)
        tails = pages[:, o.page_link // 8] & ONE != 0
        found = np.empty((len(pfns), 3), np.int64)
        found[:, 0] = pfns
        large = pages[:, 0] & np.uint64(o.head) != 0
        found[:, 1] = np.where(large, ONE << (pages[:, step] & np.uint64(0xFF)), ONE)
        found[:, 2] = pages[:, o.folio_mapping // 8] & np.uint64(ANON_KINDS) == ANON_BIT
        if not tails.any():
            return found
        # How far the folios reach whose heads were seen so far: beyond that, a tail's was not.
        ends = np.maximum.accumulate(np.where(tails, 0, pfns + found[:, 1]))
        lost = list(self._folios_of_tails(pfns[tails & (pfns >= ends)].tolist()))
        found = found[~tails]
        if not lost:
            return found
        # Not argsort(): emulated by qemu 7.2 its AVX code sorts wrongly.
        return np.array(sorted([*map(tuple, found.tolist()), *lost]), np.int64)

    def _folios_of_tails(self, pfns: list[int]) -> Iterator[Found]:
        """The folios that hold `pfns`, each once; none of their heads is among them."""
        end = -1
        for pfn in pfns:
            if pfn >= end:
                found = self.folio(pfn)
                end = found.pfn + found.nr_pages
                yield found

    def exclusive(self, folios: Any) -> Any:
        """bool[pages], PageAnonExclusive of each page of `folios` (rows of them), one after the other.

        False for those of a folio that is not anon: there the same flag means something else.
        """
        if not len(folios):
            return np.zeros(0, bool)
        first, sizes, anon = folios[:, 0], folios[:, 1], folios[:, 2] != 0
        # The PFN of each page: its place among all, moved to where its folio begins.
        ends = np.cumsum(sizes)
        pfns = np.arange(ends[-1]) + np.repeat(first - (ends - sizes), sizes)
        wanted = np.repeat(anon, sizes)
        found = np.zeros(len(pfns), bool)
        flag = np.uint64(self.offsets.anon_exclusive)
        found[wanted] = self._gather(pfns[wanted], 1)[:, 0] & flag != 0
        return found
