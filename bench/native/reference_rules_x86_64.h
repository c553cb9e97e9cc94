/*
 * What the reference makes of one present entry, as reference/ has it: one function per rule,
 * an entry as a record of named fields.
 *
 * In a header because the relation applies these rules too, as harness/relation.py does; of the
 * other judges none may include it.
 */
#ifndef REFERENCE_RULES_X86_64_H
#define REFERENCE_RULES_X86_64_H

#include <stdbool.h>

#include "midfolio_target.h"

/* A page-table entry; without `present`, `global` is PROT_NONE and the PFN is inverted. */
union pte {
	uint64_t word;
	struct {
		uint64_t present : 1, write : 1, user : 1, pwt : 1, pcd : 1, accessed : 1;
		uint64_t dirty : 1, pat : 1, global : 1, special : 1, uffd : 1, soft_dirty : 1;
		uint64_t pfn_field : 40;
		uint64_t unnamed : 5, devmap : 1, saved_dirty : 1, pkey : 4, nx : 1;
	};
};

struct page {
	bool found;
	bool anon_exclusive;
	uint64_t flags;
	int64_t nid;
	uint64_t folio_pfn;
};

static inline bool asks_for(const struct midfolio_facts *facts, uint64_t cp_flag)
{
	return facts->cp_flags & cp_flag;
}

static inline bool sets_uffd(const struct midfolio_facts *facts)
{
	return asks_for(facts, MIDFOLIO_CP_UFFD_WP) ||
	       (facts->uffd_rwp && asks_for(facts, MIDFOLIO_CP_UFFD_RWP));
}

static inline bool clears_uffd(const struct midfolio_facts *facts)
{
	return asks_for(facts, MIDFOLIO_CP_UFFD_WP_RESOLVE) ||
	       (facts->uffd_rwp && asks_for(facts, MIDFOLIO_CP_UFFD_RWP_RESOLVE));
}

static inline bool pte_present(union pte pte)
{
	return pte.present || pte.global;
}

static inline bool pte_none(union pte pte)
{
	/* Knights Landing may leave these two in a cleared entry. */
	pte.accessed = pte.dirty = 0;
	return pte.word == 0;
}

static inline bool pte_protnone(const struct midfolio_facts *facts, union pte pte)
{
	return (facts->numa_balancing || facts->uffd_rwp) && !pte.present && pte.global;
}

static inline bool pte_uffd(const struct midfolio_facts *facts, union pte pte)
{
	return facts->uffd_wp && pte.uffd;
}

static inline bool needs_inversion(union pte pte)
{
	return pte.word && !pte.present;
}

static inline uint64_t pte_pfn(union pte pte)
{
	if (needs_inversion(pte))
		pte.pfn_field = ~pte.pfn_field;
	return pte.pfn_field;
}

static inline union pte save_dirty(union pte pte)
{
	if (!pte.write) {
		pte.saved_dirty |= pte.dirty;
		pte.dirty = 0;
	}
	return pte;
}

static inline union pte unsave_dirty(union pte pte)
{
	if (pte.write) {
		pte.dirty |= pte.saved_dirty;
		pte.saved_dirty = 0;
	}
	return pte;
}

static inline union pte pte_modify(const struct midfolio_facts *facts, union pte old,
				   union pte newprot)
{
	union pte new = old;

	new.present = newprot.present;
	new.write = newprot.write;
	new.user = newprot.user;
	new.global = newprot.global;
	new.unnamed = newprot.unnamed;
	new.pkey = newprot.pkey;
	new.nx = newprot.nx;
	/* A bit that the kernel has no name for is not among those that it keeps. */
	if (!facts->uffd_wp)
		new.uffd = newprot.uffd;
	if (!facts->soft_dirty)
		new.soft_dirty = newprot.soft_dirty;
	if (!facts->devmap)
		new.devmap = newprot.devmap;
	if (needs_inversion(old) != needs_inversion(new))
		new.pfn_field = ~new.pfn_field;
	return old.write ? save_dirty(new) : unsave_dirty(new);
}

static inline bool pte_needs_flush(union pte old, union pte new)
{
	if (!old.present)
		return false;
	if (pte_pfn(old) != pte_pfn(new) || !new.present || (old.dirty && !new.dirty))
		return true;
	return old.write != new.write || old.user != new.user || old.pwt != new.pwt ||
	       old.pcd != new.pcd || old.pat != new.pat || old.global != new.global ||
	       old.pkey != new.pkey || old.nx != new.nx;
}

static inline struct page page_at(const struct midfolio_state *state, uint64_t pfn)
{
	int64_t first = 0, rows = state->facts->nr_folios;

	while (rows > 1) {
		int64_t half = rows / 2;

		if (state->folios[first + half].pfn <= pfn)
			first += half;
		rows -= half;
	}
	if (rows) {
		const struct midfolio_folio *folio = &state->folios[first];

		if (folio->pfn <= pfn && pfn - folio->pfn < (uint64_t)folio->nr_pages)
			return (struct page){
				.found = true,
				.anon_exclusive =
					state->exclusive[folio->first_page + (pfn - folio->pfn)],
				.flags = folio->folio_flags,
				.nid = folio->nid,
				.folio_pfn = folio->pfn,
			};
	}
	return (struct page){ .found = true, .folio_pfn = pfn };
}

static inline bool is_mapped_without_page(const struct midfolio_facts *facts, union pte pte)
{
	if (!pte.special)
		return false;
	if (facts->vma_flags & (MIDFOLIO_VM_PFNMAP | MIDFOLIO_VM_MIXEDMAP))
		return true;
	return pte_pfn(pte) == facts->zero_pfn || (facts->devmap && pte.devmap);
}

static inline bool is_bad_map(const struct midfolio_facts *facts, union pte pte)
{
	if (is_mapped_without_page(facts, pte))
		return false;
	return pte.special || pte_pfn(pte) > facts->highest_memmap_pfn;
}

static inline struct page page_of(const struct midfolio_state *state, union pte pte)
{
	if (is_mapped_without_page(state->facts, pte) || is_bad_map(state->facts, pte))
		return (struct page){ .found = false };
	return page_at(state, pte_pfn(pte));
}

static inline struct page vm_normal_page(struct midfolio_state *state, union pte pte)
{
	if (is_bad_map(state->facts, pte))
		midfolio_bad_map(state);
	return page_of(state, pte);
}

static inline bool is_cow_mapping(const struct midfolio_facts *facts)
{
	return facts->vma_flags & MIDFOLIO_VM_MAYWRITE && !(facts->vma_flags & MIDFOLIO_VM_SHARED);
}

static inline bool may_map_prot_numa(const struct midfolio_facts *facts, const struct page *page)
{
	bool shared = facts->vma_flags & MIDFOLIO_VM_SHARED;
	bool normal = facts->numa_balancing &&
		      facts->numa_balancing_mode & MIDFOLIO_NUMA_BALANCING_NORMAL;

	if (!facts->numa_balancing && facts->pinned_in_any_vma)
		return false;
	if (!page->found || page->flags & (MIDFOLIO_FOLIO_ZONE_DEVICE | MIDFOLIO_FOLIO_KSM))
		return false;
	if (is_cow_mapping(facts) && page->flags & MIDFOLIO_FOLIO_MAPPED_SHARED)
		return false;
	if (page->flags & MIDFOLIO_FOLIO_PINNED &&
	    (facts->pinned_in_any_vma || is_cow_mapping(facts)))
		return false;
	if (page->flags & MIDFOLIO_FOLIO_FILE_LRU && page->flags & MIDFOLIO_FOLIO_DIRTY)
		return false;
	if (!shared && facts->mm_users == 1 && page->nid == facts->numa_node)
		return false;
	return normal || !(facts->toptier_nodes >> page->nid & 1);
}

static inline bool is_changed_by_numa(struct midfolio_state *state, union pte pte)
{
	const struct midfolio_facts *facts = state->facts;
	struct page page;

	if (facts->protnone_before_lookup && pte_protnone(facts, pte))
		return false;
	page = vm_normal_page(state, pte);
	/* 6.17 and 6.18 look the page up first; what shows is a bad-map report. */
	if (pte_protnone(facts, pte) || !may_map_prot_numa(facts, &page))
		return false;
	if (facts->numa_balancing && page.flags & MIDFOLIO_FOLIO_ACCESS_TIME)
		midfolio_access_time(state, page.folio_pfn);
	return true;
}

/* Whether a present entry is taken and rewritten, or skipped. */
static inline bool is_changed(struct midfolio_state *state, union pte pte)
{
	const struct midfolio_facts *facts = state->facts;

	if (asks_for(facts, MIDFOLIO_CP_PROT_NUMA))
		return is_changed_by_numa(state, pte);
	if (facts->uffd_rwp && asks_for(facts, MIDFOLIO_CP_UFFD_RWP) && pte_protnone(facts, pte) &&
	    pte_uffd(facts, pte))
		return false;
	if (facts->lookup_every_page && is_bad_map(facts, pte))
		midfolio_bad_map(state);
	return true;
}

static inline bool may_become_writable(struct midfolio_state *state, union pte old, union pte new)
{
	const struct midfolio_facts *facts = state->facts;
	struct page page;

	if (!(facts->vma_flags & MIDFOLIO_VM_WRITE)) {
		midfolio_warn_no_vm_write(state);
		return false;
	}
	if (pte_protnone(facts, new))
		return false;
	/* VM_SOFTDIRTY set means that the VMA is not tracked. */
	if (facts->soft_dirty && !(facts->vma_flags & MIDFOLIO_VM_SOFTDIRTY) && !new.soft_dirty)
		return false;
	if (facts->vma_flags & MIDFOLIO_VM_UFFD_WP && pte_uffd(facts, new))
		return false;
	/* A clean page must fault, so that the file system hears of the write. */
	if (facts->vma_flags & MIDFOLIO_VM_SHARED)
		return new.dirty || new.saved_dirty;
	page = facts->lookup_every_page ? page_of(state, old) : vm_normal_page(state, new);
	return page.found && page.flags & MIDFOLIO_FOLIO_ANON && page.anon_exclusive;
}

static inline union pte change_present(struct midfolio_state *state, union pte old)
{
	const struct midfolio_facts *facts = state->facts;
	const union pte page_none = { .accessed = 1, .global = 1 };
	union pte new = pte_modify(facts, old, (union pte){ facts->newprot });

	if (sets_uffd(facts)) {
		if (facts->uffd_wp) {
			new.uffd = 1;
			new.write = 0;
			new = save_dirty(new);
		}
	} else if (clears_uffd(facts) && facts->uffd_wp) {
		new.uffd = 0;
	}
	if (facts->uffd_rwp && facts->vma_flags & MIDFOLIO_VM_UFFD_RWP && pte_uffd(facts, new))
		new = pte_modify(facts, new, page_none);
	if (asks_for(facts, MIDFOLIO_CP_TRY_CHANGE_WRITABLE) && !new.write &&
	    may_become_writable(state, old, new)) {
		new.write = 1;
		new = unsave_dirty(new);
	}
	return new;
}

#endif
