"""Which calls and entries a program can bring about; all others are refused, by what they have.

Raises CaseError, one line: what in the case is in the way, and what could be exported instead.
"""

from mm import flags
from mm.layout import PTE_MARKER_UFFD_WP
from mm.version import VERSIONS

from ..anatomy import is_none, is_present, pfn_of
from ..case import Case, CaseError, Folio, folio_of

# What the window maps: private anonymous memory, a private mapping of a file; shared, a memfd, or
# a file of a file system that asks for first writes.
PRIVATE, PRIVATE_FILE, SHMEM, REGULAR = "PRIVATE", "PRIVATE_FILE", "SHMEM", "REGULAR"
COPYING = (PRIVATE, PRIVATE_FILE)
# How the call is made.
MPROTECT, PROTECT, RESOLVE = "MPROTECT", "PROTECT", "RESOLVE"

READ, WRITE, EXEC = 1, 2, 4
SHARED = int(flags.VM_SHARED)
UFFD_WP = int(flags.VM_UFFD_WP)
# From 512 pages on a PMD maps the folio, and there is no table of it.
MAX_PAGES = 256
TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)

_CALLS = {
    0: MPROTECT,
    int(flags.MM_CP_UFFD_WP): PROTECT,
    int(flags.MM_CP_UFFD_WP_RESOLVE): RESOLVE,
}
_ACCESS = int(flags.MM_CP_UFFD_RWP | flags.MM_CP_UFFD_RWP_RESOLVE)
_ANON, _FILE_LRU = int(flags.FOLIO_ANON), int(flags.FOLIO_FILE_LRU)
# A folio may also be dirty or mapped by others, which no call asks about.
_PLAIN = int(flags.FOLIO_DIRTY | flags.FOLIO_MAPPED_SHARED)


def lost(what: str, instead: str) -> CaseError:
    """The refusal of a case because of `what` it has; `instead`: what could be exported."""
    return CaseError(f"cannot be exported: {what}; {instead}")


def field(case: Case, name: str) -> int:
    """The bits of the entry fields called `name`, whatever stands around the name."""
    return sum(int(f.mask) for f in case.layout.fields if name in f.name and "soft" not in f.name)


def is_registered(case: Case) -> bool:
    """Whether userfaultfd may write-protect the VMA."""
    return bool(case.vma.flags & UFFD_WP)


def asks_for_first_writes(case: Case) -> bool:
    """Whether a write to a clean page of the shared, writable VMA must fault: writenotify."""
    vm = case.vma.flags
    return bool(vm & SHARED and vm & WRITE) and not case.call.newprot & field(case, "write")


def backing_of(case: Case) -> str:
    """What the window maps, one of PRIVATE, PRIVATE_FILE, SHMEM, REGULAR."""
    shared = bool(case.vma.flags & SHARED)
    if case.vma.anon and not shared:
        return PRIVATE
    if case.vma.anon:
        raise lost("the VMA is anonymous and SHARED", "it can be anon, or file and SHARED")
    if not shared:
        if is_registered(case):
            raise lost(
                "userfaultfd write-protects a private mapping of a file",
                "anonymous memory and shmem (file SHARED) can be protected",
            )
        return PRIVATE_FILE
    on_disk = any(folio.flags & _FILE_LRU for folio in case.folios)
    if is_registered(case):
        if on_disk:
            raise lost(
                "userfaultfd write-protects a folio of a file (file_lru)",
                "anonymous memory and shmem (no file_lru) can be protected",
            )
        return SHMEM
    if asks_for_first_writes(case):
        return REGULAR
    return REGULAR if on_disk and not case.vma.flags & WRITE else SHMEM


def call_of(case: Case) -> str:
    """How the call is made, one of MPROTECT, PROTECT, RESOLVE."""
    _check_machine(case)
    _check_vma(case)
    cp = case.call.cp_flags
    if cp & int(flags.MM_CP_PROT_NUMA):
        raise lost("the call is a scan of NUMA balancing", "mprotect(2) and userfaultfd's can")
    _check_newprot(case)
    call = _CALLS.get(cp & ~TRY)
    if call is None or (call == PROTECT and cp & TRY):
        raise lost(
            "no system call passes these MM_CP_ flags together",
            "none or TRY_CHANGE_WRITABLE, UFFD_WP, UFFD_WP_RESOLVE can",
        )
    if call != MPROTECT and not is_registered(case):
        raise lost("userfaultfd is called on a VMA without UFFD_WP", "a VMA with UFFD_WP can")
    if call != PROTECT:
        _check_upgrade(case)
    return call


def _check_upgrade(case: Case) -> None:
    """vma_wants_manual_pte_write_upgrade(), as mprotect(2) and userfaultfd's resolving ask it."""
    passed = bool(case.call.cp_flags & TRY)
    if not case.vma.flags & SHARED:
        wanted, when = bool(case.vma.flags & WRITE), "in private memory exactly where it has WRITE"
    elif is_registered(case):
        # What asks for first writes there is not asked before vm_page_prot has changed.
        wanted, when = False, "in shared memory with UFFD_WP never"
    else:
        wanted, when = asks_for_first_writes(case), "in shared memory where newprot has no write"
    if passed != wanted:
        raise lost(
            f"TRY_CHANGE_WRITABLE is {'passed' if passed else 'missing'}",
            f"the kernel passes it {when}",
        )


def _check_machine(case: Case) -> None:
    if case.arch != "x86_64":
        raise lost(f"it is of arch {case.arch}", "cases of x86_64 can")
    if case.hardware:
        raise lost(
            "it has hardware lines, and what the MMU does during the call cannot be timed",
            "cases without can",
        )
    armed = case.config.soft_dirty and not case.vma.flags & int(flags.VM_SOFTDIRTY)
    if armed:
        raise lost(
            "soft-dirty tracking is armed, which lasts only until the next mapping",
            "VMAs with SOFTDIRTY can",
        )


def _check_vma(case: Case) -> None:
    vm = case.vma.flags
    if vm & int(flags.VM_PFNMAP | flags.VM_MIXEDMAP):
        raise lost(
            "the VMA is PFNMAP or MIXEDMAP, which needs a driver",
            "anonymous memory, shared files and shmem can",
        )
    if vm & int(flags.VM_UFFD_RWP) or case.call.cp_flags & _ACCESS:
        raise lost("userfaultfd protects from access (UFFD_RWP)", "write protection (UFFD_WP) can")
    if is_registered(case) and not case.config.uffd_wp:
        raise lost("the VMA has UFFD_WP, and its kernel no uffd_wp", "config: uffd_wp=y can")


def _check_newprot(case: Case) -> None:
    """What the kernel derives from the VMA, by the flags and whether first writes must fault."""
    vm, newprot = case.vma.flags, case.call.newprot
    accessed = field(case, "accessed")
    bits = vm & 7 if asks_for_first_writes(case) else vm & (7 | SHARED)
    if newprot & ~accessed != int(case.layout.protection_map[bits]) & ~accessed:
        raise lost(f"newprot {newprot:#x} is not that of the VMA's rights", "theirs can")
    if vm & SHARED and is_registered(case) and newprot & field(case, "write"):
        raise lost("newprot is writable in a shared VMA with UFFD_WP", "newprot without write can")


def page_of(case: Case, index: int, backing: str) -> Folio | None:
    """The folio that the present entry `index` maps, None for the zero page."""
    word = case.ptes[index]
    if word & field(case, "uffd") and not is_registered(case):
        raise lost(f"pte {index} has the userfaultfd bit", "that needs UFFD_WP in the VMA")
    pfn = pfn_of(case.layout, word)
    if pfn == case.config.zero_pfn:
        if backing != PRIVATE:
            raise lost(
                f"pte {index} maps the zero page in shared memory", "private memory can have it"
            )
        return None
    row = folio_of(case.folios, pfn)
    folio = Folio(pfn) if row is None else case.folios[row]
    is_anon = backing == PRIVATE or bool(backing == PRIVATE_FILE and folio.flags & _ANON)
    kind, wanted = ("anon, ", _ANON) if is_anon else ("file_lru, ", _FILE_LRU)
    if (is_anon and not folio.flags & _ANON) or folio.flags & ~(_PLAIN | wanted):
        raise lost(
            f"pte {index} maps pfn {pfn:#x} of a folio that a program cannot put there",
            f"folios with {kind}dirty and maybe_mapped_shared at most can",
        )
    if is_anon and backing == PRIVATE_FILE and folio.nr_pages > 1:
        raise lost(
            f"anonymous folio {folio.pfn:#x} of {folio.nr_pages} pages is in a mapping of a file",
            "copies of one page each can",
        )
    if folio.nr_pages > MAX_PAGES:
        raise lost(
            f"folio {folio.pfn:#x} has {folio.nr_pages} pages", f"folios of up to {MAX_PAGES} can"
        )
    return folio


def maps_page(case: Case, index: int) -> bool:
    """Whether entry `index` maps a page; refused if it is neither that nor empty nor a marker."""
    word = case.ptes[index]
    if is_present(case.layout, word):
        return True
    if is_none(case.layout, word):
        return False
    if not is_marker(case, word):
        raise lost(
            f"pte {index} {word:#x} is neither a page nor empty",
            "pages, holes and, with UFFD_WP, markers of userfaultfd can",
        )
    if not is_registered(case) or (case.vma.anon and not case.vma.uffd_wp_unpopulated):
        raise lost(
            f"pte {index} is a marker of userfaultfd",
            "that needs UFFD_WP, and uffd_wp_unpopulated in anonymous memory",
        )
    return False


def is_marker(case: Case, word: int) -> bool:
    """Whether `word`, which is not present, is a marker of userfaultfd and nothing besides."""
    swap, types = case.layout.swap, VERSIONS[case.kernel].swap_types
    stored = ~word if swap.offset_inverted else word
    kind = word >> swap.type_shift & (1 << swap.type_bits) - 1
    offset = stored >> swap.offset_shift & (1 << swap.offset_bits) - 1
    return kind == types.marker and offset == PTE_MARKER_UFFD_WP
