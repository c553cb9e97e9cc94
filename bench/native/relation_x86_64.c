/* The relation, batching EXACT: harness/relation.py, batches.py, demand.py. */
#include "judge.h"
#include "read_x86_64.h"
#include "reference_rules_x86_64.h"

#define SOFT_BITS \
	(PAGE_ACCESSED | DIRTY_BITS | PAGE_SOFT_DIRTY | PAGE_UFFD | PAGE_RW | PTE_PFN_MASK)
#define PROTECTION \
	(PAGE_PRESENT | PAGE_USER | PAGE_GLOBAL | PAGE_NX | PAGE_PKEY_MASK | CACHE_MODE)
#define OTHER (~(SOFT_BITS | PROTECTION))

/* `word` for the page that is `pages` further on, as pte_advance_pfn() does. */
static uint64_t advance(uint64_t word, uint64_t pages)
{
	uint64_t step = pages << PFN_SHIFT;

	return inverted(word) ? word - step : word + step;
}

/* `word` without the only bits in which a batch may differ. */
static uint64_t batch_key(uint64_t word)
{
	return word & ~(PAGE_ACCESSED | DIRTY_BITS);
}

/* pte_mkdirty(). */
static uint64_t merge_dirty(const struct midfolio_facts *facts, uint64_t word)
{
	if (word & PAGE_RW)
		word |= PAGE_DIRTY;
	else
		word = (word | PAGE_SAVED_DIRTY) & ~PAGE_DIRTY;
	return facts->soft_dirty ? word | PAGE_SOFT_DIRTY : word;
}

/* The class of a bit that `theirs` has and the reference has not, or the other way round. */
static uint64_t gained_or_lost(uint64_t theirs, uint64_t bit, uint64_t gained, uint64_t lost)
{
	return theirs & bit ? gained : lost;
}

/* The classes of the bits in which present word `theirs` (the target's) differs from `ours`. */
static uint64_t difference(uint64_t ours, uint64_t theirs)
{
	uint64_t found = 0;
	uint64_t delta = ours ^ theirs;

	if (frame(ours) != frame(theirs))
		found |= PFN_CHANGED;
	if (delta & PAGE_RW)
		found |= gained_or_lost(theirs, PAGE_RW, WRITE_GAINED, WRITE_LOST);
	if (is_dirty(ours) != is_dirty(theirs))
		found |= gained_or_lost(theirs, DIRTY_BITS, DIRTY_GAINED, DIRTY_LOST);
	else if (delta & DIRTY_BITS && !(delta & PAGE_RW))
		found |= BITS_CHANGED;
	if (delta & PAGE_ACCESSED)
		found |= gained_or_lost(theirs, PAGE_ACCESSED, ACCESSED_GAINED, ACCESSED_LOST);
	if (delta & PAGE_SOFT_DIRTY)
		found |= gained_or_lost(theirs, PAGE_SOFT_DIRTY, SOFT_DIRTY_GAINED, SOFT_DIRTY_LOST);
	if (delta & PAGE_UFFD)
		found |= UFFD_CHANGED;
	if (delta & PROTECTION)
		found |= PROTECTION_CHANGED;
	if (delta & OTHER)
		found |= BITS_CHANGED;
	return found;
}

/* The end of the legal batch that begins at entry `index`, which is present and in the range. */
static int64_t batch_end(const struct case_state *input, int64_t index)
{
	int64_t end = input->facts->end;
	uint64_t first = input->ptes[index];
	uint64_t key = batch_key(first);
	int64_t at = index + 1;

	/* Before the page is looked up: most entries that stand alone are told by it. */
	if (at >= end || batch_key(input->ptes[at]) != advance(key, 1))
		return at;

	int64_t row = page_row(input, first);

	if (row < 0)
		return at;

	const struct midfolio_folio *folio = &input->folios[row];
	int64_t left = (int64_t)(folio->pfn + (uint64_t)folio->nr_pages - frame(first));
	int64_t limit = end < index + left ? end : index + left;

	while (at < limit &&
	       batch_key(input->ptes[at]) == advance(key, (uint64_t)(at - index)))
		at++;
	return at;
}

/* The word of an entry as a take finds it. */
static uint64_t taken(const struct case_state *input, int64_t index)
{
	return input->ptes[index] ^ input->hardware[index];
}

/* The first entry of batch [index, end) with accessed and dirty of all merged in. */
static uint64_t merge(const struct case_state *input, int64_t index, int64_t end)
{
	uint64_t merged = taken(input, index);

	for (int64_t i = index + 1; i < end; i++) {
		uint64_t word = taken(input, i);

		if (is_dirty(word))
			merged = merge_dirty(input->facts, merged);
		if (word & PAGE_ACCESSED)
			merged |= PAGE_ACCESSED;
	}
	return merged;
}

/* The explained classes by which merged result `word` differs from the entry's own result. */
static uint64_t merge_classes(const struct midfolio_facts *facts, uint64_t own, uint64_t word)
{
	uint64_t by_write = facts->vma_flags & MIDFOLIO_VM_SHARED ? WRITE_BY_MERGED_DIRTY :
								    WRITE_BY_MERGED_SOFT_DIRTY;
	uint64_t gained = word & ~own;
	uint64_t found = gained & PAGE_ACCESSED ? ACCESSED_MERGED : 0;

	found |= is_dirty(word) && !is_dirty(own) ? DIRTY_MERGED : 0;
	found |= gained & PAGE_SOFT_DIRTY ? SOFT_DIRTY_MERGED : 0;
	found |= gained & PAGE_RW ? by_write : 0;
	return found ? found : DIRTY_MOVED;
}

/* Classes of an unexplained entry: how it differs from the nearer of the two legal words. */
static uint64_t divergence_classes(const struct case_state *input, uint64_t own, uint64_t merged,
				   uint64_t word)
{
	if (!present(word) && present(merged))
		return ENTRY_LOST;

	uint64_t to_own = difference(own, word);
	uint64_t found = difference(merged, word);

	if (__builtin_popcountll(to_own) < __builtin_popcountll(found))
		found = to_own;
	if (found & WRITE_GAINED && !(input->facts->vma_flags & MIDFOLIO_VM_SHARED) &&
	    !page_is_exclusive(input, word))
		found = (found & ~WRITE_GAINED) | COW_WRITE;
	return found ? found : BITS_CHANGED;
}

/* What becomes of the demand that an entry be flushed: harness/demand.py. */
static uint64_t judge_flush(bool own_needs, bool merged_needs, bool by_own, bool by_merged,
			    bool covered)
{
	bool needs = own_needs && by_own;

	if (by_merged)
		needs = merged_needs && (needs || !by_own);
	if (covered) {
		if (!own_needs && !merged_needs && !needs)
			return FLUSH_UNNEEDED;
		return own_needs ? 0 : EXTRA_FLUSH;
	}
	if (needs)
		return FLUSH_MISSING;
	return own_needs && (by_own || by_merged) ? FLUSH_ELIDED : 0;
}

/* Coprocessors are powerpc's. */
static uint64_t told_needlessly(const struct verdict *verdict, int64_t index)
{
	return verdict->covered[index] & TOLD ? NMMU_UNNEEDED : 0;
}

/* Class bits of an entry that this call changes; `merged`: what the merged entry becomes. */
static uint64_t judge_changed(struct workspace *workspace, const struct verdict *verdict,
			      int64_t index, uint64_t merged, bool merged_needs)
{
	uint64_t own = workspace->ours.state.ptes[index];
	uint64_t word = workspace->theirs.state.ptes[index];
	bool by_own = word == own;
	bool by_merged = word == merged;
	uint64_t found = 0;

	if (!by_own && !by_merged)
		found = divergence_classes(&workspace->input, own, merged, word);
	else if (!by_own)
		found = merge_classes(workspace->input.facts, own, word);
	found |= judge_flush(verdict->needed[index] & FLUSHED, merged_needs, by_own, by_merged,
			     verdict->covered[index] & FLUSHED);
	return found | told_needlessly(verdict, index);
}

/* Class bits of an entry that is not present or that this call skips. */
static uint64_t judge_untouched(const struct workspace *workspace, const struct verdict *verdict,
				int64_t index)
{
	uint64_t before = workspace->input.ptes[index];
	uint64_t word = workspace->theirs.state.ptes[index];
	uint64_t found = 0;

	if (present(before))
		found = word != before ? SKIPPED_CHANGED : 0;
	else if (word != workspace->ours.state.ptes[index])
		found = none(before) ? NONE_CHANGED : SWAP_CHANGED;
	if (verdict->covered[index] & FLUSHED)
		found |= FLUSH_UNNEEDED;
	return found | told_needlessly(verdict, index);
}

/* Whether the target leaves an entry as the reference does: then its own bits explain it. */
static bool agrees(const struct workspace *workspace, const struct verdict *verdict, int64_t index)
{
	uint8_t done = verdict->covered[index];

	return (workspace->theirs.state.ptes[index] == workspace->ours.state.ptes[index]) &
	       (done == verdict->needed[index]) & !(done & TOLD);
}

/* What the reference makes of a merged entry. */
struct changed {
	int64_t at; /* the entry that was asked for; -1: none yet */
	uint64_t word;
	bool flush;
};

static struct changed change_merged(struct workspace *workspace, const struct verdict *verdict,
				    uint64_t variant, int64_t index)
{
	/* Its own bits: the reference's own run has answered. */
	if (variant == taken(&workspace->input, index))
		return (struct changed){ index, workspace->ours.state.ptes[index],
					 verdict->needed[index] & FLUSHED };

	union pte old = { variant };
	union pte new = change_present(&workspace->ours.given, old);

	return (struct changed){ index, new.word, pte_needs_flush(old, new) };
}

/* Fill `found` for the entries [batch, end): a legal batch or one entry. */
static void judge_batch(struct workspace *workspace, struct verdict *verdict, int64_t batch,
			int64_t end)
{
	const struct case_state *input = &workspace->input;
	uint64_t word = input->ptes[batch];

	/* One answer for the batch: accessed and dirtiness do not bear on it. */
	bool changed = present(word) && is_changed(&workspace->ours.given, (union pte){ word });

	if (verdict->whole)
		for (int64_t i = batch; i < end; i++) {
			verdict->first[i] = present(word) ? batch : -1;
			verdict->changed[i] = changed;
		}
	if (!changed) {
		for (int64_t i = batch; i < end; i++)
			verdict->found[i] = judge_untouched(workspace, verdict, i);
		return;
	}

	uint64_t template = merge(input, batch, end);
	/*
	 * One run of the rules for all pages of a batch that are alike: shared, exclusive.
	 * Where a case is described each entry is asked for by itself.
	 */
	bool one_by_one = verdict->whole || end - batch == 1;
	struct changed like[2] = { { .at = -1 }, { .at = -1 } };
	uint64_t page = 0;

	if (!one_by_one) {
		const struct midfolio_folio *folio = &input->folios[folio_row(input, frame(word))];

		page = (uint64_t)folio->first_page + frame(word) - folio->pfn;
	}
	for (int64_t i = batch; i < end; i++) {
		if (!verdict->whole && agrees(workspace, verdict, i))
			continue;

		uint64_t pages = (uint64_t)(i - batch);
		struct changed *known = &like[!one_by_one && input->exclusive[page + pages]];

		if (one_by_one || known->at < 0)
			*known = change_merged(workspace, verdict, advance(template, pages), i);

		uint64_t merged = advance(known->word, (uint64_t)(i - known->at));

		verdict->found[i] = judge_changed(workspace, verdict, i, merged, known->flush);
	}
}

/* The end of the legal batch that begins at `index`; an entry that is not present is alone. */
static int64_t legal_end(const struct case_state *input, int64_t index)
{
	return present(input->ptes[index]) ? batch_end(input, index) : index + 1;
}

/* Where the run begins of entries that could be in one batch with entry `index`. */
static int64_t run_start(const struct case_state *input, int64_t earliest, int64_t index)
{
	if (!present(input->ptes[index]))
		return index;

	uint64_t key = batch_key(input->ptes[index]);

	while (index > earliest) {
		uint64_t before = batch_key(input->ptes[index - 1]);

		if (!present(before) || advance(before, 1) != key)
			break;
		key = before;
		index--;
	}
	return index;
}

/* Fill `found` for the entries [first, last), which are outside the range. */
static void judge_outside(const struct workspace *workspace, struct verdict *verdict,
			  int64_t first, int64_t last)
{
	for (int64_t i = first; i < last; i++) {
		bool same = workspace->theirs.state.ptes[i] == workspace->input.ptes[i];

		verdict->found[i] = same ? 0 : OUTSIDE_CHANGED | INVARIANT_N;
		verdict->first[i] = -1;
		verdict->changed[i] = 0;
	}
}

void judge_relation(struct workspace *workspace, struct verdict *verdict)
{
	const struct case_state *input = &workspace->input;
	int64_t last = input->facts->end;
	int64_t judged = input->facts->start;
	int64_t index = judged;

	judge_outside(workspace, verdict, 0, index);
	judge_outside(workspace, verdict, last, input->facts->nr_ptes);
	while (index < last) {
		verdict->found[index] = 0;
		if (!verdict->whole && agrees(workspace, verdict, index)) {
			index++;
			continue;
		}

		int64_t batch = run_start(input, judged, index);
		int64_t end = legal_end(input, batch);

		while (end <= index) {
			batch = end;
			end = legal_end(input, batch);
		}
		for (int64_t i = index; i < end; i++)
			verdict->found[i] = 0;
		judge_batch(workspace, verdict, batch, end);
		judged = index = end;
	}
}
