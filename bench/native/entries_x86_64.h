/* Entries of a random case: fuzz/layout/entries.py. Included by layout_x86_64.c alone. */
#ifndef ENTRIES_X86_64_H
#define ENTRIES_X86_64_H

#include "generate.h"

/* Patterns out of 16. */
static const int64_t ACCESSED_OR_DIRTY[16] = {
	[0 ... 3] = NO, [4 ... 8] = YES, [9 ... 10] = ONLY, [11] = BUT, [12] = FROM,
	[13] = BEFORE, [14 ... 15] = RANDOM,
};
static const int64_t DEVIATING[16] = {
	[0 ... 8] = NO, [9 ... 10] = ONLY, [11] = BUT, [12] = FROM, [13] = BEFORE,
	[14] = TURNS, [15] = RANDOM,
};
/* What a deviation flips, out of 8. */
static const uint64_t DEVIATIONS[8] = {
	[0 ... 2] = HAS_SOFT_DIRTY, [3 ... 4] = HAS_WRITE, [5 ... 6] = HAS_UFFD, [7] = HAS_PROTNONE,
};
/* Offsets in the swap file: as wide as this many bits, out of 8. */
static const int64_t SWAP_OFFSET_WIDTHS[8] = { 4, 10, 10, 20, 20, 30, 34, 49 };
static const uint64_t MARKER_PAYLOAD[3] = {
	PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD,
};

/* The shape of a run without folio; its kind and length are chosen in layout_x86_64.c. */
static const struct part ABOVE = PART(11, 1);
static const struct part NEAR = PART(12, 2);
static const struct part DISTANCE = PART(31, 16);
#define CACHE_SHIFT 47
/* Details of a run that maps folios. */
static const struct part ACCESSED_KIND = PART(0, 4);
static const struct part DIRTY_KIND = PART(4, 4);
static const struct part IS_SOFT_DIRTY = PART(8, 3);
static const struct part IS_WRITABLE = PART(11, 1);
static const struct part IS_UFFD = PART(12, 1);
static const struct part IS_PROTNONE = PART(13, 4);
static const struct part DEVIATION = PART(17, 3);
static const struct part NOT_ARMED = PART(20, 3);
static const struct part DEVIATING_KIND = PART(23, 4);
static const struct part ACCESSED_PLACE = PART(27, 9);
static const struct part DIRTY_PLACE = PART(36, 9);
static const struct part DEVIATING_PLACE = PART(45, 9);
/* Accessed and dirty, two bits an entry, of a run without folio. */
#define EACH_SHIFT 20
#define EACH_BITS 2
#define ONLY_ACCESSED UINT64_C(0x5555555555555555)
/* Details of swap-like entries. */
static const struct part SWAP_BITS = PART(0, 2);
static const struct part EXCLUSIVE_BIT = PART(2, 1);
static const struct part TYPE = PART(3, 5);
static const struct part OFFSET_WIDTH = PART(8, 3);
static const struct part POISONED = PART(11, 16);
static const struct part YOUNG_BIT = PART(2, 1);
static const struct part DIRTY_BIT = PART(3, 1);

/* The entries of a run, clean, old and without PFN: a word, and what to flip in it. */
struct words {
	uint64_t word;
	uint64_t deviation; /* where the run deviates */
	uint64_t shared; /* where the page is not exclusive */
	uint64_t shared_deviation; /* besides, where both */
};

/* The properties that are the same along a run. */
static uint64_t detail_state(uint64_t detail, uint64_t allowed)
{
	uint64_t state = 0;

	if (bits(detail, IS_SOFT_DIRTY) >= 2)
		state |= HAS_SOFT_DIRTY;
	if (bits(detail, IS_WRITABLE))
		state |= HAS_WRITE;
	if (bits(detail, IS_UFFD))
		state |= HAS_UFFD;
	if (bits(detail, IS_PROTNONE) == 15)
		state |= HAS_PROTNONE;
	return state & allowed;
}

/* `state` without combinations that no kernel makes. */
static uint64_t legal(uint64_t state, bool armed_none)
{
	if ((state & HAS_UFFD) && armed_none)
		state |= HAS_PROTNONE;
	/* pte_mkuffd_wp() and PAGE_NONE both take the write bit away. */
	return state & (HAS_UFFD | HAS_PROTNONE) ? state & ~HAS_WRITE : state;
}

/* The entry of bit 0 of the patterns, without its PFN; no branch, as nothing foresees it. */
static inline uint64_t entry_of(const struct words *words, uint64_t accessed, uint64_t dirty,
				uint64_t deviating, uint64_t shared)
{
	uint64_t deviates = mask(deviating);
	uint64_t word = words->word ^ (deviates & words->deviation);

	word ^= mask(shared) & (words->shared ^ (deviates & words->shared_deviation));
	return word ^ ((mask(dirty) & dirty_flip(word)) | (mask(accessed) & PAGE_ACCESSED));
}

/* Write `length` entries that map pages `page`, `page` + `step`, ... of a block. */
static void write_present(uint64_t *choices, struct case_state *state,
			  const struct scene *scene, int64_t at, int64_t length, int64_t row,
			  int64_t page, int64_t step, int64_t kind)
{
	uint64_t detail = draw(choices);
	uint64_t noise = mix(detail);
	const struct midfolio_folio *folio = &state->folios[row];
	uint64_t shift = state->facts->page_shift;
	uint64_t field = (folio->pfn + (uint64_t)page) << shift;
	int64_t exclusive_at = folio->first_page + page;
	uint64_t advance = (uint64_t)step << shift;
	uint64_t allowed = scene->allowed;
	int64_t accessed_kind = ACCESSED_OR_DIRTY[bits(detail, ACCESSED_KIND)];
	int64_t dirty_kind = ACCESSED_OR_DIRTY[bits(detail, DIRTY_KIND)];
	int64_t deviating_kind = DEVIATING[bits(detail, DEVIATING_KIND)];

	if (kind == KSM) {
		/* ksm write-protects and cleans before it merges: write_protect_page(). */
		allowed &= ~HAS_WRITE;
		dirty_kind = NO;
	}

	uint64_t common = detail_state(detail, allowed);
	uint64_t deviating_state = common ^ (DEVIATIONS[bits(detail, DEVIATION)] & allowed);
	/* mprotect() of a VM_UFFD_RWP VMA can leave the uffd bit without PAGE_NONE. */
	bool armed_none = scene->armed_none && bits(detail, NOT_ARMED) < 7;
	int64_t accessed_place = scaled(detail, ACCESSED_PLACE, length);
	int64_t dirty_place = scaled(detail, DIRTY_PLACE, length);
	int64_t deviating_place = scaled(detail, DEVIATING_PLACE, length);

	uint64_t prot = scene->prot;
	uint64_t word = make_present(prot, legal(common, armed_none));
	uint64_t deviation = word ^ make_present(prot, legal(deviating_state, armed_none));
	uint64_t lesser = make_present(prot, legal(common & ~HAS_WRITE, armed_none));
	uint64_t lesser_deviation =
		lesser ^ make_present(prot, legal(deviating_state & ~HAS_WRITE, armed_none));
	struct words words = { word, deviation, word ^ lesser, deviation ^ lesser_deviation };
	bool needs_exclusive = scene->private && ((common | deviating_state) & HAS_WRITE);

	for (int64_t first = 0; first < length; first += 64) {
		int64_t last = min(first + 64, length);
		uint64_t accessed = pattern(accessed_kind, accessed_place, noise, first);
		uint64_t dirty = pattern(dirty_kind, dirty_place, ~noise, first);
		uint64_t deviating = pattern(deviating_kind, deviating_place, noise >> 1, first);
		uint64_t shared = 0;

		if (needs_exclusive) {
			for (int64_t i = first; i < last; i++) {
				uint64_t bit = state->exclusive[exclusive_at + i * step] ^ 1u;

				shared |= bit << (i - first);
			}
		}
		for (int64_t i = first; i < last; i++) {
			uint64_t entry = entry_of(&words, accessed, dirty, deviating, shared);

			state->ptes[at + i] = place_pfn(entry, field);
			accessed >>= 1;
			dirty >>= 1;
			deviating >>= 1;
			shared >>= 1;
			field += advance;
		}
	}
}

/* Write `length` entries without a listed folio: zero page, special, unlisted. */
static void write_bare(uint64_t *choices, struct case_state *state, const struct scene *scene,
		       int64_t at, int64_t length, uint64_t shape, int64_t kind)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t detail = draw(choices);
	uint64_t prot = scene->prot;
	uint64_t allowed = scene->private ? scene->allowed & ~HAS_WRITE : scene->allowed;
	uint64_t common = HAS_SPECIAL;
	uint64_t advance = 1;
	uint64_t each = detail >> EACH_SHIFT;
	uint64_t pfn;

	if (kind == ZERO) {
		pfn = facts->zero_pfn;
		advance = 0;
		allowed &= ~HAS_WRITE;
		each &= ONLY_ACCESSED;
	} else if (kind == UNLISTED) {
		/* Small pages up to the very last one of the memory map. */
		pfn = facts->highest_memmap_pfn - (uint64_t)(length - 1);
		if (bits(shape, NEAR) < 3)
			pfn -= (uint64_t)(bits(shape, DISTANCE) >> 4);
		common = 0;
	} else {
		prot |= (shape >> CACHE_SHIFT) & (PAGE_PWT | PAGE_PCD);
		/* Device memory may lie above the memory map. */
		pfn = (uint64_t)bits(shape, DISTANCE) + 1;
		if (bits(shape, ABOVE))
			pfn += facts->highest_memmap_pfn;
	}
	common |= detail_state(detail, allowed);

	uint64_t word = make_present(prot, legal(common, scene->armed_none));

	for (int64_t i = 0; i < length; i++) {
		uint64_t accessed = mask(each) & PAGE_ACCESSED;
		uint64_t dirty = mask(each >> 1) & dirty_flip(word);

		state->ptes[at + i] = place_pfn(word ^ (accessed | dirty), pfn << facts->page_shift);
		each >>= EACH_BITS;
		pfn += advance;
	}
}

/* Write `length` none entries. */
static void write_hole(struct case_state *state, int64_t at, int64_t length)
{
	for (int64_t i = 0; i < length; i++)
		state->ptes[at + i] = 0;
}

/* Soft-dirty and uffd bits of a swap-like entry that its VMA can have. */
static uint64_t choose_swap_state(uint64_t detail, const struct scene *scene)
{
	uint64_t possible = 0;

	if (scene->allowed & HAS_SOFT_DIRTY)
		possible |= SWAP_SOFT_DIRTY;
	if (scene->allowed & HAS_UFFD)
		possible |= SWAP_UFFD;
	return (uint64_t)bits(detail, SWAP_BITS) & possible;
}

/* Write `length` swap, hwpoison or marker entries. */
static void write_swap(uint64_t *choices, struct case_state *state, const struct scene *scene,
		       int64_t at, int64_t length, int64_t kind)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t detail = draw(choices);
	uint64_t swap_state = 0;
	uint64_t offset;
	uint64_t advance = 1;
	int64_t type = facts->swp_marker;

	if (kind == SWAP) {
		type = scaled(detail, TYPE, facts->swp_hwpoison);

		int64_t width = min(SWAP_OFFSET_WIDTHS[bits(detail, OFFSET_WIDTH)],
				    SWP_OFFSET_BITS - 1);

		offset = 1 + (mix(detail) & (BIT(width) - 1));
		swap_state = choose_swap_state(detail, scene);
		if (bits(detail, EXCLUSIVE_BIT))
			swap_state |= SWAP_EXCLUSIVE;
	} else if (kind == HWPOISON) {
		type = facts->swp_hwpoison;
		offset = scene->first_pfn + (uint64_t)bits(detail, POISONED);
	} else {
		int64_t marker = kind - MARKER_UFFD_WP;

		if (kind == MARKER_GUARD && facts->guard_marker == 0)
			marker = MARKER_POISON - MARKER_UFFD_WP;
		offset = MARKER_PAYLOAD[marker];
		advance = 0;
	}
	for (int64_t i = 0; i < length; i++) {
		state->ptes[at + i] = make_swap((uint64_t)type, offset, swap_state);
		offset += advance;
	}
}

/* The swap type of an entry that points to a page. */
static int64_t pointer_type(const struct midfolio_facts *facts, int64_t kind)
{
	if (kind == MIGRATION_READ)
		return facts->swp_migration_read;
	if (kind == MIGRATION_READ_EXCLUSIVE)
		return facts->swp_migration_read_exclusive;
	if (kind == MIGRATION_WRITE)
		return facts->swp_migration_write;
	if (kind == DEVICE_READ)
		return facts->swp_device_read;
	if (kind == DEVICE_WRITE)
		return facts->swp_device_write;
	if (kind == DEVICE_EXCLUSIVE_WRITE && facts->swp_device_exclusive_write >= 0)
		return facts->swp_device_exclusive_write;
	return facts->swp_device_exclusive;
}

/* Write `length` migration or device entries that point to pages of a block. */
static void write_pointers(uint64_t *choices, struct case_state *state,
			   const struct scene *scene, int64_t at, int64_t length, int64_t row,
			   int64_t page, int64_t step, int64_t kind)
{
	uint64_t detail = draw(choices);
	uint64_t type = (uint64_t)pointer_type(state->facts, kind);
	uint64_t pfn = state->folios[row].pfn + (uint64_t)page;
	uint64_t swap_state = choose_swap_state(detail, scene);
	bool migration = kind <= MIGRATION_WRITE;
	uint64_t young = migration && bits(detail, YOUNG_BIT) ? SWP_MIG_YOUNG : 0;
	uint64_t dirty = migration && bits(detail, DIRTY_BIT) ? SWP_MIG_DIRTY : 0;

	for (int64_t i = 0; i < length; i++) {
		state->ptes[at + i] = make_swap(type, pfn | young | dirty, swap_state);
		pfn += (uint64_t)step;
	}
}

#endif
