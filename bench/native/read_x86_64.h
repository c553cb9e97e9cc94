/* Entries and pages as judges and census read them: harness/words/x86_64.py, batches.py. */
#ifndef READ_H
#define READ_H

#include <stdbool.h>

#include "loop.h"
#include "x86_64.h"

#define DIRTY_BITS (PAGE_DIRTY | PAGE_SAVED_DIRTY)
#define CACHE_MODE (PAGE_PWT | PAGE_PCD | PAGE_PAT)
#define SWP_OFFSET_MASK (BIT(SWP_OFFSET_BITS) - 1)

/* What page_row() says where there is no row. */
enum { NO_PAGE = -2, ORDER_0 = -1 };

/* No bit but accessed and dirty is set. */
static inline bool none(uint64_t word)
{
	return !(word & ~(PAGE_ACCESSED | PAGE_DIRTY));
}

/* The kernel keeps a page behind the entry, PROT_NONE or not. */
static inline bool present(uint64_t word)
{
	return word & (PAGE_PRESENT | PAGE_GLOBAL);
}

static inline bool is_dirty(uint64_t word)
{
	return word & DIRTY_BITS;
}

/* Entries that are not valid store their PFN inverted (L1TF). */
static inline bool inverted(uint64_t word)
{
	return word && !(word & PAGE_PRESENT);
}

/* The page frame number. */
static inline uint64_t frame(uint64_t word)
{
	uint64_t address = word & PTE_PFN_MASK;

	return (inverted(word) ? address ^ PTE_PFN_MASK : address) >> PFN_SHIFT;
}

/* The low offset bits, inversion undone: the marker's kind. */
static inline uint64_t swap_payload(uint64_t word)
{
	return ~word >> SWP_OFFSET_SHIFT & SWP_OFFSET_MASK;
}

static inline int64_t swap_type(uint64_t word)
{
	return (int64_t)(word >> SWP_TYPE_SHIFT);
}

static inline bool holds(const struct case_state *input, uint64_t row, uint64_t pfn)
{
	return pfn - input->folios[row].pfn < (uint64_t)input->folios[row].nr_pages;
}

/* The row of the folio that holds `pfn`, or ORDER_0. Binary search: rows ascend. */
static inline int64_t folio_row(const struct case_state *input, uint64_t pfn)
{
	uint64_t left = (uint64_t)input->facts->nr_folios;
	uint64_t low = 0;

	if (!left)
		return ORDER_0;
	while (left > 1) {
		uint64_t half = left >> 1;

		low = input->folios[low + half].pfn <= pfn ? low + half : low;
		left -= half;
	}
	return holds(input, low, pfn) ? (int64_t)low : ORDER_0;
}

/* The row of the folio behind present `word`, ORDER_0 or NO_PAGE: vm_normal_page(). */
static inline int64_t page_row(const struct case_state *input, uint64_t word)
{
	if (word & PAGE_SPECIAL || frame(word) > input->facts->highest_memmap_pfn)
		return NO_PAGE;
	return folio_row(input, frame(word));
}

/* Whether the page of present `word` is anon and exclusive, its folio being in `row`. */
static inline bool exclusive_in(const struct case_state *input, uint64_t word, uint64_t row)
{
	if (row >= (uint64_t)input->facts->nr_folios || word & PAGE_SPECIAL)
		return false;

	const struct midfolio_folio *folio = &input->folios[row];
	uint64_t page = (uint64_t)folio->first_page + frame(word) - folio->pfn;

	return folio->folio_flags & MIDFOLIO_FOLIO_ANON && input->exclusive[page];
}

/* Whether present `word` maps an anon page that is exclusive to this mm. */
static inline bool page_is_exclusive(const struct case_state *input, uint64_t word)
{
	int64_t row = page_row(input, word);

	return row >= 0 && exclusive_in(input, word, (uint64_t)row);
}

#endif
