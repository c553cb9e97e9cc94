/* Wild cases: rules that a kernel keeps are broken on purpose. fuzz/wild.py. */
#include "generate.h"

static const uint64_t VM_FLAGS[] = {
	VM_READ,    VM_WRITE,	 VM_EXEC,     VM_SHARED, VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC,
	VM_MAYSHARE, VM_PFNMAP, VM_UFFD_WP, VM_SOFTDIRTY, VM_MIXEDMAP, VM_UFFD_RWP,
};
#define NR_VM_FLAGS (int64_t)(sizeof(VM_FLAGS) / sizeof(VM_FLAGS[0]))

/* Two of them at once are a BUG or WARN in change_protection(), before the walk. */
static const uint64_t UFFD_CALLS[8] = {
	0, 0, 0, 0, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE, MM_CP_UFFD_RWP, MM_CP_UFFD_RWP_RESOLVE,
};
/* One entry in so many is broken, out of 8 choices; 0 breaks none. */
static const int64_t RARITY[8] = { 0, 1, 2, 4, 8, 16, 32, 0 };

#define FEW_PAGES 32

/* What is broken, and how. */
static const struct part CP = PART(0, 2);
static const struct part PROT = PART(2, 2);
static const struct part VMA = PART(4, 1);
static const struct part FOLIOS = PART(5, 1);
static const struct part ENTRIES = PART(6, 3);
static const struct part WALKER = PART(9, 3);
static const struct part UFFD_CALL = PART(0, 3);
static const struct part TRY = PART(3, 1);
static const struct part NUMA = PART(4, 2);
static const struct part ANON_BIT = PART(6, 1);
static const struct part UNPOPULATED = PART(7, 1);
static const struct part VM = PART(8, 26);
/* Of the noise of a folio or entry. */
static const struct part FLAGS_TOO = PART(0, 1);
static const struct part EXCLUSIVE_TOO = PART(1, 2);
static const struct part WALKED = PART(0, 2);
static const struct part ODD = PART(2, 8);

/* Words that no kernel makes: fuzz/words/x86_64.py. */

static const uint64_t ODD_PROTS[8] = {
	0x0, 0x1, 0x2, 0x120, 0x27, UINT64_C(0x8000000000000027), 0x25, UINT64_C(0x8000000000000025),
};
static const struct part FORM = PART(0, 2);
static const struct part ODD_PROT = PART(2, 3);
static const struct part FLIPPED = PART(5, 6);

/* Corners of the classification: none with A or D, one software bit alone, and so on. */
static const uint64_t ODD_WORDS[16] = {
	0x0, 0x20, 0x40, 0x60, 0x1, 0x100, 0x120, 0x101, 0x2, 0x8, 0x200, 0x400, 0x800,
	UINT64_C(0x200000000000000), UINT64_C(0x400000000000000), UINT64_C(0x8000000000000000),
};
/* Bits that a deviation flips one of; the PFN is not among them. */
static const uint64_t ODD_BITS[32] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 9, 10, 11, 52,
	54, 57, 57, 53, 58, 56, 59, 60, 62, 63, 1, 5, 6, 55, 8, 61,
};

static const struct part WORD_FORM = PART(0, 3);
static const struct part HALF = PART(3, 1);
static const struct part CORNER = PART(4, 4);
static const struct part FIRST_BIT = PART(8, 5);
static const struct part SECOND_BIT = PART(13, 5);
static const struct part HIGH_PFN = PART(18, 12);

#define HIGH_PFN_SHIFT 40 /* PFN bit 28, the first one above the default memory map */
#define ABOVE_MEMORY UINT64_C(0x000FFF0000000000)

/* A protection that no VMA has. */
static uint64_t odd_prot(uint64_t prot, uint64_t choice)
{
	switch (bits(choice, FORM)) {
	case 0:
		return ODD_PROTS[bits(choice, ODD_PROT)];
	case 1:
		return prot ^ BIT(bits(choice, FLIPPED));
	case 2:
		return prot | (choice & PAGE_PKEY_MASK);
	default:
		return choice;
	}
}

/* A word near `word`, or one known to be a corner. */
static uint64_t odd_word(uint64_t word, uint64_t choice)
{
	int64_t form = bits(choice, WORD_FORM);
	int64_t half = bits(choice, HALF);

	if (form == 0)
		return ODD_WORDS[bits(choice, CORNER)];
	/* Any word at all; half of them in the range of the memory map. */
	if (form == 1)
		return half ? choice : choice & ~ABOVE_MEMORY;
	/* A PFN above the memory map, or PFN 0. */
	if (form == 2) {
		if (half)
			return word & ~PTE_PFN_MASK;
		return word ^ ((uint64_t)bits(choice, HIGH_PFN) << HIGH_PFN_SHIFT);
	}
	word ^= BIT(ODD_BITS[bits(choice, FIRST_BIT)]);
	if (form > 5)
		word ^= BIT(ODD_BITS[bits(choice, SECOND_BIT)]);
	return word;
}

static void break_vma(struct case_state *state, uint64_t choice)
{
	struct midfolio_facts *facts = state->facts;
	uint64_t flags = facts->vma_flags;

	for (int64_t i = 0; i < NR_VM_FLAGS; i++) {
		/* One flag in four is flipped. */
		if ((bits(choice, VM) >> (2 * i) & 3) == 3 &&
		    (VM_FLAGS[i] != VM_UFFD_RWP || facts->uffd_rwp == 1))
			flags ^= VM_FLAGS[i];
	}
	facts->vma_flags = flags;
	facts->vma_anon = bits(choice, ANON_BIT);
	facts->uffd_wp_unpopulated = bits(choice, UNPOPULATED);
}

static void break_folios(struct case_state *state, uint64_t choice)
{
	for (int64_t row = 0; row < state->facts->nr_folios; row++) {
		uint64_t noise = mix(choice + (uint64_t)row);
		struct midfolio_folio *folio = &state->folios[row];

		if (bits(noise, FLAGS_TOO))
			folio->folio_flags ^= (noise >> 8) & (noise >> 16) & ALL_FOLIO_FLAGS;
		if (bits(noise, EXCLUSIVE_TOO) == 3) {
			int64_t nr = min(folio->nr_pages, FEW_PAGES);

			for (int64_t i = 0; i < nr; i++)
				state->exclusive[folio->first_page + i] ^= noise >> (32 + i) & 1;
		}
	}
}

static void break_entries(struct case_state *state, int64_t rarity, uint64_t choice)
{
	if (rarity == 0)
		return;
	for (int64_t i = 0; i < state->facts->nr_ptes; i++) {
		uint64_t noise = mix(choice + (uint64_t)i);

		if ((bits(noise, ODD) & (rarity - 1)) == 0)
			state->ptes[i] = odd_word(state->ptes[i], mix(noise));
	}
}

/* Break some of: the call's flags, the VMA, the protection, folios, entries, the walker. */
void break_rules(uint64_t *choices, struct case_state *state)
{
	struct midfolio_facts *facts = state->facts;
	uint64_t what = draw(choices);
	uint64_t choice = draw(choices);

	if (bits(what, CP) == 3) {
		uint64_t cp_flags = UFFD_CALLS[bits(choice, UFFD_CALL)];

		if (facts->uffd_rwp == 0 && bits(choice, UFFD_CALL) >= 6)
			cp_flags = MM_CP_UFFD_WP;
		if (bits(choice, TRY))
			cp_flags |= MM_CP_TRY_CHANGE_WRITABLE;
		if (bits(choice, NUMA) == 3)
			cp_flags |= MM_CP_PROT_NUMA;
		facts->cp_flags = cp_flags;
	}
	if (bits(what, PROT) == 3)
		facts->newprot = odd_prot(facts->newprot, mix(choice));
	if (bits(what, VMA))
		break_vma(state, choice);
	if (bits(what, FOLIOS))
		break_folios(state, mix(choice + 1));
	break_entries(state, RARITY[bits(what, ENTRIES)], mix(choice + 2));
	if (bits(what, WALKER) == 7) {
		for (int64_t i = 0; i < facts->nr_ptes; i++) {
			uint64_t noise = mix(choice + (uint64_t)i);

			if (bits(noise, WALKED) == 0)
				state->hardware[i] = noise >> 2 & (PAGE_ACCESSED | PAGE_DIRTY);
		}
	}
	/* Whatever was drawn, and for whichever word: what is flipped is a change. */
	for (int64_t i = 0; i < facts->nr_ptes; i++) {
		if (state->hardware[i] != 0)
			state->hardware[i] &= ~state->ptes[i];
	}
}
