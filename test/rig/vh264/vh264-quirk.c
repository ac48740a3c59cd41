// SPDX-License-Identifier: GPL-2.0
/*
 * How the device misbehaves: the module's parameters, in /sys/module/vh264/parameters.
 * The README of the rig has the table. Those that are not writable are for modprobe.
 */
#include <linux/module.h>
#include <linux/string.h>
#include "vh264-core.h"

struct vh_quirks quirk = {
	.driver = "vh264", .card = "Virtual H.264 encoder", .node = "vh264-enc", .formats = "NV12,YU12",
	.nr = -1, .align = 16, .max_w = 1920, .max_h = 1088,
	.stride_align = 1, .height_align = 1, .min_out = 1, .min_cap = 1, .coded_size = -1,
	.bitrate_min = 25000, .bitrate_max = 25000000, .bitrate_def = 2000000,
	.gop_ctrls = CTRL_GOP | CTRL_PERIOD, .header_ctrls = CTRL_REPEAT | CTRL_MODE, .header_mode = HEADER_JOINED, .repeat = 1,
	.level_def = 40, .level_max = 52, .fps_def = 30, .restart = 1,
};

/* A parameter that is one of some words. */
struct words {
	int *value;
	const char *const *list;
};

static int set_word(const char *s, const struct kernel_param *kp)
{
	const struct words *w = kp->arg;
	int i = __sysfs_match_string(w->list, -1, s);

	if (i < 0)
		return i;
	*w->value = i;
	return 0;
}

static int get_word(char *s, const struct kernel_param *kp)
{
	const struct words *w = kp->arg;

	return sysfs_emit(s, "%s\n", w->list[*w->value]);
}

static const struct kernel_param_ops word_ops = { .set = set_word, .get = get_word };

#define WORD(name, mode, ...) \
	static const char *const name##_list[] = { __VA_ARGS__, NULL }; \
	static const struct words name##_words = { &quirk.name, name##_list }; \
	module_param_cb(name, &word_ops, (void *)&name##_words, mode)
#define NUMBER(name, mode) module_param_named(name, quirk.name, int, mode)
#define TEXT(name, mode) module_param_string(name, quirk.name, sizeof(quirk.name), mode)

TEXT(driver, 0644);
TEXT(card, 0644);
TEXT(node, 0444);
TEXT(formats, 0444);
NUMBER(nr, 0444);
WORD(api, 0444, "mplane", "splane");
WORD(engine, 0644, "lossless", "openh264");
NUMBER(align, 0644);
NUMBER(max_w, 0444);
NUMBER(max_h, 0444);
NUMBER(max_open, 0644);
NUMBER(busy, 0644);

NUMBER(stride_align, 0644);
NUMBER(stride_wish, 0644);
NUMBER(height_align, 0644);
NUMBER(pad, 0644);
WORD(crop, 0644, "asked", "whole");
WORD(dmabuf, 0644, "any", "contig", "refused", "none");
NUMBER(min_out, 0644);
NUMBER(min_cap, 0644);
NUMBER(coded_size, 0644);
NUMBER(coded_max, 0644);
WORD(overflow, 0644, "error", "pieces");
NUMBER(capture_first, 0644);
NUMBER(streamoff_frees, 0644);

WORD(force_key, 0644, "obey", "none", "ignored");
WORD(bitrate, 0644, "obey", "frozen", "ignored", "busy", "refused");
WORD(rc, 0644, "on", "off", "none");
NUMBER(bitrate_min, 0644);
NUMBER(bitrate_max, 0644);
NUMBER(bitrate_def, 0644);
WORD(controls, 0644, "now", "queued");
NUMBER(gop_ctrls, 0644);
NUMBER(header_ctrls, 0644);
WORD(header_mode, 0644, "separate", "joined");
NUMBER(repeat, 0644);
WORD(headers, 0644, "obey", "ignored");
NUMBER(level_def, 0644);
NUMBER(level_max, 0644);
NUMBER(level_check, 0644);
WORD(parm, 0644, "obey", "ignored");
NUMBER(fps_def, 0644);
NUMBER(fps_max, 0644);
NUMBER(need_parm, 0644);

WORD(stamps, 0644, "copy", "zero", "offset", "ms", "own");
WORD(keyflag, 0644, "right", "never", "always", "wrong");
WORD(last, 0644, "frame", "empty", "unmarked", "never");
WORD(eos, 0644, "sent", "none", "silent");
WORD(drain, 0644, "ends", "never");
NUMBER(restart, 0644);
NUMBER(garbage, 0644);
NUMBER(latency, 0644);
NUMBER(skip_every, 0644);
NUMBER(headers_only, 0644);

NUMBER(hang, 0644);
NUMBER(hang_bitrate, 0644);
NUMBER(hang_fps, 0644);
NUMBER(hang_gop, 0644);
NUMBER(fail, 0644);
NUMBER(fail_every, 0644);
NUMBER(fail_fatal, 0644);
NUMBER(delay_ms, 0644);
NUMBER(fatal_after, 0644);
WORD(fatal, 0644, "queue", "ioctls", "device");

/* One of a number of faults to come; negative is for ever. Called with job_lock held. */
bool vh_countdown(int *n)
{
	if (*n > 0)
		(*n)--;
	else if (!*n)
		return false;
	return true;
}

static u32 formats[8];
static u32 n_formats;

/* The raw formats, of which there is at least one. */
u32 vh_formats(const u32 **list)
{
	*list = formats;
	return n_formats;
}

/* Reads the list of formats. */
int vh_quirks_init(void)
{
	static const u32 known[] = { V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_YUV420, V4L2_PIX_FMT_NV12M, V4L2_PIX_FMT_YUV420M };
	char text[sizeof(quirk.formats)], *rest = text, *one;
	u32 i, code;

	n_formats = 0;
	strscpy(text, quirk.formats, sizeof(text));
	while ((one = strsep(&rest, ",")) != NULL) {
		code = strlen(one) == 4 ? v4l2_fourcc(one[0], one[1], one[2], one[3]) : 0;
		for (i = 0; i < ARRAY_SIZE(known) && known[i] != code; i++)
			;
		if (i == ARRAY_SIZE(known) || n_formats == ARRAY_SIZE(formats) || (quirk.api == API_SPLANE && i >= 2))
			return -EINVAL;
		formats[n_formats++] = code;
	}
	return 0;
}
