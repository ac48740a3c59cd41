// SPDX-License-Identifier: GPL-2.0
/* The engine's side: /dev/vh264, behind which a program does the work. */
#include <linux/delay.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "vh264-core.h"

/* fail ends the job with a damaged buffer. */
static void fail(struct vh_ctx *c)
{
	struct vh_made *e = vh_made_new(0);
	LIST_HEAD(made);

	if (e) {
		e->flags = VH264_ERROR;
		list_add(&e->list, &made);
	}
	vh_finish(c, &made, true);
	if (quirk.fail_fatal)
		vh_fatal(c);
}

static bool slower(const struct vh_ctx *c, int fps)
{
	return fps > 0 && c->interval.denominator < (u64)fps * c->interval.numerator;
}

/* What makes this job one that never ends. */
static bool hangs(struct vh_ctx *c)
{
	return vh_countdown(&quirk.hang) || (quirk.hang_bitrate > 0 && vh_bitrate(c) < quirk.hang_bitrate) ||
	       slower(c, quirk.hang_fps) || (quirk.hang_gop > 0 && c->gop == quirk.hang_gop);
}

static bool fails(struct vh_ctx *c)
{
	return vh_countdown(&quirk.fail) || (quirk.fail_every > 0 && c->jobs % quirk.fail_every == 0) ||
	       (quirk.need_parm > 0 && !c->paced && c->jobs > quirk.need_parm);
}

/* The bit rate that the engine works at. */
u32 vh_bitrate(struct vh_ctx *c)
{
	if (!c->rc)
		return 0;	/* a constant quantiser */
	switch (quirk.bitrate) {
	case RATE_FROZEN:
		return c->first_bitrate ?: c->bitrate;
	case RATE_IGNORED:
		return quirk.bitrate_def;
	}
	return c->bitrate;
}

static bool demands_key(struct vh_ctx *c)
{
	return c->force_key || vh_buf_of(v4l2_m2m_next_src_buf(c->fh.m2m_ctx))->key;
}

/* Begins the job. */
void vh_engine_start(struct vh_ctx *c)
{
	enum { GO, NEVER, SPOIL, SKIP, DIE } how = GO;
	struct vh_dev *d = c->dev;
	LIST_HEAD(none);

	mutex_lock(&d->job_lock);
	d->job = c;
	d->seq++;
	c->jobs++;
	if (quirk.fatal_after > 0 && --quirk.fatal_after == 0)
		how = DIE;
	else if (hangs(c))
		how = NEVER;
	else if (fails(c))
		how = SPOIL;
	else if (quirk.skip_every > 0 && c->jobs % quirk.skip_every == 0 && !demands_key(c))
		how = SKIP;
	/* A lost job ends with the stream. */
	d->state = how == GO ? JOB_WAITING : how == NEVER || how == DIE ? JOB_LOST : JOB_NONE;
	mutex_unlock(&d->job_lock);
	switch (how) {
	case GO:
		wake_up(&d->wq);
		break;
	case NEVER:
		break;
	case SPOIL:
		fail(c);
		break;
	case SKIP:
		vh_finish(c, &none, false);
		break;
	case DIE:
		vh_fatal(c);
		break;
	}
}

/* Takes the job back from the engine; false when it has ended already. */
bool vh_engine_abort(struct vh_ctx *c)
{
	struct vh_dev *d = c->dev;
	bool mine;

	mutex_lock(&d->job_lock);
	mine = d->state != JOB_NONE && d->job == c;
	if (mine)
		d->state = JOB_NONE;
	mutex_unlock(&d->job_lock);
	return mine;
}

static int helper_open(struct inode *i, struct file *f)
{
	int r = 0;

	mutex_lock(&vh->job_lock);
	if (vh->helper)
		r = -EBUSY;
	else
		vh->helper = true;
	mutex_unlock(&vh->job_lock);
	return r;
}

static int helper_release(struct inode *i, struct file *f)
{
	struct vh_ctx *c = NULL;

	mutex_lock(&vh->job_lock);
	vh->helper = false;
	if (vh->state == JOB_TAKEN) {
		c = vh->job;
		vh->state = JOB_NONE;
	}
	mutex_unlock(&vh->job_lock);
	if (c)
		fail(c);
	return 0;
}

static void describe(struct vh_ctx *c, struct vh264_job *j)
{
	bool planar = c->fourcc == V4L2_PIX_FMT_YUV420 || c->fourcc == V4L2_PIX_FMT_YUV420M;
	struct vh_buf *src = vh_buf_of(v4l2_m2m_next_src_buf(c->fh.m2m_ctx));
	struct v4l2_fract t = c->interval;

	if (quirk.parm == IGNORED)
		t = (struct v4l2_fract){ 1, quirk.fps_def };
	*j = (struct vh264_job){
		.magic = VH264_MAGIC, .ctx = c->id, .seq = vh->seq, .flags = demands_key(c) ? VH264_KEY : 0,
		.width = c->width, .height = c->height, .crop_w = c->crop.width, .crop_h = c->crop.height,
		.stride = c->stride, .fourcc = planar ? V4L2_PIX_FMT_YUV420 : V4L2_PIX_FMT_NV12,
		.bitrate = quirk.controls == QUEUED ? src->bitrate : vh_bitrate(c), .gop = c->gop,
		.fps_num = t.denominator, .fps_den = t.numerator,
		.engine = quirk.engine, .level = vh_level(c), .profile = c->profile,
		.size = c->stride * c->height * 3 / 2,
	};
}

static int copy_frame(struct vh_ctx *c, char __user *to, u32 size)
{
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(c->fh.m2m_ctx);
	u32 i, n;

	for (i = 0; i < c->planes; i++) {
		const void *from = vb2_plane_vaddr(&src->vb2_buf, i);

		n = min(c->plane_data[i], size);
		if (!from || copy_to_user(to, from, n))
			return -EFAULT;
		to += n;
		size -= n;
	}
	return 0;
}

static ssize_t helper_read(struct file *f, char __user *to, size_t n, loff_t *o)
{
	struct vh264_job j;
	struct vh_ctx *c;
	ssize_t r;

	for (;;) {
		mutex_lock(&vh->job_lock);
		if (vh->state == JOB_WAITING)
			break;
		mutex_unlock(&vh->job_lock);
		if (f->f_flags & O_NONBLOCK)
			return -EAGAIN;
		r = wait_event_interruptible(vh->wq, READ_ONCE(vh->state) == JOB_WAITING);
		if (r)
			return r;
	}
	c = vh->job;
	describe(c, &j);
	r = -EINVAL;
	if (n >= sizeof(j) + j.size) {
		r = -EFAULT;
		if (!copy_to_user(to, &j, sizeof(j)) && !copy_frame(c, to + sizeof(j), j.size)) {
			r = sizeof(j) + j.size;
			c->force_key = false;
			vh->state = JOB_TAKEN;
		}
	}
	mutex_unlock(&vh->job_lock);
	return r;
}

/* Adds n bytes of the engine's data to what was made. */
static int add(struct list_head *made, const char __user *from, u32 n, u32 flags)
{
	struct vh_made *e = vh_made_new(n);

	if (!e)
		return -ENOMEM;
	list_add_tail(&e->list, made);
	e->flags = flags;
	return copy_from_user(e->data, from, n) ? -EFAULT : 0;
}

/* Makes pieces of the engine's data, with parameter sets where the driver puts them. */
static int take_result(struct vh_ctx *c, const struct vh264_result *w, const char __user *from, struct list_head *made)
{
	const char __user *rest = from + w->head;
	u32 size = w->size - w->head;
	int r;

	if (w->flags & VH264_NONE)
		return 0;
	if (!w->head)
		return add(made, from, w->size, w->flags);
	if (vh_countdown(&quirk.headers_only)) {
		c->force_key = true;
		return add(made, from, w->head, w->flags & ~VH264_KEY);
	}
	if (c->headed && !c->repeat)
		return add(made, rest, size, w->flags);
	c->headed = true;
	if (!c->separate)
		return add(made, from, w->size, w->flags);
	r = add(made, from, w->head, w->flags & ~VH264_KEY);
	return r ? r : add(made, rest, size, w->flags);
}

static ssize_t helper_write(struct file *f, const char __user *from, size_t n, loff_t *o)
{
	struct vh264_result w;
	struct vh_made *e, *t;
	struct vh_ctx *c;
	LIST_HEAD(made);
	int r = 0;

	if (n < sizeof(w) || copy_from_user(&w, from, sizeof(w)))
		return -EFAULT;
	if (w.magic != VH264_MAGIC || n != sizeof(w) + w.size || w.head > w.size)
		return -EINVAL;
	from += sizeof(w);
	if (quirk.delay_ms > 0)
		msleep(quirk.delay_ms);
	mutex_lock(&vh->job_lock);
	c = vh->job;
	if (vh->state != JOB_TAKEN || w.seq != vh->seq || w.ctx != c->id)
		r = -ESTALE;	/* the job was aborted meanwhile */
	else
		r = take_result(c, &w, from, &made);
	if (!r)
		vh->state = JOB_NONE;
	mutex_unlock(&vh->job_lock);
	if (!r)
		vh_finish(c, &made, w.flags & VH264_ERROR);
	list_for_each_entry_safe(e, t, &made, list)
		kvfree(e);
	return r ? r : n;
}

static __poll_t helper_poll(struct file *f, poll_table *p)
{
	poll_wait(f, &vh->wq, p);
	return EPOLLOUT | EPOLLWRNORM | (READ_ONCE(vh->state) == JOB_WAITING ? EPOLLIN | EPOLLRDNORM : 0);
}

static const struct file_operations helper_fops = {
	.owner = THIS_MODULE, .open = helper_open, .release = helper_release,
	.read = helper_read, .write = helper_write, .poll = helper_poll,
};
static struct miscdevice misc = { .minor = MISC_DYNAMIC_MINOR, .name = "vh264", .fops = &helper_fops, .mode = 0600 };

int vh_engine_register(void)
{
	return misc_register(&misc);
}

void vh_engine_unregister(void)
{
	misc_deregister(&misc);
}
