/* Flag values, as in mm/flags.py. */
#ifndef FLAGS_H
#define FLAGS_H

#include <stdint.h>

#define VM_READ UINT64_C(0x1)
#define VM_WRITE UINT64_C(0x2)
#define VM_EXEC UINT64_C(0x4)
#define VM_SHARED UINT64_C(0x8)
#define VM_MAYREAD UINT64_C(0x10)
#define VM_MAYWRITE UINT64_C(0x20)
#define VM_MAYEXEC UINT64_C(0x40)
#define VM_MAYSHARE UINT64_C(0x80)
#define VM_PFNMAP UINT64_C(0x400)
#define VM_UFFD_WP UINT64_C(0x1000)
#define VM_SOFTDIRTY UINT64_C(0x8000000) /* set: tracking is not armed */
#define VM_MIXEDMAP UINT64_C(0x10000000)
#define VM_UFFD_RWP (UINT64_C(1) << 44)

#define MM_CP_TRY_CHANGE_WRITABLE (UINT64_C(1) << 0)
#define MM_CP_PROT_NUMA (UINT64_C(1) << 1)
#define MM_CP_UFFD_WP (UINT64_C(1) << 2)
#define MM_CP_UFFD_WP_RESOLVE (UINT64_C(1) << 3)
#define MM_CP_UFFD_RWP (UINT64_C(1) << 4)
#define MM_CP_UFFD_RWP_RESOLVE (UINT64_C(1) << 5)

#define NUMA_BALANCING_NORMAL (UINT64_C(1) << 0)
#define NUMA_BALANCING_MEMORY_TIERING (UINT64_C(1) << 1)

#define FOLIO_ANON (UINT64_C(1) << 0)
#define FOLIO_KSM (UINT64_C(1) << 1)
#define FOLIO_ZONE_DEVICE (UINT64_C(1) << 2)
#define FOLIO_DIRTY (UINT64_C(1) << 3)
#define FOLIO_FILE_LRU (UINT64_C(1) << 4)
#define FOLIO_MAPPED_SHARED (UINT64_C(1) << 5)
#define FOLIO_PINNED (UINT64_C(1) << 6)
#define FOLIO_ACCESS_TIME (UINT64_C(1) << 7)
#define ALL_FOLIO_FLAGS UINT64_C(0xFF)

#endif
