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
}

/* Begins the job; false when there is nothing to wait for. */
bool vh_engine_start(struct vh_ctx *c)
{
	struct vh_dev *d = c->dev;
	bool spoil = false;

	mutex_lock(&d->job_lock);
	d->job = c;
	d->seq++;
	d->state = JOB_WAITING;
	c->jobs++;
	if (vh_countdown(&quirk.hang)) {
		d->state = JOB_TAKEN;	/* by nobody */
	} else if (vh_countdown(&quirk.fail) || (quirk.fail_every > 0 && c->jobs % quirk.fail_every == 0)) {
		d->state = JOB_NONE;
		spoil = true;
	}
	mutex_unlock(&d->job_lock);
	if (spoil)
		fail(c);
	else
		wake_up(&d->wq);
	return true;
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
	bool planar = c->fourcc == V4L2_PIX_FMT_YUV420;

	*j = (struct vh264_job){
		.magic = VH264_MAGIC, .ctx = c->id, .seq = vh->seq, .flags = c->force_key ? VH264_KEY : 0,
		.width = c->width, .height = c->height, .crop_w = c->crop.width, .crop_h = c->crop.height,
		.stride = c->stride, .fourcc = planar ? V4L2_PIX_FMT_YUV420 : V4L2_PIX_FMT_NV12,
		.bitrate = c->bitrate, .gop = c->gop,
		.fps_num = c->interval.denominator, .fps_den = c->interval.numerator,
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

		n = min(c->plane_size[i], size);
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
	if (!(w.flags & VH264_NONE))
		r = add(&made, from, w.size, w.flags);
	mutex_lock(&vh->job_lock);
	c = vh->job;
	if (!r && (vh->state != JOB_TAKEN || w.seq != vh->seq || w.ctx != c->id))
		r = -ESTALE;	/* the job was aborted meanwhile */
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
