// SPDX-License-Identifier: GPL-2.0
/* The levels of H.264, table A-1. */
#include "vh264-core.h"

static const struct level {
	u32 idc, rate, blocks, bitrate;	/* macroblocks a second and a picture; kbit/s, baseline */
} levels[] = {
	{ 10, 1485, 99, 64 }, { 11, 3000, 396, 192 }, { 12, 6000, 396, 384 }, { 13, 11880, 396, 768 },
	{ 20, 11880, 396, 2000 }, { 21, 19800, 792, 4000 }, { 22, 20250, 1620, 4000 },
	{ 30, 40500, 1620, 10000 }, { 31, 108000, 3600, 14000 }, { 32, 216000, 5120, 20000 },
	{ 40, 245760, 8192, 20000 }, { 41, 245760, 8192, 50000 }, { 42, 522240, 8704, 50000 },
	{ 50, 589824, 22080, 135000 }, { 51, 983040, 36864, 240000 }, { 52, 2073600, 36864, 240000 },
};

static bool fits(const struct vh_ctx *c, const struct level *l, u32 bitrate)
{
	u32 w = DIV_ROUND_UP(c->crop.width, 16), h = DIV_ROUND_UP(c->crop.height, 16);
	u64 rate = (u64)w * h * c->interval.denominator;

	return w * h <= l->blocks && max(w, h) * max(w, h) <= 8 * l->blocks &&
	       rate <= (u64)l->rate * c->interval.numerator && bitrate <= l->bitrate * 1000;
}

/* The level that the client has set, or else the lowest for size and rate. */
u32 vh_level(const struct vh_ctx *c)
{
	u32 i;

	if (c->level)
		return c->level;
	for (i = 0; i < ARRAY_SIZE(levels) - 1; i++)
		if (fits(c, &levels[i], 0))
			break;
	return levels[i].idc;
}

/* Whether the level that the client has set, or the default one, is enough for what it wants. */
bool vh_level_fits(const struct vh_ctx *c)
{
	u32 i, idc = c->level ?: min(quirk.level_max, quirk.level_def);

	for (i = 0; i < ARRAY_SIZE(levels); i++)
		if (levels[i].idc == idc)
			return fits(c, &levels[i], c->bitrate);
	return false;
}
