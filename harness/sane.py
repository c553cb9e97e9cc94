"""What a real kernel keeps: the rules that make a case *sane*, one name each.

The relation holds for any case; some invariants only for sane ones. A case that
breaks a rule here is *wild*, which is no error: wild cases are where many wrong
readings of the rules show first. Here are the rules of a call; those of entries
are in `harness.sanity`, one file for each architecture.
"""

from collections.abc import Iterator

from mm import flags
from mm.version import VERSIONS

from .case import Case
from .sanity import arm64, powerpc, x86_64
from .sanity.mapped import UFFD

_TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)
_NUMA = int(flags.MM_CP_PROT_NUMA)
_WP = int(flags.MM_CP_UFFD_WP)
_WP_RESOLVE = int(flags.MM_CP_UFFD_WP_RESOLVE)
_RWP = int(flags.MM_CP_UFFD_RWP)
_RWP_RESOLVE = int(flags.MM_CP_UFFD_RWP_RESOLVE)
_CALLS = {0, _TRY, _NUMA, _WP, _WP_RESOLVE, _WP_RESOLVE | _TRY}
_RWP_CALLS = {_RWP, _RWP_RESOLVE, _RWP_RESOLVE | _TRY}
# The calls of each mode of userfaultfd, and the VMAs that it is registered for.
_UFFD_MODES = {
    _WP | _WP_RESOLVE: int(flags.VM_UFFD_WP),
    _RWP | _RWP_RESOLVE: int(flags.VM_UFFD_RWP),
}
_UFFD_CALLS = _WP | _WP_RESOLVE | _RWP | _RWP_RESOLVE

SANITY = {"x86_64": x86_64.SANITY, "arm64": arm64.SANITY, "powerpc": powerpc.SANITY}


def broken_rules(case: Case) -> Iterator[str]:
    """The rules that `case` breaks, as `name` or `name, pte N 0x…`; none for a sane case."""
    yield from _call_rules(case)
    hardware = dict(case.hardware)
    sanity = SANITY[case.arch]
    for index, word in enumerate(case.ptes):
        for name in sanity.entry(case, word, hardware.get(index, 0)):
            yield f"{name}, pte {index} {word:#x}"
    for name, index in sanity.window(case):
        yield f"{name}, pte {index} {case.ptes[index]:#x}"
    for index, _ in case.hardware:
        if not case.call.start <= index < case.call.end:
            yield f"hardware-in-range, pte {index}"


def is_sane(case: Case) -> bool:
    """Whether `case` keeps every rule."""
    return next(broken_rules(case), None) is None


def _call_rules(case: Case) -> Iterator[str]:
    vm, cp = case.vma.flags, case.call.cp_flags
    version = VERSIONS[case.kernel]
    if cp not in _CALLS and not (version.uffd_rwp and cp in _RWP_CALLS):
        yield "cp-flags-of-a-caller"
    elif case.config.uffd_wp and any(
        cp & calls and not vm & mode for calls, mode in _UFFD_MODES.items()
    ):
        yield "uffd-call-means-registered"
    if cp & _TRY and not vm & int(flags.VM_WRITE):
        yield "try-needs-vm-write"
    if cp & (_NUMA | _RWP):
        if case.call.newprot != int(case.layout.page_none):
            yield "newprot-is-page-none"
    elif SANITY[case.arch].plain_protection(case, case.call.newprot) not in _vma_protections(case):
        yield "newprot-from-protection-map"
    for right, may in (("READ", "MAYREAD"), ("WRITE", "MAYWRITE"), ("EXEC", "MAYEXEC")):
        if vm & int(flags.VM_FLAGS[right]) and not vm & int(flags.VM_FLAGS[may]):
            yield f"{right.lower()}-needs-{may.lower()}"
    if case.vma.anon and vm & int(flags.VM_SHARED):
        yield "anon-vma-is-private"
    if vm & int(flags.VM_UFFD_RWP) and not version.uffd_rwp:
        yield "uffd-rwp-exists"
    if not case.config.uffd_wp and (vm & UFFD or cp & _UFFD_CALLS):
        yield "uffd-is-configured"
    if vm & UFFD == UFFD:
        yield "uffd-has-one-mode"
    if vm & int(flags.VM_SOFTDIRTY) and not case.layout.swap.soft_dirty:
        yield "soft-dirty-exists"


def _vma_protections(case: Case) -> set[int]:
    """What vm_page_prot can be: protection_map[], without SHARED if writes are to be noticed."""
    layout, index = case.layout, case.vma.flags & 0xF
    noticed = int(layout.protection_map[index & ~int(flags.VM_SHARED)])
    # vma_wants_writenotify(): these always ask for it, a file system may.
    if case.vma.flags & int(flags.VM_UFFD_WP) or _tracks_soft_dirty(case):
        return {noticed}
    return {noticed, int(layout.protection_map[index])}


def _tracks_soft_dirty(case: Case) -> bool:
    return case.config.soft_dirty and not case.vma.flags & int(flags.VM_SOFTDIRTY)
