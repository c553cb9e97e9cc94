/* What the files of the generator share: words as it makes them, kinds of runs, the scene. */
#ifndef GENERATE_H
#define GENERATE_H

#include <stdbool.h>

#include "choices.h"
#include "flags.h"
#include "loop.h"
#include "x86_64.h"

/* Kinds of runs: fuzz/layout/kinds.py. Those up to DEVICE_EXCLUSIVE_WRITE map folios. */
enum {
	ANON,
	FILE_PAGES,
	KSM,
	ZONE_DEVICE,
	MIGRATION_READ,
	MIGRATION_READ_EXCLUSIVE,
	MIGRATION_WRITE,
	DEVICE_READ,
	DEVICE_WRITE,
	DEVICE_EXCLUSIVE,
	DEVICE_EXCLUSIVE_WRITE,
	UNLISTED,
	ZERO,
	SPECIAL,
	HOLE,
	SWAP,
	HWPOISON,
	MARKER_UFFD_WP,
	MARKER_POISON,
	MARKER_GUARD,
};

/* Kinds of VMAs; all but the last are rows of what such a VMA maps. */
enum { ANON_VMA, FILE_VMA, SHARED_VMA, DEVICE_VMA, DEVICE_SHARED_VMA };

/* Where the nodes begin whose numbers take many bits. */
#define FAR_NODES 48

/* What the layout must know of the call and its VMA. */
struct scene {
	bool wild;
	int64_t contents; /* ANON_VMA..DEVICE_VMA */
	bool private;
	bool armed_none; /* an entry with the uffd bit is PAGE_NONE too */
	uint64_t prot; /* read-only protection of the entries before the call */
	uint64_t allowed; /* properties that an entry of the VMA may have */
	uint64_t first_pfn; /* where folios may begin */
};

struct scene set_scene(uint64_t *choices, struct case_state *state);
void lay_out(uint64_t *choices, struct case_state *state, const struct scene *scene);
int64_t add_block(uint64_t *choices, struct case_state *state, const struct scene *scene,
		  int64_t kind, int64_t least);
void break_rules(uint64_t *choices, struct case_state *state);

/* Properties of a present entry. */
#define HAS_SOFT_DIRTY BIT(2)
#define HAS_UFFD BIT(3)
#define HAS_WRITE BIT(4)
#define HAS_SPECIAL BIT(5)
#define HAS_PROTNONE BIT(6)

/* Properties of a swap-like entry. */
#define SWAP_SOFT_DIRTY BIT(0)
#define SWAP_UFFD BIT(1)
#define SWAP_EXCLUSIVE BIT(2)

/* Words: fuzz/words/x86_64.py. */

static inline uint64_t make_present(uint64_t prot, uint64_t properties)
{
	uint64_t word = (properties & HAS_PROTNONE ? PAGE_NONE : prot) & ~PAGE_ACCESSED;

	word |= (properties & HAS_SOFT_DIRTY) << 9;
	word |= (properties & HAS_UFFD) << 7;
	word |= (properties & HAS_SPECIAL) << 4;
	return word | (properties & HAS_WRITE) >> 3;
}

/* Without RW, dirtiness lives in the software bit. */
static inline uint64_t dirty_flip(uint64_t word)
{
	return word & PAGE_RW ? PAGE_DIRTY : PAGE_SAVED_DIRTY;
}

/* L1TF: an entry without the present bit holds its PFN inverted. */
static inline uint64_t place_pfn(uint64_t word, uint64_t field)
{
	return word | ((word & PAGE_PRESENT ? field : ~field) & PTE_PFN_MASK);
}

static inline uint64_t make_swap(uint64_t type, uint64_t offset, uint64_t properties)
{
	uint64_t inverted = ~offset & (BIT(SWP_OFFSET_BITS) - 1);

	return type << SWP_TYPE_SHIFT | inverted << SWP_OFFSET_SHIFT | properties << 1;
}

#endif
