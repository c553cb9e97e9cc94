/* Folios of a random case: fuzz/layout/folios.py. */
#include "generate.h"

/* Pages are written so many at a time. */
#define CHUNK 8
/* Large folios stand alone in their block. */
#define ALONE 6

static const int64_t BLOCKS[8] = { 1, 1, 1, 1, 1, 2, 2, 4 };
static const int64_t EXCLUSIVE[16] = {
	[0 ... 1] = NO, [2 ... 5] = YES, [6] = ONLY, [7] = BUT, [8] = FROM, [9] = BEFORE,
	[10] = ONLY, [11] = BUT, [12] = FROM, [13] = BEFORE, [14] = TURNS, [15] = RANDOM,
};
static const int64_t ORDERS[64] = {
	[0 ... 6] = 0, [7 ... 11] = 1, [12 ... 23] = 2, [24 ... 34] = 3, [35 ... 45] = 4,
	[46 ... 53] = 5, [54 ... 60] = 6, [61 ... 62] = 7, [63] = 9,
};

/* A new block. */
static const struct part ORDER = PART(0, 6);
static const struct part BLOCK = PART(6, 3);
static const struct part APART = PART(9, 2);
static const struct part GAP = PART(11, 8);
static const struct part NID = PART(19, 2);
static const struct part SHMEM = PART(21, 2);
static const struct part CLEAN = PART(23, 2);
static const struct part MAPPED = PART(25, 2);
static const struct part PINS = PART(27, 3);
static const struct part FILE_PAGE = PART(30, 1);
static const struct part EXCLUSIVE_KIND = PART(31, 4);
static const struct part EXCLUSIVE_PLACE = PART(35, 12);
static const struct part FAR = PART(47, 3);

static uint64_t aligned(uint64_t pfn, int64_t nr_pages)
{
	uint64_t below = (uint64_t)nr_pages - 1;

	return (pfn + below) & ~below;
}

/* FOLIO_ flags that go with each other and with `kind`. */
static uint64_t choose_flags(uint64_t choice, const struct midfolio_facts *facts,
			     const struct scene *scene, int64_t kind, int64_t nid)
{
	uint64_t flags;

	if (kind == KSM) {
		flags = FOLIO_ANON | FOLIO_KSM;
	} else if (kind == FILE_PAGES ||
		   ((kind == MIGRATION_READ || kind == MIGRATION_WRITE) &&
		    (!scene->private ||
		     (facts->vma_anon == 0 && bits(choice, FILE_PAGE) == 1)))) {
		/* One file folio in four is shmem, which is on the anon lists. */
		flags = bits(choice, SHMEM) < 3 ? FOLIO_FILE_LRU : 0;
	} else if (kind == ZONE_DEVICE && facts->vma_anon == 0) {
		flags = FOLIO_ZONE_DEVICE;
	} else {
		flags = FOLIO_ANON;
		if (kind == ZONE_DEVICE || kind == DEVICE_READ || kind == DEVICE_WRITE)
			flags |= FOLIO_ZONE_DEVICE;
	}
	if (bits(choice, CLEAN) >= (flags & FOLIO_ANON ? 1 : 3))
		flags |= FOLIO_DIRTY;
	if (bits(choice, MAPPED) == 3)
		flags |= FOLIO_MAPPED_SHARED;
	if (bits(choice, PINS) == 7)
		flags |= FOLIO_PINNED;
	/* folio_use_access_time(): tiering, and the node is no top tier. */
	if ((facts->numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING) &&
	    !(facts->toptier_nodes >> nid & 1))
		flags |= FOLIO_ACCESS_TIME;
	return flags;
}

/* Write the exclusive bits of a block, and up to CHUNK - 1 behind it that are no part of it. */
static void set_exclusive(struct case_state *state, int64_t first_page, int64_t nr_pages,
			  int64_t kind, int64_t place, uint64_t noise)
{
	for (int64_t first = 0; first < nr_pages; first += 64) {
		uint64_t word = pattern(kind, place, noise, first);
		int64_t last = min(first + 64, nr_pages);

		for (int64_t chunk = first; chunk < last; chunk += CHUNK) {
			for (int64_t i = 0; i < CHUNK; i++) {
				state->exclusive[first_page + chunk + i] = word & 1;
				word >>= 1;
			}
		}
	}
}

/* Append a block of folios for a run of `kind`; returns their number, 0 without room. */
int64_t add_block(uint64_t *choices, struct case_state *state, const struct scene *scene,
		  int64_t kind, int64_t least)
{
	struct midfolio_facts *facts = state->facts;
	uint64_t choice = draw(choices);
	uint64_t noise = mix(choice);
	int64_t order = max(ORDERS[bits(choice, ORDER)], least);
	int64_t nr_rows = BLOCKS[bits(choice, BLOCK)];

	if (order >= ALONE)
		nr_rows = 1;
	if (kind >= KSM) {
		/* KSM has small pages only; so have nearly all others of these. */
		nr_rows = 1;
		if (kind == KSM || bits(choice, BLOCK) < 6)
			order = 0;
	}

	int64_t row = facts->nr_folios;
	uint64_t pfn = scene->first_pfn;
	int64_t first_page = 0;

	if (row > 0) {
		const struct midfolio_folio *last = &state->folios[row - 1];

		first_page = last->first_page + last->nr_pages;
		/* Physically side by side, more often than not. */
		pfn = last->pfn + (uint64_t)last->nr_pages;
		if (bits(choice, APART) == 3)
			pfn += (uint64_t)bits(choice, GAP);
	}
	nr_rows = min(nr_rows, state->folios_room - row);
	if (first_page + (nr_rows << order) + CHUNK > state->exclusive_room) {
		nr_rows = 1;
		order = 0;
	}

	int64_t nr_pages = INT64_C(1) << order;
	int64_t total = nr_pages * nr_rows;

	pfn = aligned(pfn, nr_pages);
	if (pfn <= facts->zero_pfn && facts->zero_pfn < pfn + (uint64_t)total)
		pfn = aligned(facts->zero_pfn + 1, nr_pages);
	if (nr_rows <= 0 || first_page + total + CHUNK > state->exclusive_room ||
	    pfn + (uint64_t)total > facts->highest_memmap_pfn + 1)
		return 0;

	int64_t nid = bits(choice, NID) + (bits(choice, FAR) == 7 ? FAR_NODES : 0);
	uint64_t flags = choose_flags(choice, facts, scene, kind, nid);

	for (int64_t i = 0; i < nr_rows; i++) {
		state->folios[row + i] = (struct midfolio_folio){
			.pfn = pfn + (uint64_t)(i * nr_pages),
			.nr_pages = nr_pages,
			.folio_flags = flags,
			.nid = nid,
			.first_page = first_page + i * nr_pages,
		};
	}
	facts->nr_folios = row + nr_rows;

	int64_t exclusive = EXCLUSIVE[bits(choice, EXCLUSIVE_KIND)];

	if ((flags & (FOLIO_ANON | FOLIO_KSM)) != FOLIO_ANON)
		exclusive = NO;
	set_exclusive(state, first_page, total, exclusive, scaled(choice, EXCLUSIVE_PLACE, total),
		      noise);
	return nr_rows;
}
