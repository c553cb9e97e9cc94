/*
 * midfolio_target.h: what a C target of midfolio is given, and what it exports.
 *
 * A target is a shared library that changes the protection of one range of page
 * table entries, as change_pte_range() of mm/mprotect.c does:
 *
 *     #include "midfolio_target.h"
 *
 *     MIDFOLIO_TARGET("x86_64")
 *
 *     int64_t midfolio_change_pte_range(struct midfolio_state *state)
 *     {
 *             ...
 *             return pages;
 *     }
 *
 *     gcc -O2 -shared -fPIC -I harness mine.c -o mine.so
 *     midfolio fuzz --target ./mine.so --arch x86_64
 *
 * It may write the table (midfolio_take(), midfolio_store()) and the logs
 * (midfolio_flush() and the like); all else is input, and compared afterwards.
 * It returns the number of changed entries. The same arrays are seen by the
 * built-in sides: mm/state.py describes them; a test compares the two.
 * docs/native.md has the rest.
 *
 * Every field is 8 bytes wide, so there is no padding. Booleans are 0 or 1.
 */
#ifndef MIDFOLIO_TARGET_H
#define MIDFOLIO_TARGET_H

#include <stdint.h>

/* Changes whenever a layout or a number below does. */
#define MIDFOLIO_ABI 2

/* What a library says of itself: the ABI it was built for, and its architecture. */
#define MIDFOLIO_TARGET(arch)                                     \
	const uint64_t midfolio_abi = MIDFOLIO_ABI;               \
	const char midfolio_arch[] = arch;

/* What a call and its case are: FACTS of mm/state.py. */
struct midfolio_facts {
	uint64_t vma_flags;  /* MIDFOLIO_VM_* */
	uint64_t newprot;    /* the pgprot handed to change_pte_range() */
	uint64_t cp_flags;   /* MIDFOLIO_CP_* */
	uint64_t table_addr; /* virtual address of entry 0 of the window */
	int64_t start;       /* the range, half open, in entries of the window */
	int64_t end;
	int64_t nr_ptes; /* entries in the window */
	int64_t nr_folios;
	int64_t vma_anon;            /* vma_is_anonymous() */
	int64_t uffd_wp_unpopulated; /* userfaultfd_wp_unpopulated() */
	int64_t mm_users;
	int64_t numa_node;            /* numa_node_id() */
	uint64_t numa_balancing_mode; /* MIDFOLIO_NUMA_BALANCING_* */
	uint64_t toptier_nodes;       /* bit n: node_is_toptier(n) */
	/* The configuration. */
	int64_t soft_dirty;     /* CONFIG_MEM_SOFT_DIRTY */
	int64_t uffd_wp;        /* CONFIG_HAVE_ARCH_USERFAULTFD_WP, with markers */
	int64_t numa_balancing; /* CONFIG_NUMA_BALANCING */
	uint64_t zero_pfn;      /* my_zero_pfn() */
	uint64_t highest_memmap_pfn;
	uint64_t page_shift;
	int64_t bbml3;        /* arm64: no TLBI needed to change CONT */
	int64_t coprocessors; /* powerpc: mm_context_t.copros */
	int64_t isa_31;       /* powerpc: CPU_FTR_ARCH_31 */
	int64_t hash_mmu;     /* powerpc: the hash MMU instead of radix */
	/* The version: what changed between kernels (mm/version.py). */
	int64_t guard_marker;
	int64_t devmap;
	int64_t lookup_every_page;
	int64_t protnone_before_lookup;
	int64_t pinned_in_any_vma;
	int64_t uffd_rwp;
	int64_t flush_elision;
	int64_t contpte_early_stop;
	int64_t mkcont_sets_type;
	int64_t mkwrite_dirties;
	/* Swap types of this kernel; -1 where it has none. */
	int64_t swp_hwpoison;
	int64_t swp_migration_read;
	int64_t swp_migration_read_exclusive;
	int64_t swp_migration_write;
	int64_t swp_device_write;
	int64_t swp_device_read;
	int64_t swp_device_exclusive_write;
	int64_t swp_device_exclusive;
	int64_t swp_marker;
};

/*
 * A folio. They stand in ascending, non-overlapping order of pfn. A PFN in none
 * of them and not above highest_memmap_pfn is an order-0 page of node 0 with no
 * flag set.
 */
struct midfolio_folio {
	uint64_t pfn;         /* of page 0; a multiple of nr_pages */
	int64_t nr_pages;     /* a power of two */
	uint64_t folio_flags; /* MIDFOLIO_FOLIO_* */
	int64_t nid;
	int64_t first_page; /* where the bits of page 0 stand in `exclusive` */
};

/* One logged flush or invalidation. */
struct midfolio_flush {
	uint64_t kind; /* MIDFOLIO_FLUSH and the like */
	uint64_t address;
	uint64_t pages;
};

/* One page-table walk to be done. */
struct midfolio_state {
	const struct midfolio_facts *facts;
	uint64_t *ptes;     /* [facts->nr_ptes], by midfolio_load() and the like only */
	uint64_t *hardware; /* [facts->nr_ptes], what midfolio_take() reads; leave it alone */
	const struct midfolio_folio *folios; /* [facts->nr_folios] */
	const uint8_t *exclusive;            /* PageAnonExclusive, one byte per page of each folio */
	struct midfolio_flush *flushes;      /* by midfolio_flush() and the like */
	uint64_t *stamps;                    /* by midfolio_access_time() */
	int64_t *counts;                     /* [MIDFOLIO_NR_COUNTS] */
	/* Room, in elements. */
	int64_t ptes_room;
	int64_t folios_room;
	int64_t exclusive_room;
	int64_t flushes_room;
	int64_t stamps_room;
};

/* Kinds of a logged flush. */
#define MIDFOLIO_FLUSH 0  /* tlb_flush_pte_range(): a request */
#define MIDFOLIO_UNFOLD 1 /* arm64: contpte unfolded a block, TLBI sent at once */
#define MIDFOLIO_FOLD 2   /* arm64: contpte folded a block, TLBI sent at once */
#define MIDFOLIO_NMMU 3   /* powerpc: a page flushed at once for the coprocessors' sake */

/* Indices of `counts`. */
#define MIDFOLIO_NR_FLUSHES 0
#define MIDFOLIO_NR_STAMPS 1
#define MIDFOLIO_BAD_MAP 2     /* print_bad_pte() calls */
#define MIDFOLIO_NO_VM_WRITE 3 /* WARN hits: write upgrade asked in a VMA without VM_WRITE */
#define MIDFOLIO_LIVE 8 /* entries that were not empty when an invalidation of them was sent at once */
#define MIDFOLIO_NR_COUNTS 9

#define MIDFOLIO_MAX_PTES 512 /* entries of one page table */

/* vm_flags. */
#define MIDFOLIO_VM_READ UINT64_C(0x1)
#define MIDFOLIO_VM_WRITE UINT64_C(0x2)
#define MIDFOLIO_VM_EXEC UINT64_C(0x4)
#define MIDFOLIO_VM_SHARED UINT64_C(0x8)
#define MIDFOLIO_VM_MAYREAD UINT64_C(0x10)
#define MIDFOLIO_VM_MAYWRITE UINT64_C(0x20)
#define MIDFOLIO_VM_MAYEXEC UINT64_C(0x40)
#define MIDFOLIO_VM_MAYSHARE UINT64_C(0x80)
#define MIDFOLIO_VM_PFNMAP UINT64_C(0x400)
#define MIDFOLIO_VM_UFFD_WP UINT64_C(0x1000)
/* Set means that soft-dirty tracking is NOT armed on the VMA. */
#define MIDFOLIO_VM_SOFTDIRTY UINT64_C(0x8000000)
#define MIDFOLIO_VM_MIXEDMAP UINT64_C(0x10000000)
/* The kernel's bit number differs between trees; this one is ours. */
#define MIDFOLIO_VM_UFFD_RWP (UINT64_C(1) << 44)

/* cp_flags: MM_CP_* of the kernel. */
#define MIDFOLIO_CP_TRY_CHANGE_WRITABLE (UINT64_C(1) << 0)
#define MIDFOLIO_CP_PROT_NUMA (UINT64_C(1) << 1)
#define MIDFOLIO_CP_UFFD_WP (UINT64_C(1) << 2)
#define MIDFOLIO_CP_UFFD_WP_RESOLVE (UINT64_C(1) << 3)
#define MIDFOLIO_CP_UFFD_RWP (UINT64_C(1) << 4)
#define MIDFOLIO_CP_UFFD_RWP_RESOLVE (UINT64_C(1) << 5)

/* sysctl numa_balancing. */
#define MIDFOLIO_NUMA_BALANCING_NORMAL (UINT64_C(1) << 0)
#define MIDFOLIO_NUMA_BALANCING_MEMORY_TIERING (UINT64_C(1) << 1)

/* Facts about a folio; the numbering is ours. */
#define MIDFOLIO_FOLIO_ANON (UINT64_C(1) << 0)          /* folio_test_anon */
#define MIDFOLIO_FOLIO_KSM (UINT64_C(1) << 1)           /* folio_test_ksm */
#define MIDFOLIO_FOLIO_ZONE_DEVICE (UINT64_C(1) << 2)   /* folio_is_zone_device */
#define MIDFOLIO_FOLIO_DIRTY (UINT64_C(1) << 3)         /* folio_test_dirty */
#define MIDFOLIO_FOLIO_FILE_LRU (UINT64_C(1) << 4)      /* folio_is_file_lru */
#define MIDFOLIO_FOLIO_MAPPED_SHARED (UINT64_C(1) << 5) /* folio_maybe_mapped_shared */
#define MIDFOLIO_FOLIO_PINNED (UINT64_C(1) << 6)        /* folio_maybe_dma_pinned */
#define MIDFOLIO_FOLIO_ACCESS_TIME (UINT64_C(1) << 7)   /* folio_use_access_time */

/* The table, as hardware gives it: mm/table.py. */

/* The word of an entry, by a plain load: ptep_get(). */
static inline uint64_t midfolio_load(const struct midfolio_state *state, int64_t index)
{
	return state->ptes[index];
}

/*
 * The word of an entry, which is cleared atomically: ptep_get_and_clear(). What
 * the page walker of the MMU did to it in the meantime is part of the word, so
 * a target that loads where it should take loses accessed and dirty bits.
 */
static inline uint64_t midfolio_take(struct midfolio_state *state, int64_t index)
{
	uint64_t word = state->ptes[index] ^ state->hardware[index];

	state->ptes[index] = 0;
	/* The walker did this once; a second take must not see it again. */
	state->hardware[index] = 0;
	return word;
}

/* Write an entry, by a plain store: set_pte(). */
static inline void midfolio_store(struct midfolio_state *state, int64_t index, uint64_t word)
{
	state->ptes[index] = word;
}

/* The logs: mm/tlb.py and mm/side_effects.py. */

/* Log one row of this kind (MIDFOLIO_FLUSH and the like). */
static inline void midfolio_log(struct midfolio_state *state, uint64_t kind, uint64_t address,
				uint64_t pages)
{
	int64_t row = state->counts[MIDFOLIO_NR_FLUSHES];

	if (row < state->flushes_room)
		state->flushes[row] = (struct midfolio_flush){ kind, address, pages };
	/* Rows beyond the end are counted, so that an overflow can be seen. */
	state->counts[MIDFOLIO_NR_FLUSHES] = row + 1;
	/* Break before make: entries must be taken, and not stored, when it is sent at once. */
	if (kind != MIDFOLIO_FLUSH) {
		for (int64_t i = 0; i < state->facts->nr_ptes; i++) {
			uint64_t at = state->facts->table_addr +
				      ((uint64_t)i << state->facts->page_shift);

			if (at >= address && at - address < pages << state->facts->page_shift)
				state->counts[MIDFOLIO_LIVE] += state->ptes[i] != 0;
		}
	}
}

/* Request a flush of `pages` pages from `address`: tlb_flush_pte_range(). */
static inline void midfolio_flush(struct midfolio_state *state, uint64_t address, uint64_t pages)
{
	midfolio_log(state, MIDFOLIO_FLUSH, address, pages);
}

/* Stamp the access time of a folio by its first PFN: folio_xchg_access_time(). */
static inline void midfolio_access_time(struct midfolio_state *state, uint64_t folio_pfn)
{
	int64_t row = state->counts[MIDFOLIO_NR_STAMPS];

	if (row < state->stamps_room)
		state->stamps[row] = folio_pfn;
	state->counts[MIDFOLIO_NR_STAMPS] = row + 1;
}

/* Report an impossible mapping: print_bad_pte(). */
static inline void midfolio_bad_map(struct midfolio_state *state)
{
	state->counts[MIDFOLIO_BAD_MAP]++;
}

/* A WARN_ON_ONCE hit of the write-upgrade rule in a VMA without VM_WRITE. */
static inline void midfolio_warn_no_vm_write(struct midfolio_state *state)
{
	state->counts[MIDFOLIO_NO_VM_WRITE]++;
}

#endif
