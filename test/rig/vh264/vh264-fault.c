// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that fail, are slow, or never return, by the parameter "ioctl": a list of
 * CALL:WHAT[:TIMES], where WHAT is an errno's name, NNNms, hang (a signal ends it) or
 * stuck (nothing ends it but another value of the parameter). And devices that die.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "vh264-core.h"

enum { FAIL, SLOW, HANG, STUCK };

struct fault {
	unsigned int op;
	int what, arg, left;	/* left: how often, negative is for ever */
};

static DEFINE_MUTEX(lock);
static struct fault faults[16];
static int n_faults;
static char text[256];
static int round;	/* how often the list was written */
static DECLARE_WAIT_QUEUE_HEAD(written);

static const struct {
	const char *name;
	unsigned int op;
} ops[] = {
	{ "open", OP_OPEN }, { "close", OP_CLOSE }, { "poll", OP_POLL }, { "mmap", OP_MMAP }, { "all", OP_ALL },
#define OP(name, call) { name, _IOC_NR(VIDIOC_##call) }
	OP("querycap", QUERYCAP), OP("enum_fmt", ENUM_FMT), OP("g_fmt", G_FMT), OP("s_fmt", S_FMT), OP("try_fmt", TRY_FMT),
	OP("enum_framesizes", ENUM_FRAMESIZES), OP("reqbufs", REQBUFS), OP("create_bufs", CREATE_BUFS),
	OP("querybuf", QUERYBUF), OP("qbuf", QBUF), OP("dqbuf", DQBUF), OP("expbuf", EXPBUF),
	OP("streamon", STREAMON), OP("streamoff", STREAMOFF), OP("g_parm", G_PARM), OP("s_parm", S_PARM),
	OP("g_selection", G_SELECTION), OP("s_selection", S_SELECTION), OP("g_crop", G_CROP), OP("s_crop", S_CROP),
	OP("g_ctrl", G_CTRL), OP("s_ctrl", S_CTRL), OP("g_ext_ctrls", G_EXT_CTRLS), OP("s_ext_ctrls", S_EXT_CTRLS),
	OP("queryctrl", QUERYCTRL), OP("query_ext_ctrl", QUERY_EXT_CTRL), OP("encoder_cmd", ENCODER_CMD),
	OP("subscribe_event", SUBSCRIBE_EVENT), OP("dqevent", DQEVENT),
};

static const struct {
	const char *name;
	int value;
} errors[] = {
#define E(name) { #name, name }
	E(EPERM), E(EINTR), E(EIO), E(EAGAIN), E(ENOMEM), E(EACCES), E(EFAULT), E(EBUSY), E(ENODEV), E(EINVAL), E(ENOTTY),
	E(ENOSPC), E(EPIPE), E(ESRCH), E(EPROTO), E(ETIMEDOUT),
};

static int read_what(struct fault *f, const char *s)
{
	int i, end = 0;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		if (!strcmp(s, errors[i].name)) {
			f->what = FAIL;
			f->arg = errors[i].value;
			return 0;
		}
	}
	if (!strcmp(s, "stuck"))
		f->what = STUCK;
	else if (!strcmp(s, "hang"))
		f->what = HANG;
	else if (sscanf(s, "%dms%n", &f->arg, &end) == 1 && end && !s[end])
		f->what = SLOW;
	else
		return -EINVAL;
	return 0;
}

static int read_fault(struct fault *f, char *s)
{
	char *name = strsep(&s, ":"), *what = strsep(&s, ":");
	int i;

	f->left = -1;
	if (!what || (s && kstrtoint(s, 10, &f->left)))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(name, ops[i].name)) {
			f->op = ops[i].op;
			return read_what(f, what);
		}
	}
	return -EINVAL;
}

static int set_faults(const char *s, const struct kernel_param *kp)
{
	struct fault list[ARRAY_SIZE(faults)];
	char copy[sizeof(text)], *rest, *one;
	int n = 0;

	if (strscpy(copy, s, sizeof(copy)) < 0)
		return -E2BIG;
	rest = strim(copy);
	while ((one = strsep(&rest, ", ")) != NULL) {
		if (!*one)
			continue;
		if (n == ARRAY_SIZE(list) || read_fault(&list[n++], one))
			return -EINVAL;
	}
	mutex_lock(&lock);
	memcpy(faults, list, n * sizeof(list[0]));
	n_faults = n;
	strscpy(text, s, sizeof(text));
	round++;
	mutex_unlock(&lock);
	wake_up_all(&written);
	return 0;
}

static int get_faults(char *s, const struct kernel_param *kp)
{
	return sysfs_emit(s, "%s\n", strim(text));
}

static const struct kernel_param_ops faults_ops = { .set = set_faults, .get = get_faults };
module_param_cb(ioctl, &faults_ops, NULL, 0644);

/* The fault of a call, counted; what is -1 when there is none. */
static struct fault take(unsigned int op, int *r)
{
	struct fault found = { .what = -1 };
	int i;

	mutex_lock(&lock);
	*r = round;
	for (i = 0; i < n_faults; i++) {
		struct fault *f = &faults[i];

		if (!f->left || (f->op != op && (f->op != OP_ALL || op >= OP_OPEN)))
			continue;
		if (f->left > 0)
			f->left--;
		found = *f;
		break;
	}
	mutex_unlock(&lock);
	return found;
}

/* Does to a call what the list says. held is the device's lock, for calls that are made without it:
 * while one is stuck nobody else gets past it, as with real drivers. */
int vh_fault(struct mutex *held, unsigned int op)
{
	struct fault f;
	int r;

	f = take(op, &r);
	switch (f.what) {
	case FAIL:
		return -f.arg;
	case SLOW:
		msleep(f.arg);
		break;
	case HANG:
		if (wait_event_interruptible(written, READ_ONCE(round) != r))
			return -EINTR;
		break;
	case STUCK:
		if (held)
			mutex_lock(held);
		wait_event(written, READ_ONCE(round) != r);
		if (held)
			mutex_unlock(held);
		break;
	}
	return 0;
}

/* Each writing sends a source change event to whoever listens, which can be done unless it is 0. */
static int set_event(const char *s, const struct kernel_param *kp)
{
	static const struct v4l2_event change = {
		.type = V4L2_EVENT_SOURCE_CHANGE, .u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION,
	};

	int r = kstrtoint(s, 10, &quirk.source_change);

	if (!r && vh && quirk.source_change)
		v4l2_event_queue(&vh->vfd, &change);
	return r;
}

static const struct kernel_param_ops event_ops = { .set = set_event, .get = param_get_int };
module_param_cb(source_change, &event_ops, &quirk.source_change, 0644);

static void die(struct vh_ctx *c)
{
	c->dead = quirk.fatal != FATAL_QUEUE;
	vb2_queue_error(v4l2_m2m_get_src_vq(c->fh.m2m_ctx));
	vb2_queue_error(v4l2_m2m_get_dst_vq(c->fh.m2m_ctx));
}

/* What a driver does that has lost its firmware: this client's session, or everybody's. */
void vh_fatal(struct vh_ctx *c)
{
	unsigned long flags;
	struct v4l2_fh *fh;

	if (quirk.fatal != FATAL_DEVICE) {
		die(c);
		return;
	}
	spin_lock_irqsave(&vh->vfd.fh_lock, flags);
	list_for_each_entry(fh, &vh->vfd.fh_list, list)
		die(container_of(fh, struct vh_ctx, fh));
	spin_unlock_irqrestore(&vh->vfd.fh_lock, flags);
}
