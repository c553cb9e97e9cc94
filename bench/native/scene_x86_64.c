/* The call and its VMA: fuzz/scene.py. */
#include "generate.h"

enum { MPROTECT, NUMA, WP, WP_RESOLVE, RWP, RWP_RESOLVE };

static const int64_t CALLS[64] = {
	[0 ... 35] = MPROTECT, [36 ... 41] = NUMA, [42 ... 46] = WP,
	[47 ... 55] = WP_RESOLVE, [56 ... 59] = RWP, [60 ... 63] = RWP_RESOLVE,
};
static const uint64_t CP_FLAGS[] = {
	[MPROTECT] = 0,
	[NUMA] = MM_CP_PROT_NUMA,
	[WP] = MM_CP_UFFD_WP,
	[WP_RESOLVE] = MM_CP_UFFD_WP_RESOLVE,
	[RWP] = MM_CP_UFFD_RWP,
	[RWP_RESOLVE] = MM_CP_UFFD_RWP_RESOLVE,
};
static const int64_t VMAS[64] = {
	[0 ... 37] = ANON_VMA, [38 ... 47] = FILE_VMA, [48 ... 60] = SHARED_VMA,
	[61 ... 62] = DEVICE_VMA, [63] = DEVICE_SHARED_VMA,
};

/* Access, by the values of the VM_ flags. */
enum { R = 1, W = 2, RW = 3, X = 4, RX = 5, RWX = 7, SHARED = 8 };

static const int64_t NEW_ACCESS[16] = {
	[0 ... 1] = R, [2 ... 9] = RW, [10 ... 11] = RWX, [12] = RX, [13] = 0, [14] = W, [15] = X,
};
static const int64_t OLD_ACCESS[16] = {
	[0 ... 5] = RW, [6 ... 10] = R, [11 ... 12] = RX, [13] = 0, [14] = RWX, [15] = W,
};
/* A VMA that is not being changed, for NUMA and uffd. */
static const int64_t ACCESS[16] = {
	[0 ... 1] = R, [2 ... 11] = RW, [12 ... 13] = RWX, [14 ... 15] = RX,
};

static const uint64_t PROTECTION_MAP[16] = {
	[0] = PAGE_NONE,
	[R] = PAGE_READONLY, [W] = PAGE_READONLY, [RW] = PAGE_READONLY,
	[X ... RWX] = PAGE_READONLY_EXEC,
	[SHARED] = PAGE_NONE, [SHARED + R] = PAGE_READONLY,
	[SHARED + W] = PAGE_SHARED, [SHARED + RW] = PAGE_SHARED,
	[SHARED + X] = PAGE_READONLY_EXEC, [SHARED + RX] = PAGE_READONLY_EXEC,
	[SHARED + X + W] = PAGE_SHARED_EXEC, [SHARED + RWX] = PAGE_SHARED_EXEC,
};

static const int64_t USERS[16] = {
	[0 ... 10] = 1, [11 ... 12] = 2, [13] = 3, [14] = 5, [15] = 8,
};
static const uint64_t MODES[8] = { [0 ... 3] = 1, [4] = 0, [5] = 2, [6 ... 7] = 3 };
static const uint64_t TOPTIER[4] = { 0x1, 0x3, 0xF, UINT64_C(0xF) << FAR_NODES | 0x3 };

/* Window lengths: least, and how many from there on. */
static const struct {
	int64_t least;
	int64_t span;
} SIZES[64] = {
	[0] = { 1, 1 },
	[1 ... 5] = { 1, 4 },
	[6 ... 25] = { 4, 13 },
	[26 ... 47] = { 16, 25 },
	[48 ... 56] = { 40, 25 },
	[57 ... 61] = { 65, 64 },
	[62] = { 129, 383 },
	[63] = { 512, 1 },
};

#define FIRST_PFN UINT64_C(0x12340)
#define TABLE_ADDR UINT64_C(0x7F0000000000)
#define PMD_SHIFT 21

/* The choice of call and VMA. */
static const struct part WILD = PART(0, 6);
static const struct part CALL = PART(6, 6);
static const struct part VMA = PART(12, 6);
static const struct part ACCESS_NOW = PART(18, 4);
static const struct part ACCESS_BEFORE = PART(22, 4);
static const struct part PKEY = PART(26, 4);
static const struct part HAS_PKEY = PART(30, 3);
static const struct part OTHER_PKEY = PART(33, 2);
static const struct part MIXED = PART(35, 1);
static const struct part TRACKS_SOFT_DIRTY = PART(36, 2);
static const struct part UFFD_MODE = PART(38, 3);
static const struct part HAS_RWP = PART(41, 1);
static const struct part UNPOPULATED = PART(42, 1);
static const struct part NOTIFIES = PART(43, 1);
/* The choice of the window. */
static const struct part SIZE = PART(0, 6);
static const struct part IN_SIZE = PART(6, 9);
static const struct part RANGE = PART(15, 3);
static const struct part START = PART(18, 9);
static const struct part END = PART(27, 9);
static const struct part SLOT = PART(36, 9);
static const struct part PLACE = PART(45, 14);
static const struct part AT_END = PART(59, 4);
/* The choice of mm and machine. */
static const struct part MM_USERS = PART(0, 4);
static const struct part NODE = PART(4, 2);
static const struct part MODE = PART(6, 3);
static const struct part TIERS = PART(9, 2);
static const struct part CONFIG = PART(11, 5);
/* What a kernel was configured without. */
enum { NO_SOFT_DIRTY = 29, NO_UFFD_WP, NO_NUMA_BALANCING };

/* Choose length, place and range of the window; returns where its folios may begin. */
static uint64_t set_window(uint64_t *choices, struct case_state *state)
{
	struct midfolio_facts *facts = state->facts;
	int64_t entries = INT64_C(1) << (PMD_SHIFT - facts->page_shift);
	uint64_t choice = draw(choices);
	int64_t size = bits(choice, SIZE);
	int64_t nr_ptes = SIZES[size].least + scaled(choice, IN_SIZE, SIZES[size].span);

	if (choices[WINDOW] != 0)
		nr_ptes = (int64_t)choices[WINDOW];
	nr_ptes = min(min(nr_ptes, entries), state->ptes_room);
	facts->nr_ptes = nr_ptes;

	int64_t form = bits(choice, RANGE);
	int64_t start = 0;
	int64_t end = nr_ptes;

	if (form >= 7) {
		start = scaled(choice, START, nr_ptes);
		end = start + 1;
	} else if (form >= 3) {
		/* Up to half is left out in front, up to half of the rest behind. */
		start = scaled(choice, START, nr_ptes) >> 1;
		end = nr_ptes - (scaled(choice, END, nr_ptes - start) >> 1);
	}
	facts->start = start;
	facts->end = end;

	uint64_t slot = (uint64_t)scaled(choice, SLOT, entries - nr_ptes + 1);

	facts->table_addr = TABLE_ADDR + (slot << facts->page_shift);

	/* One case in 16 lives at the end of the memory map. */
	uint64_t place = (uint64_t)bits(choice, PLACE);

	if (bits(choice, AT_END) == 15) {
		uint64_t room = place & 0xFF;

		if (facts->highest_memmap_pfn > room)
			return facts->highest_memmap_pfn - room;
	}
	return FIRST_PFN + (place << 4);
}

/* Choose the facts of the mm and of NUMA balancing. */
static void set_mm(uint64_t *choices, struct case_state *state)
{
	struct midfolio_facts *facts = state->facts;
	uint64_t choice = draw(choices);

	facts->mm_users = USERS[bits(choice, MM_USERS)];
	facts->numa_node = bits(choice, NODE);
	facts->numa_balancing_mode = MODES[bits(choice, MODE)];
	facts->toptier_nodes = TOPTIER[bits(choice, TIERS)];

	int64_t config = bits(choice, CONFIG);

	facts->soft_dirty = config != NO_SOFT_DIRTY;
	facts->uffd_wp = config != NO_UFFD_WP;
	facts->numa_balancing = config != NO_NUMA_BALANCING;
}

/* Access and protection key of the VMA, now and before. */
struct rights {
	int64_t access;
	int64_t old_access;
	uint64_t pkey;
	uint64_t old_pkey;
};

static struct rights choose_rights(uint64_t choice, int64_t call)
{
	uint64_t pkey = (uint64_t)bits(choice, PKEY);

	if (bits(choice, HAS_PKEY) < 7)
		pkey = 0;
	if (call != MPROTECT) {
		int64_t access = ACCESS[bits(choice, ACCESS_NOW)];

		return (struct rights){ access, access, pkey, pkey };
	}

	int64_t access = NEW_ACCESS[bits(choice, ACCESS_NOW)];
	int64_t old_access = OLD_ACCESS[bits(choice, ACCESS_BEFORE)];
	uint64_t old_pkey = bits(choice, OTHER_PKEY) == 3 ? 0 : pkey;

	/* mprotect() with nothing to change walks no table. */
	if (old_access == access && old_pkey == pkey)
		old_access = access == RW ? R : RW;
	return (struct rights){ access, old_access, pkey, old_pkey };
}

/* The VM_UFFD_ flag of the VMA: the call's own, else one in a few. */
static uint64_t uffd_mode(uint64_t choice, const struct midfolio_facts *facts, int64_t call)
{
	if (facts->uffd_wp == 0)
		return 0;
	if (call == WP || call == WP_RESOLVE)
		return VM_UFFD_WP;
	if (call == RWP || call == RWP_RESOLVE)
		return VM_UFFD_RWP;

	int64_t mode = bits(choice, UFFD_MODE);

	if (mode == 7)
		return VM_UFFD_WP;
	if (mode == 6 && facts->uffd_rwp == 1 && bits(choice, HAS_RWP) == 1)
		return VM_UFFD_RWP;
	return 0;
}

static uint64_t protection(int64_t access, uint64_t pkey)
{
	return PROTECTION_MAP[access] | pkey << PKEY_SHIFT;
}

/* Choose window, call, VMA and machine facts into state->facts. */
struct scene set_scene(uint64_t *choices, struct case_state *state)
{
	struct midfolio_facts *facts = state->facts;
	uint64_t choice = draw(choices);
	bool wild = bits(choice, WILD) >= 54;
	uint64_t first_pfn = set_window(choices, state);

	set_mm(choices, state);

	int64_t call = CALLS[bits(choice, CALL)];

	if (facts->uffd_rwp == 0 && call >= RWP)
		call -= 2;
	if ((facts->uffd_wp == 0 && call >= WP) || (facts->numa_balancing == 0 && call == NUMA))
		call = MPROTECT;

	int64_t vma = VMAS[bits(choice, VMA)];

	/* task_numa_work() passes over VMAs that map no pages of their own. */
	if (call == NUMA && vma >= DEVICE_VMA)
		vma -= 2;

	bool shared = vma == SHARED_VMA || vma == DEVICE_SHARED_VMA;
	struct rights rights = choose_rights(choice, call);
	uint64_t flags = (uint64_t)rights.access | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

	if (shared)
		flags |= VM_SHARED | VM_MAYSHARE;
	if (vma >= DEVICE_VMA)
		flags |= bits(choice, MIXED) ? VM_MIXEDMAP : VM_PFNMAP;

	bool tracks_soft_dirty = facts->soft_dirty == 1 && bits(choice, TRACKS_SOFT_DIRTY) == 3;

	if (facts->soft_dirty == 1 && !tracks_soft_dirty)
		flags |= VM_SOFTDIRTY;

	uint64_t uffd = uffd_mode(choice, facts, call);

	flags |= uffd;
	facts->vma_flags = flags;
	facts->vma_anon = vma == ANON_VMA;
	facts->uffd_wp_unpopulated = uffd ? bits(choice, UNPOPULATED) : 0;

	/* vma_wants_writenotify(): the file system asks, or tracking does. */
	bool writenotify = shared && (bits(choice, NOTIFIES) == 1 || tracks_soft_dirty ||
				      uffd == VM_UFFD_WP);
	bool upgrades = (rights.access & W) && (writenotify || !shared);
	uint64_t cp_flags = CP_FLAGS[call];

	if (upgrades && (call == MPROTECT || call == WP_RESOLVE || call == RWP_RESOLVE))
		cp_flags |= MM_CP_TRY_CHANGE_WRITABLE;
	facts->cp_flags = cp_flags;
	if (call == NUMA || call == RWP)
		facts->newprot = PAGE_NONE;
	else
		facts->newprot = protection(rights.access + (shared && !writenotify ? SHARED : 0),
					    rights.pkey);

	uint64_t allowed = facts->soft_dirty == 1 ? HAS_SOFT_DIRTY : 0;

	if (uffd)
		allowed |= HAS_UFFD;
	if (rights.old_access & W)
		allowed |= HAS_WRITE;
	if (rights.old_access != 0 && (facts->numa_balancing == 1 || uffd == VM_UFFD_RWP))
		allowed |= HAS_PROTNONE;
	return (struct scene){
		.wild = wild,
		.contents = min(vma, DEVICE_VMA),
		.private = !shared,
		.armed_none = uffd == VM_UFFD_RWP,
		.prot = protection(rights.old_access, rights.old_pkey),
		.allowed = allowed,
		.first_pfn = first_pfn,
	};
}
