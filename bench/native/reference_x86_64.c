/*
 * change_pte_range() of x86_64, one PTE at a time, as reference/ has it: plain C,
 * one function per rule, an entry as a record of named fields. Our own code.
 * What becomes of a present entry is in reference_rules_x86_64.h.
 * Fuzz it with --batching none.
 */
#include "reference_rules_x86_64.h"

MIDFOLIO_TARGET("x86_64")

/* A swap-like entry; the offset is stored inverted. */
union swap {
	uint64_t word;
	struct {
		uint64_t not_present : 1, soft_dirty : 1, uffd : 1, exclusive : 1, rest : 5;
		uint64_t inverted_offset : 50;
		uint64_t type : 5;
	};
};

static union swap swp_entry(int64_t type, uint64_t inverted_offset)
{
	union swap swap = { 0 };

	swap.type = type;
	swap.inverted_offset = inverted_offset;
	return swap;
}

static bool is_of(union swap swap, int64_t type)
{
	/* A kind that this kernel lacks has the type -1. */
	return (int64_t)swap.type == type;
}

static union swap without_write(const struct midfolio_state *state, union swap old)
{
	const struct midfolio_facts *facts = state->facts;
	const uint64_t soft_dirty = facts->soft_dirty && old.soft_dirty;
	const uint64_t uffd = facts->uffd_wp && old.uffd;
	union swap new = old;

	if (is_of(old, facts->swp_migration_write)) {
		/* The lower 34 bits of the offset are the PFN. */
		uint64_t pfn = ~(uint64_t)old.inverted_offset & ((UINT64_C(1) << 34) - 1);

		if (page_at(state, pfn).flags & MIDFOLIO_FOLIO_ANON)
			new = swp_entry(facts->swp_migration_read_exclusive, old.inverted_offset);
		else
			new = swp_entry(facts->swp_migration_read, old.inverted_offset);
		new.soft_dirty = soft_dirty;
	} else if (is_of(old, facts->swp_device_write)) {
		new = swp_entry(facts->swp_device_read, old.inverted_offset);
		new.uffd = uffd;
	} else if (is_of(old, facts->swp_device_exclusive_write)) {
		new = swp_entry(facts->swp_device_exclusive, old.inverted_offset);
		new.soft_dirty = soft_dirty;
		new.uffd = uffd;
	}
	return new;
}

static int64_t change_none(struct midfolio_state *state, int64_t index)
{
	const struct midfolio_facts *facts = state->facts;

	if (!asks_for(facts, MIDFOLIO_CP_UFFD_WP) || !(facts->vma_flags & MIDFOLIO_VM_UFFD_WP))
		return 0;
	if (facts->vma_anon && !facts->uffd_wp_unpopulated)
		return 0;
	midfolio_store(state, index, swp_entry(facts->swp_marker, ~UINT64_C(1)).word);
	return 1;
}

static int64_t change_softleaf(struct midfolio_state *state, int64_t index, union swap old)
{
	const struct midfolio_facts *facts = state->facts;
	union swap new;

	if (is_of(old, facts->swp_marker)) {
		uint64_t marker = ~(uint64_t)old.inverted_offset;
		bool poisoned = marker & 2;
		bool guard = facts->guard_marker && marker & 4;

		if (poisoned || guard || !clears_uffd(facts))
			return 0;
		midfolio_store(state, index, 0);
		return 1;
	}
	new = without_write(state, old);
	if (facts->uffd_wp && sets_uffd(facts))
		new.uffd = 1;
	else if (facts->uffd_wp && clears_uffd(facts))
		new.uffd = 0;
	if (new.word == old.word)
		return 0;
	midfolio_store(state, index, new.word);
	return 1;
}

int64_t midfolio_change_pte_range(struct midfolio_state *state)
{
	const struct midfolio_facts *facts = state->facts;
	int64_t pages = 0;

	for (int64_t index = facts->start; index < facts->end; index++) {
		union pte old = { midfolio_load(state, index) };
		union pte new;

		if (!pte_present(old)) {
			if (pte_none(old))
				pages += change_none(state, index);
			else
				pages += change_softleaf(state, index, (union swap){ old.word });
			continue;
		}
		if (!is_changed(state, old))
			continue;
		/* What the hardware set since the load is in the taken word. */
		old.word = midfolio_take(state, index);
		new = change_present(state, old);
		midfolio_store(state, index, new.word);
		if (pte_needs_flush(old, new))
			midfolio_flush(state,
				       facts->table_addr + ((uint64_t)index << facts->page_shift), 1);
		pages++;
	}
	return pages;
}
