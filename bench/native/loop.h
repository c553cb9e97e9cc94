/* What the parts of the whole loop share: the state of a case, which its generator may write. */
#ifndef LOOP_H
#define LOOP_H

#include "midfolio_target.h"

/* struct midfolio_state, whose inputs are const to a target, as its generator sees it. */
struct case_state {
	struct midfolio_facts *facts;
	uint64_t *ptes;
	uint64_t *hardware;
	struct midfolio_folio *folios;
	uint8_t *exclusive;
	struct midfolio_flush *flushes;
	uint64_t *stamps;
	int64_t *counts;
	/* Room, in elements. */
	int64_t ptes_room;
	int64_t folios_room;
	int64_t exclusive_room;
	int64_t flushes_room;
	int64_t stamps_room;
};

_Static_assert(sizeof(struct case_state) == sizeof(struct midfolio_state), "the same fields");

/*
 * Fill `state` with random case `index` of `seed`; 1 if it was made wild, else 0.
 *
 * `choices` has room for FIRST words (choices.h); its WINDOW is respected. The version and
 * configuration in state->facts are respected, too; all other inputs are written, and the
 * logs emptied. The room for pages ends in at least 8 that no folio gets.
 */
int64_t midfolio_generate(uint64_t *choices, struct case_state *state, uint64_t seed,
			  uint64_t index);

/* The function that a target exports. */
typedef int64_t midfolio_side(struct midfolio_state *state);

/* A run of a case: what a side is given, and the same for whoever fills it. */
union run {
	struct case_state state;
	struct midfolio_state given;
};

/*
 * One case and two runs of it: harness/workspace.py, as far as it is here.
 *
 * `ours` shares the facts, folios and exclusive bits of `input`; `theirs` has copies.
 */
struct workspace {
	struct case_state input;
	union run ours;
	union run theirs;
	int64_t our_pages;
	int64_t their_pages;
};

/*
 * What stands behind the target's window (lay_bait of harness/workspace.py): what continues the
 * last entry, and nothing, but where the window fills the table.
 */
static inline int has_bait(const struct workspace *workspace)
{
	return workspace->input.facts->nr_ptes + 2 <= workspace->theirs.state.ptes_room;
}

static inline uint64_t bait_of(const struct case_state *input)
{
	return input->ptes[input->facts->nr_ptes - 1] + (UINT64_C(1) << input->facts->page_shift);
}

/* The phases of a case, in order: PHASES of bench/loops.py. */
enum phase {
	GENERATE_PHASE,
	COPY_PHASE,
	REFERENCE_PHASE,
	TARGET_PHASE,
	JUDGE_PHASE,
	COUNT_PHASE,
};

/*
 * Run the cases [first, last) of `seed` up to `phase`, TARGET_PHASE at the most; how many are wild.
 * The last case stays in `workspace`.
 */
int64_t midfolio_staged(midfolio_side *reference, midfolio_side *target,
			struct workspace *workspace, uint64_t *choices, uint64_t seed,
			uint64_t first, uint64_t last, int64_t phase);

#endif
