/* Which runs a window is made of, and what they map: fuzz/layout/runs.py, kinds.py. */
#include "entries_x86_64.h"

/* What a VMA maps, out of 128 runs. */
static const int8_t RUNS[4][128] = {
	[ANON_VMA] = {
		[0 ... 83] = ANON, [84 ... 89] = ZERO, [90 ... 93] = KSM, [94 ... 95] = ZONE_DEVICE,
		[96 ... 103] = HOLE, [104 ... 107] = SWAP, [108 ... 109] = MIGRATION_READ,
		[110 ... 111] = MIGRATION_READ_EXCLUSIVE, [112 ... 114] = MIGRATION_WRITE,
		[115 ... 116] = DEVICE_READ, [117 ... 119] = DEVICE_WRITE,
		[120] = DEVICE_EXCLUSIVE, [121] = DEVICE_EXCLUSIVE_WRITE,
		[122 ... 123] = HWPOISON, [124] = MARKER_UFFD_WP, [125] = MARKER_POISON,
		[126 ... 127] = MARKER_GUARD,
	},
	[FILE_VMA] = {
		[0 ... 47] = FILE_PAGES, [48 ... 89] = ANON, [90 ... 93] = UNLISTED,
		[94 ... 95] = ZERO, [96 ... 98] = ZONE_DEVICE, [99 ... 108] = HOLE,
		[109 ... 112] = SWAP, [113 ... 115] = MIGRATION_READ,
		[116] = MIGRATION_READ_EXCLUSIVE, [117 ... 119] = MIGRATION_WRITE,
		[120 ... 121] = HWPOISON, [122 ... 124] = MARKER_UFFD_WP,
		[125 ... 126] = MARKER_POISON, [127] = MARKER_GUARD,
	},
	[SHARED_VMA] = {
		[0 ... 91] = FILE_PAGES, [92 ... 97] = UNLISTED, [98 ... 101] = ZONE_DEVICE,
		[102 ... 111] = HOLE, [112 ... 114] = MIGRATION_READ, [115 ... 118] = MIGRATION_WRITE,
		[119 ... 120] = HWPOISON, [121 ... 124] = MARKER_UFFD_WP,
		[125 ... 126] = MARKER_POISON, [127] = MARKER_GUARD,
	},
	[DEVICE_VMA] = {
		[0 ... 79] = SPECIAL, [80 ... 103] = FILE_PAGES, [104 ... 127] = HOLE,
	},
};

/* Where the pages of a run come from, out of 16. */
enum { NEW, NEXT, AGAIN };

static const int64_t SOURCES[16] = { [0 ... 8] = NEW, [9 ... 12] = NEXT, [13 ... 15] = AGAIN };
static const int64_t HOLE_LENGTHS[8] = { 1, 1, 2, 3, 4, 6, 8, 12 };
static const int64_t SWAP_LENGTHS[8] = { 1, 1, 1, 1, 1, 2, 2, 4 };

/* The shape of a run. */
static const struct part KIND = PART(0, 7);
static const struct part SOURCE = PART(7, 4);
static const struct part MID_BLOCK = PART(11, 1);
static const struct part SHORTER = PART(12, 2);
static const struct part LENGTH = PART(14, 9);
static const struct part STEPS = PART(23, 4);
static const struct part DOWNWARDS = PART(27, 1);
static const struct part FEW = PART(28, 3);
static const struct part OLD_FOLIO = PART(31, 10);
static const struct part PAGE = PART(41, 10);
static const struct part WHOLE = PART(54, 3);
/* Some windows of so many entries map one folio of this order. */
enum { TABLE = 512, TABLE_ORDER = 9 };

/* Whether a folio made for another run may be used by a run of `kind`. */
static bool fits(int64_t kind, uint64_t folio_flags)
{
	if (kind == ANON || kind >= DEVICE_EXCLUSIVE)
		return (folio_flags & (FOLIO_ANON | FOLIO_ZONE_DEVICE)) == FOLIO_ANON;
	if (kind == FILE_PAGES)
		return !(folio_flags & (FOLIO_ANON | FOLIO_ZONE_DEVICE));
	if (kind == MIGRATION_READ || kind == MIGRATION_WRITE)
		return !(folio_flags & FOLIO_ZONE_DEVICE);
	return false;
}

/* Write a run that needs no folio; returns its length, at most `room`. */
static int64_t write_without_folio(uint64_t *choices, struct case_state *state,
				   const struct scene *scene, int64_t at, int64_t room,
				   uint64_t shape, int64_t kind)
{
	int64_t few = bits(shape, FEW);
	int64_t length;

	if (kind == HOLE) {
		length = min(room, HOLE_LENGTHS[few]);
		write_hole(state, at, length);
	} else if (kind >= SWAP) {
		length = min(room, SWAP_LENGTHS[few]);
		write_swap(choices, state, scene, at, length, kind);
	} else {
		length = min(room, 1 + few);
		write_bare(choices, state, scene, at, length, shape, kind);
	}
	return length;
}

/*
 * Fill the window with runs; folios and exclusivity are made as they are needed.
 *
 * Blocks of entries are one entry long here, so no run need stand in step with its pages.
 */
void lay_out(uint64_t *choices, struct case_state *state, const struct scene *scene)
{
	struct midfolio_facts *facts = state->facts;
	int64_t nr_ptes = facts->nr_ptes;
	/* The block that the last run mapped: first folio, folios, page after the run. */
	int64_t row = 0;
	int64_t nr_rows = 0;
	int64_t next_page = 0;
	int64_t at = 0;

	facts->nr_folios = 0;
	while (at < nr_ptes) {
		uint64_t shape = draw(choices);
		int64_t kind = RUNS[scene->contents][bits(shape, KIND)];
		int64_t room = nr_ptes - at;

		if (kind > DEVICE_EXCLUSIVE_WRITE) {
			at += write_without_folio(choices, state, scene, at, room, shape, kind);
			continue;
		}

		bool whole = room == TABLE && bits(shape, WHOLE) == 7 && kind < KSM;
		int64_t source = whole ? NEW : SOURCES[bits(shape, SOURCE)];
		int64_t page = next_page;

		if (source == AGAIN && facts->nr_folios > 0) {
			row = scaled(shape, OLD_FOLIO, facts->nr_folios);
			nr_rows = 1;
			page = scaled(shape, PAGE, state->folios[row].nr_pages);
		}
		/* NEXT goes on behind a hole or a change of bits inside the block. */
		if (source == NEW || nr_rows == 0 ||
		    page >= nr_rows * state->folios[row].nr_pages ||
		    !fits(kind, state->folios[row].folio_flags)) {
			row = facts->nr_folios;
			nr_rows = add_block(choices, state, scene, kind, whole ? TABLE_ORDER : 0);
			if (nr_rows == 0) {
				at += write_without_folio(choices, state, scene, at, room, shape, HOLE);
				continue;
			}
			page = 0;
			/* Half of the runs on a new block begin in the middle of it. */
			if (bits(shape, MID_BLOCK) && !whole)
				page = scaled(shape, PAGE, nr_rows * state->folios[row].nr_pages);
		}

		int64_t rest = nr_rows * state->folios[row].nr_pages - page;
		int64_t length = rest;
		int64_t step = 1;

		if (bits(shape, SHORTER) == 3 && !whole)
			length = 1 + scaled(shape, LENGTH, rest);
		if (bits(shape, STEPS) == 15 && !whole) {
			/* The same page again and again, or downwards. */
			if (bits(shape, DOWNWARDS)) {
				length = 1 + (bits(shape, FEW) >> 1);
				step = 0;
			} else {
				length = min(length, page + 1);
				step = -1;
			}
		}
		if (kind >= MIGRATION_READ)
			length = min(length, SWAP_LENGTHS[bits(shape, FEW)]);
		length = min(length, room);
		if (kind >= MIGRATION_READ)
			write_pointers(choices, state, scene, at, length, row, page, step, kind);
		else
			write_present(choices, state, scene, at, length, row, page, step, kind);
		next_page = page + length;
		at += length;
	}
}
