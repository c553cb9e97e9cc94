/* All judges of one run, batching EXACT: harness/coverage.py, judge.py. */
#include <string.h>

#include "judge.h"
#include "read_x86_64.h"

/* Mark the entries whose page lies inside a row of the log; class bits of bad rows. */
static uint64_t find_coverage(const struct midfolio_state *state, uint8_t *covered)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t shift = facts->page_shift;
	uint64_t low = facts->table_addr + ((uint64_t)facts->start << shift);
	uint64_t high = facts->table_addr + ((uint64_t)facts->end << shift);
	int64_t rows = state->counts[MIDFOLIO_NR_FLUSHES];
	uint64_t found = 0;

	memset(covered, 0, (size_t)facts->nr_ptes);
	if (rows > state->flushes_room) {
		found |= LOG_OVERFLOW;
		rows = state->flushes_room;
	}
	for (int64_t row = 0; row < rows; row++) {
		struct midfolio_flush flush = state->flushes[row];
		bool request = flush.kind == MIDFOLIO_FLUSH;

		if (!request && flush.kind != MIDFOLIO_NMMU) {
			found |= INVALIDATION_WRONG;
			continue;
		}

		bool beside = flush.address < low || flush.address >= high;

		if (!flush.pages || beside || flush.address & (BIT(shift) - 1) ||
		    flush.pages > (high - flush.address) >> shift)
			found |= request ? FLUSH_OUTSIDE : INVALIDATION_WRONG;
		if (beside)
			continue;

		int64_t index = (int64_t)((flush.address - facts->table_addr) >> shift);
		int64_t room = facts->end - index;
		int64_t length = flush.pages < (uint64_t)room ? (int64_t)flush.pages : room;

		for (int64_t i = index; i < index + length; i++)
			covered[i] |= request ? FLUSHED : TOLD;
	}
	return found;
}

/* Whether each of `stamps` is one of `others`. */
static bool all_in(const uint64_t *stamps, int64_t nr, const uint64_t *others, int64_t nr_others)
{
	for (int64_t i = 0; i < nr; i++) {
		bool found = i > 0 && stamps[i] == stamps[i - 1];

		for (int64_t j = 0; j < nr_others && !found; j++)
			found = others[j] == stamps[i];
		if (!found)
			return false;
	}
	return true;
}

/* Class bits of the case as a whole; fills `needed` and `covered`. */
static uint64_t judge_case(struct workspace *workspace, struct verdict *verdict)
{
	const struct midfolio_state *ours = &workspace->ours.given;
	const struct midfolio_state *theirs = &workspace->theirs.given;
	uint64_t found;

	find_coverage(ours, verdict->needed);
	found = find_coverage(theirs, verdict->covered);
	if (workspace->our_pages != workspace->their_pages)
		found |= PAGES_WRONG;
	if (ours->counts[MIDFOLIO_BAD_MAP] != theirs->counts[MIDFOLIO_BAD_MAP])
		found |= BAD_MAP_WRONG;
	if (!ours->counts[MIDFOLIO_NO_VM_WRITE] != !theirs->counts[MIDFOLIO_NO_VM_WRITE])
		found |= WARN_WRONG;

	int64_t our_stamps = ours->counts[MIDFOLIO_NR_STAMPS];
	int64_t their_stamps = theirs->counts[MIDFOLIO_NR_STAMPS];

	if (their_stamps > theirs->stamps_room) {
		found |= LOG_OVERFLOW;
		their_stamps = theirs->stamps_room;
	}
	if (!all_in(ours->stamps, our_stamps, theirs->stamps, their_stamps) ||
	    !all_in(theirs->stamps, their_stamps, ours->stamps, our_stamps))
		found |= ACCESS_TIME_WRONG;
	return found;
}

/* Whether the target wrote to an input; the bits of the hardware may be consumed. */
static bool inputs_changed(const struct workspace *workspace)
{
	const struct case_state *input = &workspace->input;
	const struct case_state *theirs = &workspace->theirs.state;
	size_t folios = (size_t)input->facts->nr_folios;
	int64_t pages = 0;
	bool added = false;

	for (size_t row = 0; row < folios; row++)
		pages += input->folios[row].nr_pages;
	for (int64_t i = 0; i < input->facts->nr_ptes; i++) {
		uint64_t left = theirs->hardware[i];

		added |= (left != 0) & (left != input->hardware[i]);
	}
	return added || memcmp(input->facts, theirs->facts, sizeof(*input->facts)) ||
	       memcmp(input->folios, theirs->folios, folios * sizeof(*input->folios)) ||
	       memcmp(input->exclusive, theirs->exclusive, (size_t)((pages + 7) & ~INT64_C(7)));
}

/* Whether the target changed what stands behind its window. */
static bool is_bait_taken(const struct workspace *workspace)
{
	const struct case_state *theirs = &workspace->theirs.state;
	int64_t nr_ptes = workspace->input.facts->nr_ptes;

	return has_bait(workspace) &&
	       (theirs->ptes[nr_ptes] != bait_of(&workspace->input) ||
		theirs->ptes[nr_ptes + 1] != 0 || theirs->hardware[nr_ptes] != 0);
}

uint64_t midfolio_judge(struct workspace *workspace, struct verdict *verdict, int64_t sane)
{
	uint64_t found;

	verdict->found_case = judge_case(workspace, verdict);
	judge_relation(workspace, verdict);
	judge_invariants(workspace, verdict, sane);
	if (is_bait_taken(workspace))
		verdict->found_case |= OUTSIDE_CHANGED;
	if (inputs_changed(workspace))
		verdict->found_case |= INPUT_CHANGED;
	found = verdict->found_case;
	for (int64_t i = 0; i < workspace->input.facts->nr_ptes; i++)
		found |= verdict->found[i];
	return found;
}
