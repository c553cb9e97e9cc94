/* The loops over cases, bench/loops.py and fuzz/campaign.py, and the copies that they make. */
#include <string.h>

#include "judge.h"

/*
 * Copy the case for both runs and empty their logs: copy_case of harness/workspace.py.
 *
 * The reference shares the inputs that it only reads; the target gets copies of all.
 */
static void copy_case(struct workspace *workspace)
{
	const struct case_state *input = &workspace->input;
	struct case_state *ours = &workspace->ours.state;
	struct case_state *theirs = &workspace->theirs.state;
	size_t table = (size_t)input->facts->nr_ptes * sizeof(*input->ptes);
	size_t folios = (size_t)input->facts->nr_folios;
	int64_t pages = 0;

	*theirs->facts = *input->facts;
	memcpy(ours->ptes, input->ptes, table);
	memcpy(theirs->ptes, input->ptes, table);
	memcpy(ours->hardware, input->hardware, table);
	memcpy(theirs->hardware, input->hardware, table);
	for (size_t row = 0; row < folios; row++)
		pages += input->folios[row].nr_pages;
	memcpy(theirs->folios, input->folios, folios * sizeof(*input->folios));
	/* In whole words, as there. */
	memcpy(theirs->exclusive, input->exclusive, (size_t)((pages + 7) & ~INT64_C(7)));
	memset(ours->counts, 0, MIDFOLIO_NR_COUNTS * sizeof(*ours->counts));
	memset(theirs->counts, 0, MIDFOLIO_NR_COUNTS * sizeof(*theirs->counts));
	if (has_bait(workspace)) {
		theirs->ptes[input->facts->nr_ptes] = bait_of(input);
		theirs->ptes[input->facts->nr_ptes + 1] = 0;
		theirs->hardware[input->facts->nr_ptes] = 0;
	}
}

int64_t midfolio_staged(midfolio_side *reference, midfolio_side *target,
			struct workspace *workspace, uint64_t *choices, uint64_t seed,
			uint64_t first, uint64_t last, int64_t phase)
{
	int64_t wild = 0;

	for (uint64_t index = first; index < last; index++) {
		wild += midfolio_generate(choices, &workspace->input, seed, index);
		if (phase < COPY_PHASE)
			continue;
		copy_case(workspace);
		if (phase < REFERENCE_PHASE)
			continue;
		workspace->our_pages = reference(&workspace->ours.given);
		if (phase < TARGET_PHASE)
			continue;
		workspace->their_pages = target(&workspace->theirs.given);
	}
	return wild;
}

int64_t midfolio_loop(midfolio_side *reference, midfolio_side *target,
		      struct workspace *workspace, struct verdict *verdict, uint64_t *choices,
		      uint64_t seed, uint64_t first, uint64_t last, int64_t phase,
		      int64_t *tally)
{
	int64_t diverging = 0;

	for (uint64_t index = first; index < last; index++) {
		int64_t wild = midfolio_staged(reference, target, workspace, choices, seed, index,
					       index + 1, TARGET_PHASE);

		verdict->whole = phase >= COUNT_PHASE && index % DESCRIBE_EVERY == 0;

		uint64_t all = midfolio_judge(workspace, verdict, !wild);

		diverging += (all & RED) != 0;
		if (phase < COUNT_PHASE)
			continue;
		midfolio_count_case(workspace, verdict, all, tally);
		if (verdict->whole)
			midfolio_describe_case(workspace, verdict, tally, wild);
	}
	return diverging;
}
