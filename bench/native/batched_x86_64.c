/*
 * change_pte_range() of x86_64 by the batch, as batched/ has it: a C target of
 * midfolio. Our own code, written from the rules; the functions have the names of
 * the kernel's where they answer the same question.
 */
#include <stdbool.h>
#include <stddef.h>

#include "midfolio_target.h"

MIDFOLIO_TARGET("x86_64")

#define BIT(n) (UINT64_C(1) << (n))

#define PRESENT BIT(0)
#define RW BIT(1)
#define USER BIT(2)
#define PWT BIT(3)
#define PCD BIT(4)
#define ACCESSED BIT(5)
#define DIRTY BIT(6)
#define PAT BIT(7)
#define GLOBAL BIT(8) /* without PRESENT it is _PAGE_PROTNONE */
#define SPECIAL BIT(9)
#define UFFD BIT(10)
#define SOFT_DIRTY BIT(11)
#define DEVMAP BIT(57)
#define SAVED_DIRTY BIT(58)
#define PKEY_MASK UINT64_C(0x7800000000000000)
#define NX BIT(63)
#define PFN_MASK UINT64_C(0x000ffffffffff000)
#define PFN_SHIFT 12
#define PAGE_NONE (ACCESSED | GLOBAL)

#define DIRTY_BITS (DIRTY | SAVED_DIRTY)
#define KEPT (PFN_MASK | PWT | PCD | PAT | SPECIAL | ACCESSED | DIRTY_BITS)
#define FLUSH_ON_CLEAR (PRESENT | DIRTY)
#define FLUSH_ON_CHANGE (RW | USER | PWT | PCD | PAT | GLOBAL | PKEY_MASK | NX)
#define SAVED_DIRTY_SHIFT (58 - 6)

#define SWP_SOFT_DIRTY BIT(1)
#define SWP_UFFD BIT(2)
#define SWP_TYPE_SHIFT 59
#define SWP_OFFSET_SHIFT 9
#define SWP_OFFSET_MASK (BIT(50) - 1)
#define SWP_PFN_MASK (BIT(34) - 1)

#define MARKER_UFFD_WP BIT(0)
#define MARKER_POISONED BIT(1)
#define MARKER_GUARD BIT(2)

#define UFFD_SET (MIDFOLIO_CP_UFFD_WP | MIDFOLIO_CP_UFFD_RWP)
#define UFFD_CLEAR (MIDFOLIO_CP_UFFD_WP_RESOLVE | MIDFOLIO_CP_UFFD_RWP_RESOLVE)

/* The PFNs [start, end) that one lookup answers for: a folio, or a gap (NULL). */
struct folio {
	uint64_t start;
	uint64_t end;
	int64_t following; /* the row of the folio behind */
	const struct midfolio_folio *record;
};

/* What one call asks for; a bit that version or configuration lack is zero. */
struct call {
	uint64_t cp_flags;
	uint64_t vma_flags;
	uint64_t soft_dirty;
	uint64_t uffd;
	uint64_t devmap;
	uint64_t kept; /* _PAGE_CHG_MASK */
	uint64_t newprot;
	uint64_t page_none;
	bool has_protnone;
	uint64_t swp_soft_dirty;
	uint64_t swp_uffd;
	/* What batches of entries to be changed may differ in. */
	uint64_t ignored;
};

static struct call call_of(const struct midfolio_facts *facts)
{
	struct call call = {
		.cp_flags = facts->cp_flags,
		.vma_flags = facts->vma_flags,
		.soft_dirty = facts->soft_dirty ? SOFT_DIRTY : 0,
		.uffd = facts->uffd_wp ? UFFD : 0,
		.devmap = facts->devmap ? DEVMAP : 0,
		.has_protnone = facts->numa_balancing || facts->uffd_rwp,
		.swp_soft_dirty = facts->soft_dirty ? SWP_SOFT_DIRTY : 0,
		.swp_uffd = facts->uffd_wp ? SWP_UFFD : 0,
		.ignored = ACCESSED | DIRTY_BITS,
	};

	if (!facts->uffd_rwp) {
		call.cp_flags &= ~(MIDFOLIO_CP_UFFD_RWP | MIDFOLIO_CP_UFFD_RWP_RESOLVE);
		call.vma_flags &= ~MIDFOLIO_VM_UFFD_RWP;
	}
	/* The flag set means that tracking is not armed. */
	if (!facts->soft_dirty)
		call.vma_flags |= MIDFOLIO_VM_SOFTDIRTY;
	call.kept = KEPT | call.soft_dirty | call.uffd | call.devmap;
	call.newprot = facts->newprot & ~call.kept;
	call.page_none = PAGE_NONE & ~call.kept;
	return call;
}

static bool pte_present(uint64_t pte)
{
	return pte & (PRESENT | GLOBAL);
}

static bool pte_none(uint64_t pte)
{
	/* Knights Landing may leave accessed and dirty in a cleared entry. */
	return !(pte & ~(ACCESSED | DIRTY));
}

static bool pte_protnone(const struct call *call, uint64_t pte)
{
	return call->has_protnone && (pte & (PRESENT | GLOBAL)) == GLOBAL;
}

/* The PFN of what is not present is stored inverted, against L1TF. */
static bool needs_invert(uint64_t pte)
{
	return pte && !(pte & PRESENT);
}

static uint64_t pte_pfn(uint64_t pte)
{
	return ((needs_invert(pte) ? ~pte : pte) & PFN_MASK) >> PFN_SHIFT;
}

static uint64_t pfn_step(uint64_t pte)
{
	return needs_invert(pte) ? -BIT(PFN_SHIFT) : BIT(PFN_SHIFT);
}

static uint64_t save_dirty(uint64_t pte)
{
	if (pte & RW)
		return pte;
	return (pte & ~DIRTY) | (pte & DIRTY) << SAVED_DIRTY_SHIFT;
}

static uint64_t unsave_dirty(uint64_t pte)
{
	if (!(pte & RW))
		return pte;
	return (pte & ~SAVED_DIRTY) | (pte & SAVED_DIRTY) >> SAVED_DIRTY_SHIFT;
}

static uint64_t pte_modify(const struct call *call, uint64_t pte, uint64_t taken)
{
	uint64_t new = (pte & call->kept) | taken;

	if (needs_invert(pte) != needs_invert(new))
		new ^= PFN_MASK;
	return pte & RW ? save_dirty(new) : unsave_dirty(new);
}

static bool pte_needs_flush(uint64_t old, uint64_t new)
{
	if (!(old & PRESENT))
		return false;
	if ((old ^ new) & ((old & FLUSH_ON_CLEAR) | FLUSH_ON_CHANGE))
		return true;
	return pte_pfn(old) != pte_pfn(new);
}

static struct folio folio_at(const struct midfolio_state *state, int64_t row)
{
	const struct midfolio_folio *record = &state->folios[row];

	return (struct folio){ record->pfn, record->pfn + record->nr_pages, row + 1, record };
}

static struct folio search(const struct midfolio_state *state, uint64_t pfn)
{
	int64_t nr_folios = state->facts->nr_folios;
	int64_t low = 0;
	struct folio found;

	if (!nr_folios)
		return (struct folio){ 0, UINT64_MAX, 0, NULL };
	for (int64_t length = nr_folios; length > 1;) {
		int64_t half = length >> 1;

		low = state->folios[low + half].pfn <= pfn ? low + half : low;
		length -= half;
	}
	found = folio_at(state, low);
	if (pfn < found.start)
		return (struct folio){ 0, found.start, 0, NULL };
	if (pfn < found.end)
		return found;
	return (struct folio){
		found.end,
		low + 1 < nr_folios ? state->folios[low + 1].pfn : UINT64_MAX,
		low + 1,
		NULL,
	};
}

/* Neighbours in the table mostly are neighbours in memory: try `last` first. */
static struct folio page_folio(const struct midfolio_state *state, uint64_t pfn, struct folio last)
{
	if (last.start <= pfn && pfn < last.end)
		return last;
	if (last.following < state->facts->nr_folios) {
		struct folio following = folio_at(state, last.following);

		if (following.start <= pfn && pfn < following.end)
			return following;
	}
	return search(state, pfn);
}

static uint64_t folio_flags(const struct folio *folio)
{
	return folio->record ? folio->record->folio_flags : 0;
}

static bool vm_normal_page(struct midfolio_state *state, const struct call *call, uint64_t pte)
{
	const struct midfolio_facts *facts = state->facts;

	if (pte & SPECIAL) {
		if (call->vma_flags & (MIDFOLIO_VM_PFNMAP | MIDFOLIO_VM_MIXEDMAP))
			return false;
		if (pte_pfn(pte) == facts->zero_pfn || pte & call->devmap)
			return false;
		midfolio_bad_map(state);
		return false;
	}
	if (pte_pfn(pte) > facts->highest_memmap_pfn) {
		midfolio_bad_map(state);
		return false;
	}
	return true;
}

static bool folio_can_map_prot_numa(struct midfolio_state *state, const struct call *call,
				    const struct folio *folio)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t flags = folio_flags(folio);
	int64_t nid = folio->record ? folio->record->nid : 0;
	uint64_t mode = facts->numa_balancing ? facts->numa_balancing_mode : 0;
	bool cow = (call->vma_flags & (MIDFOLIO_VM_SHARED | MIDFOLIO_VM_MAYWRITE)) ==
		   MIDFOLIO_VM_MAYWRITE;

	if (!facts->numa_balancing && facts->pinned_in_any_vma)
		return false;
	if (flags & (MIDFOLIO_FOLIO_ZONE_DEVICE | MIDFOLIO_FOLIO_KSM))
		return false;
	if (cow && flags & MIDFOLIO_FOLIO_MAPPED_SHARED)
		return false;
	if ((cow || facts->pinned_in_any_vma) && flags & MIDFOLIO_FOLIO_PINNED)
		return false;
	if (flags & MIDFOLIO_FOLIO_FILE_LRU && flags & MIDFOLIO_FOLIO_DIRTY)
		return false;
	if (!(call->vma_flags & MIDFOLIO_VM_SHARED) && facts->mm_users == 1 &&
	    nid == facts->numa_node)
		return false;
	if (!(mode & MIDFOLIO_NUMA_BALANCING_NORMAL) && facts->toptier_nodes >> nid & 1)
		return false;
	if (facts->numa_balancing && flags & MIDFOLIO_FOLIO_ACCESS_TIME)
		midfolio_access_time(state, folio->start);
	return true;
}

static bool may_be_joined(const struct midfolio_state *state, int64_t index, uint64_t pte,
			  int64_t max_nr, uint64_t ignored)
{
	if (max_nr == 1)
		return false;
	return (midfolio_load(state, index + 1) & ~ignored) == (pte & ~ignored) + pfn_step(pte);
}

static int64_t folio_pte_batch(const struct midfolio_state *state, int64_t index, uint64_t pte,
			       const struct folio *folio, int64_t max_nr, uint64_t ignored)
{
	uint64_t step = pfn_step(pte);
	uint64_t expected = (pte & ~ignored) + step;
	uint64_t folio_left;
	int64_t nr = 1;

	if (!folio->record || folio->end - folio->start == 1)
		return 1;
	/* By PFN, not by the folio's size: a batch may start in its middle. */
	folio_left = folio->end - pte_pfn(pte);
	if (folio_left < (uint64_t)max_nr)
		max_nr = folio_left;
	for (; nr < max_nr; nr++, expected += step)
		if ((midfolio_load(state, index + nr) & ~ignored) != expected)
			break;
	return nr;
}

static bool maybe_change_pte_writable(struct midfolio_state *state, const struct call *call,
				      uint64_t pte)
{
	if (!(call->vma_flags & MIDFOLIO_VM_WRITE)) {
		midfolio_warn_no_vm_write(state);
		return false;
	}
	if (pte_protnone(call, pte))
		return false;
	if (!(call->vma_flags & MIDFOLIO_VM_SOFTDIRTY) && !(pte & call->soft_dirty))
		return false;
	return !(call->vma_flags & MIDFOLIO_VM_UFFD_WP && pte & call->uffd);
}

/* Write `nr` entries from `idx` behind `index` on; `old` and `new` are those of `index`. */
static void prot_commit_flush_ptes(struct midfolio_state *state, int64_t index, int64_t idx,
				   int64_t nr, bool set_write, uint64_t old, uint64_t new)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t step, word;

	old += idx * pfn_step(old);
	new += idx * pfn_step(new);
	if (set_write)
		new = unsave_dirty(new | RW);
	step = pfn_step(new);
	word = new;
	for (int64_t at = index + idx; at < index + idx + nr; at++, word += step)
		midfolio_store(state, at, word);
	if (pte_needs_flush(old, new))
		midfolio_flush(state,
			       facts->table_addr + ((uint64_t)(index + idx) << facts->page_shift),
			       nr);
}

static void commit_anon_folio_batch(struct midfolio_state *state, int64_t index, int64_t nr,
				    const uint8_t *exclusive, uint64_t old, uint64_t new)
{
	for (int64_t idx = 0, length; idx < nr; idx += length) {
		for (length = 1; idx + length < nr; length++)
			if (exclusive[idx + length] != exclusive[idx])
				break;
		prot_commit_flush_ptes(state, index, idx, length, exclusive[idx] == 1, old, new);
	}
}

static void change_present_ptes(struct midfolio_state *state, const struct call *call,
				int64_t index, int64_t nr, bool mapped, const struct folio *folio,
				uint64_t pfn)
{
	uint64_t old = midfolio_take(state, index);
	uint64_t others = 0;
	uint64_t new;
	bool upgrade;

	for (int64_t at = index + 1; at < index + nr; at++)
		others |= midfolio_take(state, at);
	if (others & DIRTY_BITS)
		old = save_dirty(old | DIRTY | call->soft_dirty);
	old |= others & ACCESSED;

	new = pte_modify(call, old, call->newprot);
	if (call->cp_flags & UFFD_SET) {
		if (call->uffd)
			new = save_dirty((new | UFFD) & ~RW);
	} else if (call->cp_flags & UFFD_CLEAR) {
		new &= ~call->uffd;
	}
	if (call->vma_flags & MIDFOLIO_VM_UFFD_RWP && new & call->uffd)
		new = pte_modify(call, new, call->page_none);

	if (!(call->cp_flags & MIDFOLIO_CP_TRY_CHANGE_WRITABLE) || new & RW) {
		prot_commit_flush_ptes(state, index, 0, nr, false, old, new);
		return;
	}
	upgrade = maybe_change_pte_writable(state, call, new);
	if (call->vma_flags & MIDFOLIO_VM_SHARED) {
		/* A dirty entry has told the file system of the write already. */
		prot_commit_flush_ptes(state, index, 0, nr, upgrade && new & DIRTY_BITS, old, new);
	} else if (upgrade && mapped && folio_flags(folio) & MIDFOLIO_FOLIO_ANON) {
		/* The page of the first entry, not the folio's page 0: cf1b80dc31a1, v6.17. */
		const uint8_t *exclusive =
			state->exclusive + folio->record->first_page + (pfn - folio->start);

		commit_anon_folio_batch(state, index, nr, exclusive, old, new);
	} else {
		prot_commit_flush_ptes(state, index, 0, nr, false, old, new);
	}
}

static uint64_t swp_entry(int64_t type, uint64_t offset)
{
	return (uint64_t)type << SWP_TYPE_SHIFT | (~offset & SWP_OFFSET_MASK) << SWP_OFFSET_SHIFT;
}

static uint64_t swp_offset(uint64_t pte)
{
	return ~pte >> SWP_OFFSET_SHIFT & SWP_OFFSET_MASK;
}

static int64_t change_none_pte(struct midfolio_state *state, const struct call *call, int64_t index)
{
	const struct midfolio_facts *facts = state->facts;

	if (!(call->cp_flags & MIDFOLIO_CP_UFFD_WP) || !(call->vma_flags & MIDFOLIO_VM_UFFD_WP))
		return 0;
	if (facts->vma_anon && !facts->uffd_wp_unpopulated)
		return 0;
	midfolio_store(state, index, swp_entry(facts->swp_marker, MARKER_UFFD_WP));
	return 1;
}

/* A migration or device entry without its write permission. */
static uint64_t make_readable(const struct midfolio_state *state, const struct call *call,
			      uint64_t old)
{
	const struct midfolio_facts *facts = state->facts;
	int64_t type = old >> SWP_TYPE_SHIFT;
	uint64_t offset = swp_offset(old);

	if (type == facts->swp_migration_write) {
		struct folio folio = search(state, offset & SWP_PFN_MASK);
		bool anon = folio_flags(&folio) & MIDFOLIO_FOLIO_ANON;

		return swp_entry(anon ? facts->swp_migration_read_exclusive :
					facts->swp_migration_read, offset) |
		       (old & call->swp_soft_dirty);
	}
	/* The soft-dirty bit is lost here: the kernel does not copy it either. */
	if (type == facts->swp_device_write)
		return swp_entry(facts->swp_device_read, offset) | (old & call->swp_uffd);
	if (type == facts->swp_device_exclusive_write)
		return swp_entry(facts->swp_device_exclusive, offset) |
		       (old & (call->swp_soft_dirty | call->swp_uffd));
	return old;
}

static int64_t change_softleaf_pte(struct midfolio_state *state, const struct call *call,
				   int64_t index, uint64_t old)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t new;

	if ((int64_t)(old >> SWP_TYPE_SHIFT) == facts->swp_marker) {
		uint64_t marker = swp_offset(old);

		if (marker & MARKER_POISONED || (facts->guard_marker && marker & MARKER_GUARD))
			return 0;
		if (!(call->cp_flags & UFFD_CLEAR))
			return 0;
		midfolio_store(state, index, 0);
		return 1;
	}
	new = make_readable(state, call, old);
	if (call->cp_flags & UFFD_SET)
		new |= call->swp_uffd;
	else if (call->cp_flags & UFFD_CLEAR)
		new &= ~call->swp_uffd;
	if (new == old)
		return 0;
	midfolio_store(state, index, new);
	return 1;
}

/* Whether an entry is left alone before its page is looked up. */
static bool is_already_changed(const struct midfolio_facts *facts, const struct call *call,
			       uint64_t pte)
{
	if (!pte_protnone(call, pte))
		return false;
	if (call->cp_flags & MIDFOLIO_CP_PROT_NUMA && facts->protnone_before_lookup)
		return true;
	return call->cp_flags & MIDFOLIO_CP_UFFD_RWP && pte & call->uffd;
}

int64_t midfolio_change_pte_range(struct midfolio_state *state)
{
	const struct midfolio_facts *facts = state->facts;
	const struct call call = call_of(facts);
	const bool numa = call.cp_flags & MIDFOLIO_CP_PROT_NUMA;
	const bool asks_for_folio = numa || call.cp_flags & MIDFOLIO_CP_TRY_CHANGE_WRITABLE;
	struct folio folio = { 0 };
	int64_t pages = 0;
	int64_t end = facts->end;

	for (int64_t index = facts->start, nr; index < end; index += nr) {
		uint64_t pte = midfolio_load(state, index);
		uint64_t pfn;
		bool mapped, needs_folio;

		nr = 1;
		if (!pte_present(pte)) {
			pages += pte_none(pte) ? change_none_pte(state, &call, index) :
						 change_softleaf_pte(state, &call, index, pte);
			continue;
		}
		if (is_already_changed(facts, &call, pte))
			continue;
		pfn = pte_pfn(pte);
		mapped = vm_normal_page(state, &call, pte);
		/* Otherwise the batch is this one entry, whatever its folio. */
		needs_folio = mapped && (asks_for_folio || may_be_joined(state, index, pte, end - index,
									call.ignored));
		if (needs_folio)
			folio = page_folio(state, pfn, folio);
		/* 6.17 and 6.18 look at PROT_NONE only now, so that runs are skipped by the batch. */
		if (numa && ((!facts->protnone_before_lookup && pte_protnone(&call, pte)) || !mapped ||
			     !folio_can_map_prot_numa(state, &call, &folio))) {
			/* What is skipped is not written, so it may differ in these, too. */
			if (mapped)
				nr = folio_pte_batch(state, index, pte, &folio, end - index,
						     call.ignored | call.soft_dirty | RW);
			continue;
		}
		if (needs_folio)
			nr = folio_pte_batch(state, index, pte, &folio, end - index, call.ignored);
		change_present_ptes(state, &call, index, nr, mapped, &folio, pfn);
		pages += nr;
	}
	return pages;
}
