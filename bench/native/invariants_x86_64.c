/* An outcome judged alone, without any reference: harness/invariants.py. */
#include "judge.h"
#include "read_x86_64.h"

/* What a stale TLB entry would still grant or do differently. */
#define ATTRIBUTES (CACHE_MODE | PAGE_GLOBAL | PAGE_PKEY_MASK)
#define RIGHTS (PAGE_RW | PAGE_USER)

/* Whether a TLB entry made from `old` grants or does something that `new` does not. */
static bool revoked(uint64_t old, uint64_t new)
{
	uint64_t rights = old & PAGE_RW ? RIGHTS | PAGE_DIRTY : RIGHTS;
	uint64_t stale = (~new & PAGE_PRESENT) | ((old ^ new) & (PTE_PFN_MASK | ATTRIBUTES));

	return stale | (old & ~new & rights) | (new & ~old & PAGE_NX);
}

/* A present word that these kernels never make: dirty bits or RW where they cannot be. */
static bool impossible(uint64_t word)
{
	uint64_t bits = word & PAGE_RW ? PAGE_SAVED_DIRTY | PAGE_PRESENT : PAGE_DIRTY;

	return (word ^ PAGE_PRESENT) & bits;
}

/* As folio_row(), nr_folios if there is none, tried first at `near` and behind it. */
static uint64_t row_near(const struct case_state *input, uint64_t pfn, uint64_t near)
{
	uint64_t nr_folios = (uint64_t)input->facts->nr_folios;

	for (uint64_t row = near; row < near + 2 && row < nr_folios; row++)
		if (holds(input, row, pfn))
			return row;

	int64_t row = folio_row(input, pfn);

	return row >= 0 ? (uint64_t)row : nr_folios;
}

/* W, V, U and X of a present entry after the call; sane cases only. */
static uint64_t judge_permissions(const struct case_state *input, uint64_t word)
{
	uint64_t flags = input->facts->vma_flags;
	uint64_t found = impossible(word) ? INVARIANT_X : 0;

	if (word & PAGE_RW) {
		found |= flags & MIDFOLIO_VM_WRITE ? 0 : INVARIANT_V;
		found |= word & PAGE_UFFD ? INVARIANT_U : 0;
		if (!(flags & MIDFOLIO_VM_SHARED) && !page_is_exclusive(input, word))
			found |= INVARIANT_W;
	}
	return found;
}

/* D, S, F, T and the permissions of an entry that was present. */
static uint64_t judge_present(const struct case_state *input, uint64_t old, uint64_t new,
			      bool covered, bool sane)
{
	uint64_t found = 0;

	if ((is_dirty(old) && !is_dirty(new)) || old & ~new & PAGE_ACCESSED)
		found |= INVARIANT_D;
	if (input->facts->soft_dirty && old & ~new & PAGE_SOFT_DIRTY)
		found |= INVARIANT_S;
	if (sane && !present(new))
		found |= INVARIANT_F;

	uint64_t old_pfn = frame(old);
	bool corner = !old_pfn || old_pfn > input->facts->highest_memmap_pfn;

	if ((sane || !corner) && frame(new) != old_pfn)
		found |= INVARIANT_F;
	if (!covered && old & PAGE_PRESENT && revoked(old, new))
		found |= INVARIANT_T;
	if (sane && present(new))
		found |= judge_permissions(input, new);
	return found;
}

/* S, F, X of an entry that was swap-like. */
static uint64_t judge_swap(const struct midfolio_facts *facts, uint64_t old, uint64_t new,
			   bool sane)
{
	int64_t type = swap_type(old);
	int64_t after = swap_type(new);
	uint64_t found = 0;

	if (type == facts->swp_marker && none(new))
		return 0;

	bool downgraded = type == facts->swp_device_write && after == facts->swp_device_read;

	if (facts->soft_dirty && old & ~new & SWP_SOFT_DIRTY && !downgraded)
		found |= INVARIANT_S;
	if ((old ^ new) & SWP_OFFSET_MASK << SWP_OFFSET_SHIFT)
		found |= INVARIANT_F;
	if (sane) {
		if (present(new))
			return found | INVARIANT_F;
		if (after == facts->swp_migration_write || after == facts->swp_device_write)
			found |= INVARIANT_X;
	}
	return found;
}

/* F of an entry that was none: it stays, or is the uffd-wp marker. */
static uint64_t judge_none(const struct midfolio_facts *facts, uint64_t old, uint64_t new,
			   bool sane)
{
	if (new == old || !sane)
		return 0;

	bool marker = !present(new) && swap_type(new) == facts->swp_marker &&
		      swap_payload(new) == PTE_MARKER_UFFD_WP;

	return marker ? 0 : INVARIANT_F;
}

/* Whether `new` cannot break any invariant, but perhaps W: each test at its strictest. */
static bool is_quiet(uint64_t vma_flags, uint64_t old, uint64_t new, bool covered)
{
	bool loud = is_dirty(old) > is_dirty(new);

	loud |= !!(old & ~new & (PAGE_ACCESSED | PAGE_SOFT_DIRTY));
	loud |= (frame(old) != frame(new)) | !present(new);
	loud |= !covered & !!(old & PAGE_PRESENT) & revoked(old, new);
	loud |= (new & PAGE_RW) && (!(vma_flags & MIDFOLIO_VM_WRITE) || new & PAGE_UFFD);
	return !(loud | impossible(new));
}

void judge_invariants(const struct workspace *workspace, struct verdict *verdict, bool sane)
{
	const struct case_state *input = &workspace->input;
	const struct midfolio_facts *facts = input->facts;
	bool asks_for_page = sane && !(facts->vma_flags & MIDFOLIO_VM_SHARED);
	uint64_t near = 0;

	if (verdict->found_case & FLUSH_OUTSIDE)
		verdict->found_case |= INVARIANT_N;
	for (int64_t i = facts->start; i < facts->end; i++) {
		uint64_t old = input->ptes[i];
		uint64_t new = workspace->theirs.state.ptes[i];

		if (!present(old)) {
			verdict->found[i] |= none(old) ? judge_none(facts, old, new, sane) :
							 judge_swap(facts, old, new, sane);
			continue;
		}
		/* What the hardware set before an entry was taken must not be lost either. */
		if (new != old)
			old ^= input->hardware[i];

		bool covered = verdict->covered[i] & FLUSHED;
		bool quiet = is_quiet(facts->vma_flags, old, new, covered);

		if (quiet && asks_for_page && new & PAGE_RW) {
			near = row_near(input, frame(new), near);
			quiet = exclusive_in(input, new, near);
		}
		if (!quiet)
			verdict->found[i] |= judge_present(input, old, new, covered, sane);
	}
}
