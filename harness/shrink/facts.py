"""Passes over what is no entry and no page: the call, the VMA, the machine, the table's place."""

from collections.abc import Iterator
from dataclasses import replace

from mm import flags
from mm.version import DEFAULT_VERSION

from ..case import Case, Mm, layout_of
from ..casefile import DEFAULT_TABLE_ADDR
from ..renumber import renumber
from .order import vma_protections

TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)
# Rights with what a right needs, and what comes in twos.
TOGETHER = (
    flags.VM_READ | flags.VM_MAYREAD,
    flags.VM_WRITE | flags.VM_MAYWRITE,
    flags.VM_EXEC | flags.VM_MAYEXEC,
    flags.VM_SHARED | flags.VM_MAYSHARE,
    flags.VM_PFNMAP | flags.VM_MIXEDMAP,
)
RIGHTS = flags.VM_READ | flags.VM_MAYREAD


def plain_call(case: Case) -> Iterator[Case]:
    """Call with fewer flags, none first, and with a protection of the VMA, of PAGE_NONE, or empty."""
    cp = case.call.cp_flags
    fewer = dict.fromkeys((0, cp & TRY, *(cp & ~bit for bit in _each(cp)), cp))
    for cp_flags in fewer:
        for newprot in _protections(case, case.vma.flags):
            yield case.replace(call=replace(case.call, cp_flags=cp_flags, newprot=newprot))
    newprot = case.call.newprot
    for bit in _each(newprot):
        yield case.replace(call=replace(case.call, newprot=newprot & ~bit))


def plain_vma(case: Case) -> Iterator[Case]:
    """Take flags from the VMA, nearly all first, make it anonymous and populated for userfaultfd."""
    vm = case.vma.flags
    masks = (vm & ~int(RIGHTS), *(int(both) & vm for both in TOGETHER), *_each(vm))
    for mask in (vm, *dict.fromkeys(masks)):
        fewer = vm & ~mask
        for newprot in _protections(case, fewer):
            yield case.replace(
                vma=replace(case.vma, flags=fewer), call=replace(case.call, newprot=newprot)
            )
    yield case.replace(vma=replace(case.vma, anon=True))
    shared = int(flags.VM_SHARED | flags.VM_MAYSHARE)
    yield case.replace(vma=replace(case.vma, anon=True, flags=vm & ~shared))
    yield case.replace(vma=replace(case.vma, uffd_wp_unpopulated=False))


def plain_machine(case: Case) -> Iterator[Case]:
    """Set facts of the mm and of the configuration to their defaults, all of them first."""
    yield case.replace(mm=Mm())
    for name in Mm.__dataclass_fields__:
        yield case.replace(mm=replace(case.mm, **{name: getattr(Mm(), name)}))
    default = layout_of(case.arch, case.config.page_shift).config
    yield case.replace(config=default)
    for name, value in default._asdict().items():
        yield case.replace(config=case.config._replace(**{name: value}))


def default_kernel(case: Case) -> Iterator[Case]:
    """Run it as the default kernel does, in its numbers of swap types."""
    if case.kernel != DEFAULT_VERSION:
        yield renumber(case, case.layout, DEFAULT_VERSION)[0]


def default_address(case: Case) -> Iterator[Case]:
    """Put the window at the start of the default table, or at the place in it that it has now."""
    shift, entries = case.config.page_shift, case.layout.entries_per_table
    inside = case.table_addr % (entries << shift)
    yield case.replace(table_addr=DEFAULT_TABLE_ADDR)
    yield case.replace(table_addr=DEFAULT_TABLE_ADDR + inside)


def _each(word: int) -> Iterator[int]:
    return (1 << n for n in range(word.bit_length()) if word >> n & 1)


def _protections(case: Case, vm_flags: int) -> tuple[int, ...]:
    """Values of newprot worth trying in a VMA with `vm_flags`: what it is, and what is plain there."""
    plain = (*vma_protections(case, vm_flags), int(case.layout.page_none), 0)
    return tuple(dict.fromkeys((case.call.newprot, *plain)))
