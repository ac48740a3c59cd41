// SPDX-License-Identifier: GPL-2.0
/*
 * The queues. A job turns one OUTPUT buffer into any number of pieces of coded data,
 * which wait in a list of their own for CAPTURE buffers: so a frame can have no
 * buffer, two, or one that comes later.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-vmalloc.h>
#include "vh264-core.h"

struct vh_made *vh_made_new(u32 size)
{
	struct vh_made *e = kvzalloc(struct_size(e, data, size), GFP_KERNEL);

	if (e)
		e->size = size;
	return e;
}

/* Called with made_lock held: the stream ends behind what has been made. */
static void mark_last(struct vh_ctx *c)
{
	struct vh_made *e;

	if (quirk.drain == DRAIN_NEVER)
		return;
	if (c->n_made && (quirk.last == LAST_FRAME || quirk.last == LAST_NEVER)) {
		e = list_last_entry(&c->made, struct vh_made, list);
	} else if (quirk.last == LAST_NEVER) {
		v4l2_m2m_mark_stopped(c->fh.m2m_ctx);
		vh_eos(c);
		return;
	} else {
		e = c->end;
		c->end = NULL;
		if (WARN_ON(!e))
			return;
		list_add_tail(&e->list, &c->made);
		c->n_made++;
	}
	e->last = true;
}

void vh_purge(struct vh_ctx *c)
{
	struct vh_made *e, *n;
	LIST_HEAD(gone);

	spin_lock(&c->made_lock);
	list_splice_init(&c->made, &gone);
	c->n_made = 0;
	spin_unlock(&c->made_lock);
	list_for_each_entry_safe(e, n, &gone, list)
		kvfree(e);
}

static u64 stamp(const struct vh_ctx *c, const struct vh_made *e)
{
	if (e->foreign)
		return 0;
	switch (quirk.stamps) {
	case STAMP_ZERO:
		return 0;
	case STAMP_OFFSET:
		return e->stamp + 10 * NSEC_PER_SEC;
	case STAMP_MS:
		return div_u64(e->stamp, NSEC_PER_MSEC) * NSEC_PER_MSEC;
	case STAMP_OWN:
		return div_u64((u64)c->n_cap * c->interval.numerator * NSEC_PER_SEC, c->interval.denominator);
	}
	return e->stamp;
}

static bool keyflag(const struct vh_made *e)
{
	bool key = e->flags & VH264_KEY;

	switch (quirk.keyflag) {
	case FLAG_NEVER:
		return false;
	case FLAG_ALWAYS:
		return true;
	case FLAG_WRONG:
		return !key;
	}
	return key;
}

/* Gives a piece, or as much of it as there is room for, to a CAPTURE buffer; true when nothing is
 * left of it. */
static bool fill(struct vh_ctx *c, struct vh_made *e, struct vb2_v4l2_buffer *dst)
{
	u32 room = vb2_plane_size(&dst->vb2_buf, 0), n = e->size - e->off;
	bool bad = e->flags & VH264_ERROR, whole = true;

	if (n > room) {
		whole = quirk.overflow != OVERFLOW_PIECES;
		bad = whole;
		n = whole ? 0 : room;
	}
	if (n)
		memcpy(vb2_plane_vaddr(&dst->vb2_buf, 0), e->data + e->off, n);
	e->off += n;
	vb2_set_plane_payload(&dst->vb2_buf, 0, n);
	dst->vb2_buf.timestamp = stamp(c, e);
	dst->timecode = e->timecode;
	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME | V4L2_BUF_FLAG_LAST |
			V4L2_BUF_FLAG_TIMECODE | V4L2_BUF_FLAG_TSTAMP_SRC_MASK);
	dst->flags |= e->buf_flags & (V4L2_BUF_FLAG_TIMECODE | V4L2_BUF_FLAG_TSTAMP_SRC_MASK);
	if (e->size)
		dst->flags |= keyflag(e) ? V4L2_BUF_FLAG_KEYFRAME : V4L2_BUF_FLAG_PFRAME;
	dst->field = V4L2_FIELD_NONE;
	dst->sequence = c->n_cap++;
	if (e->last && whole) {
		if (quirk.last == LAST_FRAME || quirk.last == LAST_EMPTY)
			dst->flags |= V4L2_BUF_FLAG_LAST;
		v4l2_m2m_mark_stopped(c->fh.m2m_ctx);
		vh_eos(c);
	}
	v4l2_m2m_buf_done(dst, bad ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
	return whole;
}

/* Called with made_lock held. */
static bool due(struct vh_ctx *c)
{
	u32 keep = c->fh.m2m_ctx->is_draining ? 0 : max(quirk.latency, 0);

	return c->n_made > keep;
}

static void deliver(struct vh_ctx *c)
{
	struct vb2_v4l2_buffer *dst;
	struct vh_made *e;

	for (;;) {
		dst = NULL;
		spin_lock(&c->made_lock);
		if (due(c))
			dst = v4l2_m2m_dst_buf_remove(c->fh.m2m_ctx);
		if (dst) {
			e = list_first_entry(&c->made, struct vh_made, list);
			list_del(&e->list);
			c->n_made--;
		}
		spin_unlock(&c->made_lock);
		if (!dst)
			return;
		if (fill(c, e, dst)) {
			kvfree(e);
			continue;
		}
		spin_lock(&c->made_lock);
		list_add(&e->list, &c->made);
		c->n_made++;
		spin_unlock(&c->made_lock);
	}
}

/* Ends the running job's frame with what was made of it. Called without job_lock. */
void vh_finish(struct vh_ctx *c, struct list_head *made, bool error)
{
	struct v4l2_m2m_ctx *m = c->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src;
	struct vh_made *e;
	bool last;

	spin_lock(&c->made_lock);
	src = v4l2_m2m_src_buf_remove(m);
	last = v4l2_m2m_is_last_draining_src_buf(m, src);
	list_for_each_entry(e, made, list) {
		e->stamp = src->vb2_buf.timestamp;
		e->timecode = src->timecode;
		e->buf_flags = src->flags;
		c->n_made++;
	}
	list_splice_tail_init(made, &c->made);
	if (last) {
		m->last_src_buf = NULL;
		mark_last(c);
	}
	spin_unlock(&c->made_lock);
	src->sequence = c->n_out++;
	v4l2_m2m_buf_done(src, error ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
	deliver(c);
	v4l2_m2m_job_finish(c->dev->m2m, m);
}

/* ENC_CMD_STOP while both queues stream. */
int vh_stop(struct vh_ctx *c)
{
	struct v4l2_m2m_ctx *m = c->fh.m2m_ctx;
	struct vh_made *end = vh_made_new(0);	/* spinning from here on */
	int r = 0;

	if (!end)
		return -ENOMEM;
	spin_lock(&c->made_lock);
	if (m->is_draining) {
		r = -EBUSY;
	} else if (!m->has_stopped) {
		swap(c->end, end);
		m->is_draining = true;
		m->last_src_buf = v4l2_m2m_last_src_buf(m);
		if (!m->last_src_buf)
			mark_last(c);
	}
	spin_unlock(&c->made_lock);
	kvfree(end);
	v4l2_m2m_try_schedule(m);
	return r;
}

/* ---- m2m ---- */

/* Called with made_lock held. */
static bool can_encode(struct vh_ctx *c)
{
	struct v4l2_m2m_ctx *m = c->fh.m2m_ctx;

	if (m->has_stopped || (m->is_draining && !m->last_src_buf))
		return false;
	return !due(c) && v4l2_m2m_num_src_bufs_ready(m) && v4l2_m2m_num_dst_bufs_ready(m);
}

static int job_ready(void *priv)
{
	struct vh_ctx *c = priv;
	bool r;

	spin_lock(&c->made_lock);
	r = (due(c) && v4l2_m2m_num_dst_bufs_ready(c->fh.m2m_ctx)) || can_encode(c);
	spin_unlock(&c->made_lock);
	return r;
}

/* A first buffer that belongs to no frame. */
static void add_garbage(struct vh_ctx *c)
{
	struct vh_made *e = vh_made_new(clamp(quirk.garbage, 1, 65536));
	u32 i;

	c->garbage = false;
	if (!e)
		return;
	e->foreign = true;
	for (i = 0; i < e->size; i++)
		e->data[i] = 0x5a + i * 7;
	spin_lock(&c->made_lock);
	list_add_tail(&e->list, &c->made);
	c->n_made++;
	spin_unlock(&c->made_lock);
}

static void device_run(void *priv)
{
	struct vh_ctx *c = priv;
	bool go;

	if (c->garbage)
		add_garbage(c);
	deliver(c);
	spin_lock(&c->made_lock);
	go = can_encode(c);
	spin_unlock(&c->made_lock);
	if (go)
		vh_engine_start(c);
	else
		v4l2_m2m_job_finish(c->dev->m2m, c->fh.m2m_ctx);
}

/* The frame stays queued: stopping the stream returns it, or it is encoded later. */
static void job_abort(void *priv)
{
	struct vh_ctx *c = priv;

	if (vh_engine_abort(c))
		v4l2_m2m_job_finish(c->dev->m2m, c->fh.m2m_ctx);
}

static const struct v4l2_m2m_ops m2m_ops = { .device_run = device_run, .job_ready = job_ready, .job_abort = job_abort };

struct v4l2_m2m_dev *vh_m2m_init(void)
{
	return v4l2_m2m_init(&m2m_ops);
}

/* ---- vb2 ---- */

static int queue_setup(struct vb2_queue *q, unsigned int *n, unsigned int *planes,
		       unsigned int sizes[], struct device *alloc[])
{
	struct vh_ctx *c = vb2_get_drv_priv(q);
	bool out = V4L2_TYPE_IS_OUTPUT(q->type);
	u32 i, want = out ? c->planes : 1, least = max(out ? quirk.min_out : quirk.min_cap, 1);

	if (!out && !c->coded_size)
		return -EINVAL;
	if (*planes && *planes != want)
		return -EINVAL;
	for (i = 0; i < want; i++) {
		u32 need = out ? c->plane_size[i] : c->coded_size;

		if (*planes && sizes[i] < need)
			return -EINVAL;
		if (!*planes)
			sizes[i] = need;
	}
	if (!*planes)
		*n = max(*n, least);
	*planes = want;
	return 0;
}

static int buf_prepare(struct vb2_buffer *b)
{
	struct vh_ctx *c = vb2_get_drv_priv(b->vb2_queue);
	u32 i;

	if (V4L2_TYPE_IS_CAPTURE(b->type)) {
		if (vb2_plane_size(b, 0) < c->coded_size)
			return -EINVAL;
		vb2_set_plane_payload(b, 0, 0);
		return 0;
	}
	for (i = 0; i < c->planes; i++)
		if (vb2_plane_size(b, i) < c->plane_size[i])
			return -EINVAL;
	to_vb2_v4l2_buffer(b)->field = V4L2_FIELD_NONE;
	return 0;
}

static void buf_queue(struct vb2_buffer *b)
{
	struct vb2_v4l2_buffer *v = to_vb2_v4l2_buffer(b);
	struct vh_ctx *c = vb2_get_drv_priv(b->vb2_queue);

	if (V4L2_TYPE_IS_CAPTURE(b->type) && vb2_is_streaming(b->vb2_queue) &&
	    v4l2_m2m_dst_buf_is_last(c->fh.m2m_ctx)) {
		v->field = V4L2_FIELD_NONE;
		v->sequence = c->n_cap++;
		v4l2_m2m_last_buffer_done(c->fh.m2m_ctx, v);
		vh_eos(c);
		return;
	}
	if (V4L2_TYPE_IS_OUTPUT(b->type)) {
		vh_buf_of(v)->bitrate = vh_bitrate(c);
		vh_buf_of(v)->key = c->want_key;
		c->want_key = false;
	}
	v4l2_m2m_buf_queue(c->fh.m2m_ctx, v);
}

static int start_streaming(struct vb2_queue *q, unsigned int n)
{
	struct vh_ctx *c = vb2_get_drv_priv(q);

	v4l2_m2m_update_start_streaming_state(c->fh.m2m_ctx, q);
	/* Either way a new stream begins, with an IDR picture and its parameter sets. */
	c->force_key = true;
	c->headed = false;
	if (V4L2_TYPE_IS_OUTPUT(q->type)) {
		c->n_out = 0;
		c->first_bitrate = c->bitrate;
	} else {
		c->n_cap = 0;
		c->garbage = quirk.garbage > 0;
	}
	return 0;
}

static struct vb2_queue *other(struct vh_ctx *c, struct vb2_queue *q)
{
	return V4L2_TYPE_IS_OUTPUT(q->type) ? v4l2_m2m_get_dst_vq(c->fh.m2m_ctx) : v4l2_m2m_get_src_vq(c->fh.m2m_ctx);
}

static void stop_streaming(struct vb2_queue *q)
{
	struct vh_ctx *c = vb2_get_drv_priv(q);
	struct vb2_v4l2_buffer *v;

	vh_purge(c);
	v4l2_m2m_update_stop_streaming_state(c->fh.m2m_ctx, q);
	for (;;) {
		v = V4L2_TYPE_IS_OUTPUT(q->type) ? v4l2_m2m_src_buf_remove(c->fh.m2m_ctx) :
						   v4l2_m2m_dst_buf_remove(c->fh.m2m_ctx);
		if (!v)
			break;
		v4l2_m2m_buf_done(v, VB2_BUF_STATE_ERROR);
	}
	if (V4L2_TYPE_IS_OUTPUT(q->type) && v4l2_m2m_has_stopped(c->fh.m2m_ctx))
		vh_eos(c);
	if (quirk.streamoff_frees && !vb2_is_streaming(other(c, q)))
		c->freed = true;
}

static const struct vb2_ops vb2_ops = {
	.queue_setup = queue_setup, .buf_prepare = buf_prepare, .buf_queue = buf_queue,
	.start_streaming = start_streaming, .stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare, .wait_finish = vb2_ops_wait_finish,
};

/* Memory that takes nobody else's, as far as errno tells. */
static struct vb2_mem_ops refusing;

static void *refuse(struct vb2_buffer *b, struct device *dev, struct dma_buf *d, unsigned long size)
{
	return ERR_PTR(-EINVAL);
}

void vh_queue_setup_ops(void)
{
	refusing = vb2_vmalloc_memops;
	refusing.attach_dmabuf = refuse;
}

int vh_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst)
{
	struct vh_ctx *c = priv;
	bool mplane = quirk.api == API_MPLANE;
	struct vb2_queue *q;
	int i, r;

	src->type = mplane ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	dst->type = mplane ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	for (i = 0; i < 2; i++) {
		q = i ? dst : src;
		q->io_modes = VB2_MMAP | VB2_DMABUF;
		q->drv_priv = c;
		q->ops = &vb2_ops;
		q->mem_ops = &vb2_vmalloc_memops;
		q->dev = c->dev->mdev.dev;
		q->buf_struct_size = sizeof(struct vh_buf);
		q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
		q->lock = &c->dev->lock;
		if (q == src && quirk.dmabuf == DMABUF_CONTIG)
			q->mem_ops = &vb2_dma_contig_memops;
		if (q == src && quirk.dmabuf == DMABUF_REFUSED)
			q->mem_ops = &refusing;
		if (q == src && quirk.dmabuf == DMABUF_NONE)
			q->io_modes = VB2_MMAP;
		r = vb2_queue_init(q);
		if (r)
			return r;
	}
	return 0;
}
