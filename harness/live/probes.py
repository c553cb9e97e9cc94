"""What is asked of the machine before anything is done: each answer, or one line that says what lacks."""

import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.case import layout_of
from mm.version import VERSIONS, Config

from ..lane import LaneMissing
from . import memory
from .bpf import Reader
from .btf import VMLINUX, read_btf
from .flushes import Flushes
from .kernel import STRUCTS, Kernel, highest_pfn, offsets_of
from .machines import PAGE, Machine, this_machine
from .memory import MADV_NOHUGEPAGE, PROT_NONE, PROT_READ, PROT_WRITE, Uffd
from .settings import THP, Settings, chosen

READ_WRITE = PROT_READ | PROT_WRITE
# The smallest is one of shmem only.
SIZES = ("8kB", "16kB", "32kB", "64kB", "128kB", "256kB", "512kB", "1024kB")
# The setting of each size that each kind of layout needs.
WANTED: dict[str, tuple[str, ...]] = {
    "anon": ("enabled",),
    "uffd": ("enabled", "shmem_enabled"),
    "shmem": ("shmem_enabled",),
    "file": (),
}
# Values under which what is advised comes as large folios; the first is what it is set to.
ON = {"enabled": ("madvise", "always"), "shmem_enabled": ("advise", "always", "within_size")}
SWITCH = "--allow-sysfs"


@dataclass
class Places:
    """Where the machine is asked; tests put others here."""

    thp: Path = THP
    btf: Path = VMLINUX
    numa: Path = Path("/proc/sys/kernel/numa_balancing")
    iomem: Path = Path("/proc/iomem")
    euid: Callable[[], int] = os.geteuid
    release: Callable[[], str] = platform.release
    machine: Callable[[], str] = platform.machine


def modelled(release: str) -> str:
    """The modelled version that stands for a kernel release: the newest that is not newer."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found:
        raise LaneMissing(f"kernel release {release!r} is no version")
    running = int(found[1]), int(found[2])
    known = {name: tuple(map(int, name.split("."))) for name in VERSIONS}
    older = [name for name, version in known.items() if version <= running]
    if not older:
        raise LaneMissing(
            f"kernel {release} is older than all that are modelled: {', '.join(known)}"
        )
    return max(older, key=known.__getitem__)


def need_root(places: Places) -> None:
    """LaneMissing for who may not read physical addresses."""
    if places.euid() != 0:
        raise LaneMissing("not root: page tables are read with CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN")


def need_large_folios(
    places: Places,
    settings: Settings,
    kinds: tuple[str, ...],
    *,
    allowed: bool,
    dry: bool = False,
) -> None:
    """See to it that what a layout asks for comes as large folios.

    Changes nothing unless `allowed`, and then through `settings`; `dry`: not even then.
    LaneMissing where the kernel has none, or where they are off and may not be switched on.
    """
    names = sorted({name for kind in kinds for name in WANTED[kind]})
    top = places.thp / "enabled"
    if names and not top.exists():
        raise LaneMissing(
            f"no large folios: {places.thp} is not there (CONFIG_TRANSPARENT_HUGEPAGE)"
        )
    off: list[tuple[Path, str]] = []
    for name in names:
        there = [places.thp / f"hugepages-{size}" / name for size in SIZES]
        there = [path for path in there if path.exists()]
        if not there:
            raise LaneMissing(f"no large folios below 2 MiB: {places.thp} has no size with {name}")
        off += [(path, ON[name][0]) for path in there if chosen(path.read_text()) not in ON[name]]
    if "enabled" in names and chosen(top.read_text()) == "never":
        off.append((top, "madvise"))
    if off and not allowed:
        raise LaneMissing(
            f"{len(off)} settings keep large folios off ({off[0][0]}): {SWITCH} changes them for "
            "the run and puts them back; --kind file needs none"
        )
    for path, value in () if dry else off:
        settings.change(path, value)


class Live(NamedTuple):
    """A machine on which everything is there."""

    machine: Machine
    release: str
    version: str  # the modelled one
    config: Config
    kernel: Kernel
    uffd: Uffd | None
    flushes: Flushes | None
    no_flushes: str  # why flushes are not judged


class Scratch:
    """Three written pages, one that was read only, and room beside them."""

    def __init__(self) -> None:
        """Map them."""
        self.address = memory.reserve(16 * PAGE, PAGE)
        flags = memory.MAP_FIXED | memory.MAP_PRIVATE | memory.MAP_ANONYMOUS
        memory.map_memory(self.address, 16 * PAGE, READ_WRITE, flags)
        memory.advise(self.address, 16 * PAGE, MADV_NOHUGEPAGE)
        self.view = memory.bytes_at(self.address, 16 * PAGE)
        for page in range(3):
            self.view[page * PAGE] = 1
        self.zero = self.view[3 * PAGE]

    @property
    def written(self) -> list[int]:
        """The addresses of the written pages."""
        return [self.address + page * PAGE for page in range(3)]


def probe(places: Places, kinds: tuple[str, ...]) -> Live:
    """Everything that `midfolio live` needs for `kinds`; LaneMissing names what lacks."""
    need_root(places)
    machine = this_machine(places.machine())
    release = places.release()
    version = modelled(release)
    offsets = offsets_of(read_btf(STRUCTS, places.btf))
    reader = Reader(machine.calls.bpf)
    scratch = Scratch()
    kernel = Kernel(reader, machine.paging, offsets, scratch.written)
    uffd = None
    try:
        uffd = Uffd(machine.calls.userfaultfd)
    except LaneMissing:
        if "uffd" in kinds:
            raise
    config = config_of(places, machine, kernel, scratch, uffd is not None)
    flushes, why = counted_flushes(machine, scratch)
    return Live(machine, release, version, config, kernel, uffd, flushes, why)


def config_of(
    places: Places, machine: Machine, kernel: Kernel, scratch: Scratch, uffd: bool
) -> Config:
    """The configuration, as far as a rule reads it, from what entries look like."""
    layout = layout_of(machine.arch)
    words = kernel.reader.words(kernel.table(scratch.address), 4).copy()
    soft_dirty = [field.mask for field in layout.fields if field.name == "soft_dirty"]
    return layout.config._replace(
        soft_dirty=bool(soft_dirty and words[0] & soft_dirty[0]),
        uffd_wp=uffd,
        numa_balancing=places.numa.exists(),
        zero_pfn=int((words[3] & layout.pfn_mask) >> np.uint64(layout.page_shift)),
        highest_memmap_pfn=highest_pfn(places.iomem) or layout.config.highest_memmap_pfn,
    )


def counted_flushes(machine: Machine, scratch: Scratch) -> tuple[Flushes | None, str]:
    """A counter of flushes that counts what must flush and nothing else; or why there is none."""
    try:
        flushes = Flushes(machine.calls.perf_event_open)
    except (OSError, ValueError) as error:
        return None, f"tlb:tlb_flush cannot be counted: {error}"
    # Taking a right away flushes; giving one to what nobody could use does not.
    for prot, must in ((PROT_READ, True), (PROT_NONE, True), (READ_WRITE, False)):
        before = flushes.count()
        memory.protect(scratch.address, 3 * PAGE, prot)
        if (flushes.count() > before) != must:
            return None, "tlb:tlb_flush does not count what must flush here"
        if prot == PROT_READ:
            _ = scratch.view[0]
    return flushes, ""
