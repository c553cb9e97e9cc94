/* What kinds of cases were run: harness/census.py, in C and count by count the same. */
#include "judge.h"
#include "read_x86_64.h"

/* Kinds of entry, in the order of KINDS. */
enum {
	NONE_ENTRY,
	ANON,
	FILE_PAGE,
	ZERO_PAGE,
	SPECIAL,
	KSM,
	ZONE_DEVICE,
	PROT_NONE,
	WITHOUT_PAGE,
	SWAP,
	MIGRATION_READ,
	MIGRATION_READ_EXCLUSIVE,
	MIGRATION_WRITE,
	DEVICE_READ,
	DEVICE_WRITE,
	DEVICE_EXCLUSIVE,
	HWPOISON,
	MARKER_UFFD_WP,
	MARKER_POISON,
	MARKER_GUARD,
	UNKNOWN,
	NR_KINDS,
};

/* Traits of a case, in the order of TRAITS. */
enum {
	WILD,
	MID_FOLIO,
	MIXED,
	BATCH,
	SUB_BATCHES,
	SHIFTED,
	HARDWARE,
	FOLDED_BLOCK,
	CUT_BLOCK,
	NO_CHANGE,
	NR_TRAITS,
};

/* The tally of a campaign. */
enum {
	CLASS_CASES = 0, /* + class */
	CLASS_ENTRIES = NR_CLASSES, /* + class */
	KIND_CASES = 2 * NR_CLASSES, /* + kind */
	TRAIT_CASES = KIND_CASES + NR_KINDS, /* + trait */
	CASES = TRAIT_CASES + NR_TRAITS,
	ENTRIES,
	DESCRIBED,
	DESCRIBED_ENTRIES,
	ACTIVE,
	REQUESTS, /* + side */
	INVALIDATIONS = REQUESTS + 2, /* + side */
	TALLY_SIZE = INVALIDATIONS + 2,
};

_Static_assert(TALLY_SIZE == MIDFOLIO_TALLY_SIZE, "the size that the header says");

/* The kind of a present entry. */
static int present_kind(const struct case_state *input, uint64_t word)
{
	if (!(word & PAGE_PRESENT))
		return PROT_NONE;
	if (frame(word) == input->facts->zero_pfn)
		return ZERO_PAGE;
	if (word & PAGE_SPECIAL)
		return SPECIAL;

	int64_t row = page_row(input, word);

	if (row == NO_PAGE)
		return WITHOUT_PAGE;

	uint64_t flags = row < 0 ? 0 : input->folios[row].folio_flags;

	if (flags & MIDFOLIO_FOLIO_KSM)
		return KSM;
	if (flags & MIDFOLIO_FOLIO_ZONE_DEVICE)
		return ZONE_DEVICE;
	return flags & MIDFOLIO_FOLIO_ANON ? ANON : FILE_PAGE;
}

/* The kind of a marker. */
static int marker_kind(uint64_t payload)
{
	switch (payload) {
	case PTE_MARKER_UFFD_WP:
		return MARKER_UFFD_WP;
	case PTE_MARKER_POISONED:
		return MARKER_POISON;
	case PTE_MARKER_GUARD:
		return MARKER_GUARD;
	default:
		return UNKNOWN;
	}
}

/* The kind of a swap-like entry. */
static int swap_kind(const struct midfolio_facts *facts, uint64_t word)
{
	int64_t type = swap_type(word);

	if (type == facts->swp_marker)
		return marker_kind(swap_payload(word));
	if (type == facts->swp_migration_write)
		return MIGRATION_WRITE;
	if (type == facts->swp_migration_read)
		return MIGRATION_READ;
	if (type == facts->swp_migration_read_exclusive)
		return MIGRATION_READ_EXCLUSIVE;
	if (type == facts->swp_device_write)
		return DEVICE_WRITE;
	if (type == facts->swp_device_read)
		return DEVICE_READ;
	if (type == facts->swp_device_exclusive || type == facts->swp_device_exclusive_write)
		return DEVICE_EXCLUSIVE;
	if (type == facts->swp_hwpoison)
		return HWPOISON;
	return type < facts->swp_hwpoison ? SWAP : UNKNOWN;
}

/* The traits (bits) of one batch that is changed, [index, end). */
static int64_t batch_traits(const struct case_state *input, int64_t index, int64_t end,
			    bool upgrades)
{
	int64_t row = page_row(input, input->ptes[index]);

	if (row < 0 || input->folios[row].nr_pages <= 1)
		return 0;

	const struct midfolio_folio *folio = &input->folios[row];
	int64_t start = (int64_t)(frame(input->ptes[index]) - folio->pfn);
	const uint8_t *head = input->exclusive + folio->first_page;
	bool anon = folio->folio_flags & MIDFOLIO_FOLIO_ANON;
	bool mixed = false, shifted = false;
	int64_t traits = 0;

	for (int64_t i = 0; i < end - index; i++) {
		mixed |= head[start + i] != head[start];
		shifted |= head[start + i] != head[i];
	}
	if (start > 0)
		traits |= 1 << MID_FOLIO;
	if (end - index > 1)
		traits |= 1 << BATCH;
	if (mixed)
		traits |= 1 << MIXED;
	if (mixed && anon && upgrades)
		traits |= 1 << SUB_BATCHES;
	if (shifted && anon && upgrades)
		traits |= 1 << SHIFTED;
	return traits;
}

/* The traits (bits) that the legal batches of the case have. */
static int64_t count_batches(const struct case_state *input, const struct verdict *verdict)
{
	const struct midfolio_facts *facts = input->facts;
	bool upgrades = facts->cp_flags & MIDFOLIO_CP_TRY_CHANGE_WRITABLE &&
			!(facts->vma_flags & MIDFOLIO_VM_SHARED);
	int64_t traits = 0;

	for (int64_t index = facts->start, end; index < facts->end; index = end) {
		int64_t first = verdict->first[index];

		end = index + 1;
		if (first < 0 || !verdict->changed[index])
			continue;
		while (end < facts->end && verdict->first[end] == first)
			end++;
		traits |= batch_traits(input, index, end, upgrades);
	}
	return traits;
}

/* Add the log of a run, side 0 or 1, to the tally. */
static void count_log(const struct midfolio_state *state, int64_t *tally, int side)
{
	int64_t rows = state->counts[MIDFOLIO_NR_FLUSHES];

	if (rows > state->flushes_room)
		rows = state->flushes_room;
	for (int64_t row = 0; row < rows; row++)
		tally[(state->flushes[row].kind == MIDFOLIO_FLUSH ? REQUESTS : INVALIDATIONS) +
		      side]++;
}

/* Add `times` at `place` + n for each bit n of `found`. */
static void count_bits(uint64_t found, int64_t *tally, int64_t place, int64_t times)
{
	for (; found; found >>= 1, place++)
		tally[place] += (int64_t)(found & 1) * times;
}

void midfolio_describe_case(const struct workspace *workspace, const struct verdict *verdict,
			    int64_t *tally, int64_t wild)
{
	const struct case_state *input = &workspace->input;
	const struct midfolio_facts *facts = input->facts;
	const uint64_t *ours = workspace->ours.state.ptes;
	int64_t traits = count_batches(input, verdict);
	int64_t kinds = 0, active = 0;
	bool any_change = false;

	for (int64_t i = facts->start; i < facts->end; i++) {
		uint64_t word = input->ptes[i];
		bool changed = ours[i] != word;

		if (present(word))
			kinds |= INT64_C(1) << present_kind(input, word);
		else if (none(word))
			kinds |= INT64_C(1) << NONE_ENTRY;
		else
			kinds |= INT64_C(1) << swap_kind(facts, word);
		if (input->hardware[i])
			traits |= 1 << HARDWARE;
		any_change |= changed;
		active += changed || verdict->needed[i];
	}
	if (wild)
		traits |= 1 << WILD;
	if (!any_change)
		traits |= 1 << NO_CHANGE;
	for (int kind = 0; kind < NR_KINDS; kind++)
		tally[KIND_CASES + kind] += kinds >> kind & 1;
	for (int trait = 0; trait < NR_TRAITS; trait++)
		tally[TRAIT_CASES + trait] += traits >> trait & 1;
	count_log(&workspace->ours.given, tally, 0);
	count_log(&workspace->theirs.given, tally, 1);
	tally[DESCRIBED]++;
	tally[DESCRIBED_ENTRIES] += facts->end - facts->start;
	tally[ACTIVE] += active;
}

void midfolio_count_case(const struct workspace *workspace, const struct verdict *verdict,
			 uint64_t all, int64_t *tally)
{
	const struct midfolio_facts *facts = workspace->input.facts;
	int64_t start = 0;

	tally[CASES]++;
	tally[ENTRIES] += facts->end - facts->start;
	if (!all)
		return;
	count_bits(all, tally, CLASS_CASES, 1);
	/* Neighbours mostly are of the same classes, and are counted together. */
	for (int64_t i = 1; i <= facts->nr_ptes; i++)
		if (i == facts->nr_ptes || verdict->found[i] != verdict->found[start]) {
			count_bits(verdict->found[start], tally, CLASS_ENTRIES, i - start);
			start = i;
		}
}
