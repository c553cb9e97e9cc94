/* Random layouts of x86_64: fuzz/generator.py, in C and case by case the same. */
#include "generate.h"

/* Cases of 64 in which the page walker sets bits between detection and take. */
#define WALKER_CASES 8

static const struct part WALKS = PART(0, 6);
static const struct part RARITY = PART(6, 2);

/* The bits that the walker may set in an entry of a sane case. */
static uint64_t walker_bits(uint64_t word, uint64_t choice)
{
	uint64_t legal = PAGE_ACCESSED;

	if (!(word & PAGE_PRESENT))
		return 0;
	if (word & PAGE_RW)
		legal |= PAGE_DIRTY;
	/* D is never set without A. */
	return (choice & 1 ? legal : PAGE_ACCESSED) & ~word;
}

/* Choose the bits that the walker sets in entries of the range before they are taken. */
static void let_walker_flip(uint64_t *choices, struct case_state *state)
{
	const struct midfolio_facts *facts = state->facts;
	uint64_t choice = draw(choices);

	for (int64_t i = 0; i < facts->nr_ptes; i++)
		state->hardware[i] = 0;
	if (bits(choice, WALKS) < 64 - WALKER_CASES)
		return;

	/* One entry in 1, 2, 4 or 8. */
	uint64_t rarity = BIT(bits(choice, RARITY)) - 1;

	for (int64_t i = facts->start; i < facts->end; i++) {
		uint64_t noise = mix(choice + (uint64_t)i);

		if ((noise & rarity) == 0)
			state->hardware[i] = walker_bits(state->ptes[i], noise >> 32);
	}
}

int64_t midfolio_generate(uint64_t *choices, struct case_state *state, uint64_t seed,
			  uint64_t index)
{
	fill(choices, seed, index);
	for (int64_t i = 0; i < MIDFOLIO_NR_COUNTS; i++)
		state->counts[i] = 0;

	struct scene scene = set_scene(choices, state);

	lay_out(choices, state, &scene);
	let_walker_flip(choices, state);
	if (scene.wild)
		break_rules(choices, state);
	return scene.wild;
}
