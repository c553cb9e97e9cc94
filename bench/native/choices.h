/*
 * The source of choices: fuzz/choices.py, and the patterns of fuzz/layout/patterns.py.
 *
 * The array of choices is that of Python, so that either language can draw from it.
 */
#ifndef CHOICES_H
#define CHOICES_H

#include <stdint.h>

#define STREAM 2

enum { POSITION, NR_GIVEN, KEY, WINDOW, FIRST };

/* SplitMix64. */
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/* Some neighbouring bits of a word: one decision. */
struct part {
	uint64_t shift;
	uint64_t mask;
	uint64_t width;
};

#define PART(shift, width) { (shift), (UINT64_C(1) << (width)) - 1, (width) }

static inline int64_t min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A word in which each bit depends on each bit of `word`. */
static inline uint64_t mix(uint64_t word)
{
	word = (word ^ (word >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94D049BB133111EB);
	return word ^ (word >> 31);
}

/* The next word. */
static inline uint64_t draw(uint64_t *choices)
{
	uint64_t position = choices[POSITION]++;

	if (position < choices[NR_GIVEN])
		return choices[FIRST + position];
	if (choices[KEY] == 0)
		return 0;
	return mix(choices[KEY] + (position + 1) * GOLDEN);
}

/* The number in a part of `word`. */
static inline int64_t bits(uint64_t word, struct part part)
{
	return (int64_t)((word >> part.shift) & part.mask);
}

/* A number in [0, limit) out of a part of `word`. */
static inline int64_t scaled(uint64_t word, struct part part, int64_t limit)
{
	return (int64_t)((((word >> part.shift) & part.mask) * (uint64_t)limit) >> part.width);
}

/* Make the choices those of random case `index` of `seed`; WINDOW stays. */
static inline void fill(uint64_t *choices, uint64_t seed, uint64_t index)
{
	uint64_t key = mix(mix(seed + STREAM * GOLDEN) + index);

	choices[POSITION] = 0;
	choices[NR_GIVEN] = 0;
	choices[KEY] = key ? key : GOLDEN;
}

/* Kinds of patterns. The turning point of those in the middle is their `place`. */
enum { NO, YES, ONLY, BUT, FROM, BEFORE, TURNS, RANDOM };

#define ALL (~UINT64_C(0))

/* Bits `first`..`first` + 63 of a pattern. */
static inline uint64_t pattern(int64_t kind, int64_t place, uint64_t noise, int64_t first)
{
	/* The part of each kind; without a branch, which no branch predictor could foresee. */
	static const uint64_t fixed[] = {
		[YES] = ALL, [BUT] = ALL, [BEFORE] = ALL, [TURNS] = UINT64_C(0xAAAAAAAAAAAAAAAA),
		[RANDOM] = 0,
	};
	static const uint64_t with_one[] = { [ONLY] = ALL, [BUT] = ALL, [RANDOM] = 0 };
	static const uint64_t with_from[] = { [FROM] = ALL, [BEFORE] = ALL, [RANDOM] = 0 };
	static const uint64_t with_noise[] = { [RANDOM] = ALL };
	int64_t at = place - first;
	uint64_t shift = (uint64_t)min(max(at, 0), 63);
	uint64_t one = at >= 0 && at < 64 ? UINT64_C(1) << shift : 0;
	uint64_t from = at < 64 ? ALL << shift : 0;
	uint64_t word = fixed[kind] ^ (one & with_one[kind]) ^ (from & with_from[kind]);

	return word ^ (mix(noise + (uint64_t)first) & with_noise[kind]);
}

/* All bits set where bit 0 of `word` is, else none. */
static inline uint64_t mask(uint64_t word)
{
	return -(word & 1);
}

#endif
