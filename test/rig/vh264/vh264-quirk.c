// SPDX-License-Identifier: GPL-2.0
/*
 * How the device misbehaves: the module's parameters, in /sys/module/vh264/parameters.
 * README.md beside has the table. Those that are not writable are for modprobe.
 */
#include <linux/module.h>
#include <linux/string.h>
#include "vh264-core.h"

struct vh_quirks quirk = {
	.align = 16, .max_w = 1920, .max_h = 1088,
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

NUMBER(hang, 0644);
NUMBER(fail, 0644);
NUMBER(fail_every, 0644);
NUMBER(busy, 0644);
NUMBER(delay_ms, 0644);

WORD(engine, 0644, "lossless", "openh264");
WORD(api, 0444, "mplane", "splane");
NUMBER(align, 0644);
NUMBER(max_w, 0444);
NUMBER(max_h, 0444);
WORD(force_key, 0644, "obey", "none", "ignored");

/* One of a number of faults to come; negative is for ever. Called with job_lock held. */
bool vh_countdown(int *n)
{
	if (*n > 0)
		(*n)--;
	else if (!*n)
		return false;
	return true;
}
