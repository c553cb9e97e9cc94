"""Kernel versions as records of switches, and the configuration beside them.

A version switch is a behaviour of `change_pte_range` (or of a helper below it)
that changed between releases, other than batching itself. Both sides read the
switches, none of them computes one. `docs/fidelity.md` says which are proven by
golden vectors and which are derived.
"""

from typing import NamedTuple


class SwapTypes(NamedTuple):
    """Type numbers of non-swap "swap" entries. SAME, include/linux/swap.h.

    They are allocated downwards from the top of the 5-bit type field, so one
    type more or less moves all below it. -1: the version has no such type.
    """

    hwpoison: int
    migration_read: int
    migration_read_exclusive: int
    migration_write: int
    device_write: int
    device_read: int
    device_exclusive_write: int
    device_exclusive: int  # the read one, where a version has two
    marker: int


# 6.12..6.14: device-exclusive entries come as writable and readable.
TWO_DEVICE_EXCLUSIVE = SwapTypes(23, 24, 25, 26, 27, 28, 29, 30, 31)
# 6.15: one kind of device-exclusive entry, all numbers below it move up by one.
ONE_DEVICE_EXCLUSIVE = SwapTypes(24, 25, 26, 27, 28, 29, -1, 30, 31)


class Version(NamedTuple):
    """What a kernel version does, besides batching."""

    name: str
    swap_types: SwapTypes
    batched: bool  # change_pte_range works by the batch: cac1db8c3aad, v6.17
    guard_marker: bool  # PTE_MARKER_GUARD exists: v6.13
    devmap: bool  # pte_devmap() and its PTE bit exist: until v6.17
    lookup_every_page: bool  # vm_normal_page for each present PTE, by the old PTE: v6.17
    protnone_before_lookup: bool  # NUMA tests protnone before it looks the page up
    pinned_in_any_vma: bool  # NUMA skips pinned folios of non-CoW VMAs too: v6.19
    uffd_rwp: bool  # MM_CP_UFFD_RWP, VM_UFFD_RWP: 7.3
    flush_elision: bool  # arm64 has a pte_needs_flush of its own: v6.19
    contpte_early_stop: bool  # arm64 contpte_ptep_get stops early: v6.17
    mkcont_sets_type: bool  # arm64 pte_mkcont sets the two type bits too: until v6.13
    mkwrite_dirties: bool  # arm64 pte_mkwrite makes the entry dirty: until 6.12.56, 6.17.6, v6.18


VERSIONS: dict[str, Version] = {
    v.name: v
    for v in (
        Version(
            name="6.12",
            swap_types=TWO_DEVICE_EXCLUSIVE,
            batched=False,
            guard_marker=False,
            devmap=True,
            lookup_every_page=False,
            protnone_before_lookup=True,
            pinned_in_any_vma=False,
            uffd_rwp=False,
            flush_elision=False,
            contpte_early_stop=False,
            mkcont_sets_type=True,
            mkwrite_dirties=False,
        ),
        Version(
            name="6.16",
            swap_types=ONE_DEVICE_EXCLUSIVE,
            batched=False,
            guard_marker=True,
            devmap=True,
            lookup_every_page=False,
            protnone_before_lookup=True,
            pinned_in_any_vma=False,
            uffd_rwp=False,
            flush_elision=False,
            contpte_early_stop=False,
            mkcont_sets_type=False,
            mkwrite_dirties=True,
        ),
        Version(
            name="6.17",
            swap_types=ONE_DEVICE_EXCLUSIVE,
            batched=True,
            guard_marker=True,
            devmap=False,
            lookup_every_page=True,
            protnone_before_lookup=False,
            pinned_in_any_vma=False,
            uffd_rwp=False,
            flush_elision=False,
            contpte_early_stop=True,
            mkcont_sets_type=False,
            mkwrite_dirties=False,
        ),
        Version(
            name="6.18",
            swap_types=ONE_DEVICE_EXCLUSIVE,
            batched=True,
            guard_marker=True,
            devmap=False,
            lookup_every_page=True,
            protnone_before_lookup=False,
            pinned_in_any_vma=False,
            uffd_rwp=False,
            flush_elision=False,
            contpte_early_stop=True,
            mkcont_sets_type=False,
            mkwrite_dirties=False,
        ),
        Version(
            name="7.3",
            swap_types=ONE_DEVICE_EXCLUSIVE,
            batched=True,
            guard_marker=True,
            devmap=False,
            lookup_every_page=True,
            protnone_before_lookup=True,
            pinned_in_any_vma=True,
            uffd_rwp=True,
            flush_elision=True,
            contpte_early_stop=True,
            mkcont_sets_type=False,
            mkwrite_dirties=False,
        ),
    )
}

DEFAULT_VERSION = "7.3"


class Config(NamedTuple):
    """The kernel configuration and machine facts that the rules read."""

    soft_dirty: bool = True  # CONFIG_MEM_SOFT_DIRTY
    uffd_wp: bool = True  # CONFIG_HAVE_ARCH_USERFAULTFD_WP, with markers
    numa_balancing: bool = True  # CONFIG_NUMA_BALANCING
    zero_pfn: int = 0x2F7D  # my_zero_pfn()
    highest_memmap_pfn: int = 0x0FFF_FFFF
    page_shift: int = 12
    bbml3: bool = False  # arm64: no TLBI needed to change CONT
    coprocessors: int = 0  # powerpc: mm_context_t.copros
    isa_31: bool = False  # powerpc: CPU_FTR_ARCH_31
    hash_mmu: bool = False  # powerpc: the hash MMU instead of radix
