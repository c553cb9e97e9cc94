/* What judges and census share: the classes of harness/classes.py by number, the verdict. */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdbool.h>

#include "loop.h"
#include "x86_64.h"

#define NR_CLASSES 64
/* Divergences and invariants. */
#define RED (~UINT64_C(0) << 16)

#define ACCESSED_MERGED BIT(0)
#define DIRTY_MERGED BIT(1)
#define SOFT_DIRTY_MERGED BIT(2)
#define WRITE_BY_MERGED_DIRTY BIT(3)
#define WRITE_BY_MERGED_SOFT_DIRTY BIT(4)
#define DIRTY_MOVED BIT(5)
#define EXTRA_FLUSH BIT(14)
#define FLUSH_ELIDED BIT(15)
#define COW_WRITE BIT(16)
#define WRITE_GAINED BIT(17)
#define WRITE_LOST BIT(18)
#define ENTRY_LOST BIT(19)
#define PFN_CHANGED BIT(20)
#define DIRTY_LOST BIT(21)
#define DIRTY_GAINED BIT(22)
#define ACCESSED_LOST BIT(23)
#define ACCESSED_GAINED BIT(24)
#define SOFT_DIRTY_LOST BIT(25)
#define SOFT_DIRTY_GAINED BIT(26)
#define UFFD_CHANGED BIT(27)
#define PROTECTION_CHANGED BIT(28)
#define BITS_CHANGED BIT(29)
#define SKIPPED_CHANGED BIT(30)
#define SWAP_CHANGED BIT(31)
#define NONE_CHANGED BIT(32)
#define OUTSIDE_CHANGED BIT(33)
#define FLUSH_MISSING BIT(34)
#define FLUSH_UNNEEDED BIT(35)
#define NMMU_UNNEEDED BIT(41)
#define INVALIDATION_WRONG BIT(42)
#define FLUSH_OUTSIDE BIT(43)
#define PAGES_WRONG BIT(44)
#define BAD_MAP_WRONG BIT(45)
#define WARN_WRONG BIT(46)
#define ACCESS_TIME_WRONG BIT(47)
#define INPUT_CHANGED BIT(48)
#define LOG_OVERFLOW BIT(49)
#define INVARIANT_N BIT(54)
#define INVARIANT_W BIT(55)
#define INVARIANT_V BIT(56)
#define INVARIANT_U BIT(57)
#define INVARIANT_D BIT(58)
#define INVARIANT_S BIT(59)
#define INVARIANT_F BIT(60)
#define INVARIANT_T BIT(61)
#define INVARIANT_X BIT(63)

struct verdict {
	uint64_t found[MIDFOLIO_MAX_PTES]; /* class bits of each entry */
	uint64_t found_case; /* class bits of the case as a whole */
	uint8_t needed[MIDFOLIO_MAX_PTES]; /* what the reference flushes, and tells at once */
	uint8_t covered[MIDFOLIO_MAX_PTES]; /* what the target does, likewise */
	uint8_t changed[MIDFOLIO_MAX_PTES]; /* 1: present, and this call takes and rewrites it */
	int64_t first[MIDFOLIO_MAX_PTES]; /* first entry of the legal batch, or -1 */
	/* 1: the last two are wanted of each entry; 0: only verdicts are. */
	int64_t whole;
};

/* Bits of `needed` and `covered`. */
#define FLUSHED 1
#define TOLD 2

/* Fill `found` with the relation's classes; `needed` and `covered` are known. */
void judge_relation(struct workspace *workspace, struct verdict *verdict);

/* Add the invariants' classes to `found` and `found_case`. */
void judge_invariants(const struct workspace *workspace, struct verdict *verdict, bool sane);

/* Fill `verdict` with all that any judge finds in a run of both sides; the union of it. */
uint64_t midfolio_judge(struct workspace *workspace, struct verdict *verdict, int64_t sane);

/* TALLY_SIZE of harness/census.py. */
#define MIDFOLIO_TALLY_SIZE 168
#define DESCRIBE_EVERY 16

/* Add a judged case and its classes, `all` of them, to the tally. */
void midfolio_count_case(const struct workspace *workspace, const struct verdict *verdict,
			 uint64_t all, int64_t *tally);

/* Add the kinds and traits of a case that was judged whole. */
void midfolio_describe_case(const struct workspace *workspace, const struct verdict *verdict,
			    int64_t *tally, int64_t wild);

/*
 * Run and judge the cases [first, last) of `seed` and, if `phase` is COUNT_PHASE, add them to
 * the tally; how many have a divergence or break an invariant. As hunt() of fuzz/campaign.py,
 * but that it shows none.
 */
int64_t midfolio_loop(midfolio_side *reference, midfolio_side *target,
		      struct workspace *workspace, struct verdict *verdict, uint64_t *choices,
		      uint64_t seed, uint64_t first, uint64_t last, int64_t phase,
		      int64_t *tally);

#endif
