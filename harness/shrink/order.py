"""The order in which one case is simpler than another. What shrinks is what comes first in it.

Entries count before all else, because each is a column of the drawing; what
stands in them comes next, then the folios behind them, then the facts of the
call; where things are comes last. Zero and the default are the simplest of each.
Every pass that makes a case simpler makes its key smaller, so shrinking ends.
"""

from mm import flags

from ..case import Case, Folio, Mm, folio_of, layout_of
from ..case import Vma as _Vma
from .dullness import dullness, mapped_pfn

Key = tuple[int, ...]
DEFAULT_MM = Mm()


def key(case: Case) -> Key:
    """What cases are compared by: the smaller, the simpler."""
    call, shift = case.call, case.config.page_shift
    return (
        len(case.ptes),
        call.end - call.start,
        sum(word != 0 for word in case.ptes),
        sum(dullness(case.arch, shift, word) for word in case.ptes),
        sum(bits.bit_count() for _, bits in case.hardware),
        *_folio_key(case.folios),
        call.cp_flags.bit_count(),
        _vma_cost(case.vma),
        newprot_rank(case),
        _mm_cost(case.mm),
        *_config_key(case),
        *_places(case),
    )


def _folio_key(folios: tuple[Folio, ...]) -> Key:
    return (
        len(folios),
        sum(folio.nr_pages for folio in folios),
        sum(folio.flags.bit_count() + (folio.nid != 0) for folio in folios),
        sum(folio.exclusive.bit_count() for folio in folios),
    )


def _vma_cost(vma: _Vma) -> int:
    return vma.flags.bit_count() + (not vma.anon) + vma.uffd_wp_unpopulated


def vma_protections(case: Case, vm_flags: int) -> tuple[int, int]:
    """The entries of protection_map that a VMA with `vm_flags` has, the one of a private one first."""
    index = vm_flags & 0xF
    protections = case.layout.protection_map
    return int(protections[index & ~int(flags.VM_SHARED)]), int(protections[index])


def newprot_rank(case: Case) -> int:
    """How far newprot is from what mprotect() asks for in such a VMA; PAGE_NONE is near, too."""
    newprot = case.call.newprot
    near = (*vma_protections(case, case.vma.flags), int(case.layout.page_none))
    if newprot in near:
        return near.index(newprot)
    return len(near) + min((newprot ^ protection).bit_count() for protection in near)


def _mm_cost(mm: Mm) -> int:
    return sum(getattr(mm, name) != getattr(DEFAULT_MM, name) for name in Mm.__dataclass_fields__)


def _config_key(case: Case) -> Key:
    default = layout_of(case.arch, case.config.page_shift).config
    changed = sum(a != b for a, b in zip(case.config, default, strict=True))
    return changed, case.kernel != _newest()


def _newest() -> str:
    from mm.version import DEFAULT_VERSION

    return DEFAULT_VERSION


def _places(case: Case) -> Key:
    """Where pages and the table are: pages near the start of their folios first, low addresses last."""
    inside, loose = 0, set()
    for word in case.ptes:
        pfn = mapped_pfn(case.arch, case.config.page_shift, word)
        if pfn is None:
            continue
        row = folio_of(case.folios, pfn) if case.folios else None
        if row is None:
            loose.add(pfn)
        else:
            inside += pfn - case.folios[row].pfn
    bases = sum(folio.pfn for folio in case.folios)
    return inside, bases + sum(loose - {case.config.zero_pfn}), case.table_addr
