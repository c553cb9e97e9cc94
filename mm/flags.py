"""Flag values of the core mm: VM_*, MM_CP_*. SAME, but where a line says otherwise.

Sources: include/linux/mm.h, Linux 6.12 and 7.3. All values are words
(`np.uint64`), because they meet words in compiled code.
"""

import numpy as np

VM_READ = np.uint64(0x1)
VM_WRITE = np.uint64(0x2)
VM_EXEC = np.uint64(0x4)
VM_SHARED = np.uint64(0x8)
VM_MAYREAD = np.uint64(0x10)
VM_MAYWRITE = np.uint64(0x20)
VM_MAYEXEC = np.uint64(0x40)
VM_MAYSHARE = np.uint64(0x80)
VM_PFNMAP = np.uint64(0x400)
VM_UFFD_WP = np.uint64(0x1000)
# Set means that soft-dirty tracking is NOT armed on the VMA.
VM_SOFTDIRTY = np.uint64(0x0800_0000)
VM_MIXEDMAP = np.uint64(0x1000_0000)
# SIMPLIFIED: the kernel's bit number differs between trees; only the name counts here.
VM_UFFD_RWP = np.uint64(1 << 44)

# Name to value in canonical order; the names are those of case files and vectors.
VM_FLAGS: dict[str, np.uint64] = {
    "READ": VM_READ,
    "WRITE": VM_WRITE,
    "EXEC": VM_EXEC,
    "SHARED": VM_SHARED,
    "MAYREAD": VM_MAYREAD,
    "MAYWRITE": VM_MAYWRITE,
    "MAYEXEC": VM_MAYEXEC,
    "MAYSHARE": VM_MAYSHARE,
    "PFNMAP": VM_PFNMAP,
    "UFFD_WP": VM_UFFD_WP,
    "SOFTDIRTY": VM_SOFTDIRTY,
    "MIXEDMAP": VM_MIXEDMAP,
    "UFFD_RWP": VM_UFFD_RWP,
}

MM_CP_TRY_CHANGE_WRITABLE = np.uint64(1 << 0)
MM_CP_PROT_NUMA = np.uint64(1 << 1)
MM_CP_UFFD_WP = np.uint64(1 << 2)
MM_CP_UFFD_WP_RESOLVE = np.uint64(1 << 3)
MM_CP_UFFD_RWP = np.uint64(1 << 4)  # 7.3
MM_CP_UFFD_RWP_RESOLVE = np.uint64(1 << 5)  # 7.3

CP_FLAGS: dict[str, np.uint64] = {
    "TRY_CHANGE_WRITABLE": MM_CP_TRY_CHANGE_WRITABLE,
    "PROT_NUMA": MM_CP_PROT_NUMA,
    "UFFD_WP": MM_CP_UFFD_WP,
    "UFFD_WP_RESOLVE": MM_CP_UFFD_WP_RESOLVE,
    "UFFD_RWP": MM_CP_UFFD_RWP,
    "UFFD_RWP_RESOLVE": MM_CP_UFFD_RWP_RESOLVE,
}

# sysctl numa_balancing, include/linux/sched/sysctl.h.
NUMA_BALANCING_NORMAL = np.uint64(1 << 0)
NUMA_BALANCING_MEMORY_TIERING = np.uint64(1 << 1)

# Facts about a folio. Our own numbering: the kernel spreads them over page
# flags, mapcounts and the folio's node.
FOLIO_ANON = np.uint64(1 << 0)  # folio_test_anon
FOLIO_KSM = np.uint64(1 << 1)  # folio_test_ksm
FOLIO_ZONE_DEVICE = np.uint64(1 << 2)  # folio_is_zone_device
FOLIO_DIRTY = np.uint64(1 << 3)  # folio_test_dirty
FOLIO_FILE_LRU = np.uint64(1 << 4)  # folio_is_file_lru
FOLIO_MAPPED_SHARED = np.uint64(1 << 5)  # folio_maybe_mapped_shared
FOLIO_PINNED = np.uint64(1 << 6)  # folio_maybe_dma_pinned
FOLIO_ACCESS_TIME = np.uint64(1 << 7)  # folio_use_access_time

FOLIO_FLAGS: dict[str, np.uint64] = {
    "anon": FOLIO_ANON,
    "ksm": FOLIO_KSM,
    "zone_device": FOLIO_ZONE_DEVICE,
    "dirty": FOLIO_DIRTY,
    "file_lru": FOLIO_FILE_LRU,
    "maybe_mapped_shared": FOLIO_MAPPED_SHARED,
    "maybe_dma_pinned": FOLIO_PINNED,
    "use_access_time": FOLIO_ACCESS_TIME,
}
