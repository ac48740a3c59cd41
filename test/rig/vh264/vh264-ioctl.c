// SPDX-License-Identifier: GPL-2.0
/* Formats, selection, rate and commands. */
#include <linux/log2.h>
#include <linux/slab.h>
#include "vh264-core.h"

static const u32 raw_formats[] = { V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_YUV420 };

static u32 known(u32 fourcc)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(raw_formats); i++)
		if (raw_formats[i] == fourcc)
			return fourcc;
	return raw_formats[0];
}

void vh_set_raw(struct vh_ctx *c, u32 fourcc, u32 w, u32 h)
{
	u32 a = rounddown_pow_of_two(clamp(quirk.align, 2, 64));

	c->fourcc = known(fourcc);
	c->width = clamp(ALIGN(w, a), 32u, ALIGN((u32)quirk.max_w, a));
	c->height = clamp(ALIGN(h, a), 32u, ALIGN((u32)quirk.max_h, a));
	c->stride = c->width;
	c->planes = 1;
	c->plane_size[0] = c->stride * c->height * 3 / 2;
	c->crop = (struct v4l2_rect){ 0, 0, min(w, c->width), min(h, c->height) };
	c->coded_size = max(c->plane_size[0] + (c->plane_size[0] >> 4) + 4096, 65536u);
}

void vh_eos(struct vh_ctx *c)
{
	static const struct v4l2_event eos = { .type = V4L2_EVENT_EOS };

	v4l2_event_queue_fh(&c->fh, &eos);
}

static int querycap(struct file *f, void *p, struct v4l2_capability *cap)
{
	strscpy(cap->driver, "vh264", sizeof(cap->driver));
	strscpy(cap->card, "Virtual H.264 encoder", sizeof(cap->card));
	strscpy(cap->bus_info, "platform:vh264", sizeof(cap->bus_info));
	return 0;
}

static int enum_fmt(struct file *f, void *p, struct v4l2_fmtdesc *d)
{
	if (V4L2_TYPE_IS_OUTPUT(d->type)) {
		if (d->index >= ARRAY_SIZE(raw_formats))
			return -EINVAL;
		d->pixelformat = raw_formats[d->index];
	} else {
		if (d->index)
			return -EINVAL;
		d->pixelformat = V4L2_PIX_FMT_H264;
	}
	return 0;
}

/* The format of a queue, of the one API and of the other. */
static void fill_fmt(struct vh_ctx *c, struct v4l2_format *f)
{
	bool out = V4L2_TYPE_IS_OUTPUT(f->type);
	u32 i;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type)) {
		struct v4l2_pix_format_mplane *m = &f->fmt.pix_mp;

		m->width = c->width;
		m->height = c->height;
		m->field = V4L2_FIELD_NONE;
		m->num_planes = out ? c->planes : 1;
		m->pixelformat = out ? c->fourcc : V4L2_PIX_FMT_H264;
		for (i = 0; i < m->num_planes; i++) {
			m->plane_fmt[i].bytesperline = out ? c->stride : 0;
			m->plane_fmt[i].sizeimage = out ? c->plane_size[i] : c->coded_size;
		}
		m->colorspace = c->colorspace;
		m->xfer_func = c->xfer;
		m->ycbcr_enc = c->ycbcr;
		m->quantization = c->quant;
	} else {
		struct v4l2_pix_format *p = &f->fmt.pix;

		p->width = c->width;
		p->height = c->height;
		p->field = V4L2_FIELD_NONE;
		p->pixelformat = out ? c->fourcc : V4L2_PIX_FMT_H264;
		p->bytesperline = out ? c->stride : 0;
		p->sizeimage = out ? c->plane_size[0] : c->coded_size;
		p->colorspace = c->colorspace;
		p->xfer_func = c->xfer;
		p->ycbcr_enc = c->ycbcr;
		p->quantization = c->quant;
	}
}

static int g_fmt(struct file *file, void *p, struct v4l2_format *f)
{
	fill_fmt(vh_ctx_of(file), f);
	return 0;
}

static void apply_fmt(struct vh_ctx *c, struct v4l2_format *f)
{
	bool mplane = V4L2_TYPE_IS_MULTIPLANAR(f->type);
	struct v4l2_pix_format_mplane *m = &f->fmt.pix_mp;
	struct v4l2_pix_format *p = &f->fmt.pix;
	u32 want = mplane ? m->plane_fmt[0].sizeimage : p->sizeimage;

	if (V4L2_TYPE_IS_OUTPUT(f->type)) {
		/* Both begin with width, height and pixelformat. */
		vh_set_raw(c, p->pixelformat, p->width, p->height);
		c->colorspace = mplane ? m->colorspace : p->colorspace;
		c->xfer = mplane ? m->xfer_func : p->xfer_func;
		c->ycbcr = mplane ? m->ycbcr_enc : p->ycbcr_enc;
		c->quant = mplane ? m->quantization : p->quantization;
	} else if (want > c->coded_size && want <= 8 << 20) {
		c->coded_size = want;
	}
	fill_fmt(c, f);
}

static int try_fmt(struct file *file, void *p, struct v4l2_format *f)
{
	struct vh_ctx *tmp = kmemdup(vh_ctx_of(file), sizeof(*tmp), GFP_KERNEL);

	if (!tmp)
		return -ENOMEM;
	apply_fmt(tmp, f);
	kfree(tmp);
	return 0;
}

static int s_fmt(struct file *file, void *p, struct v4l2_format *f)
{
	struct vh_ctx *c = vh_ctx_of(file);
	struct vb2_queue *q = v4l2_m2m_get_vq(c->fh.m2m_ctx, f->type);

	if (vb2_is_busy(q))
		return -EBUSY;
	apply_fmt(c, f);
	return 0;
}

static int g_parm(struct file *file, void *p, struct v4l2_streamparm *a)
{
	if (!V4L2_TYPE_IS_OUTPUT(a->type))
		return -EINVAL;
	a->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	a->parm.output.timeperframe = vh_ctx_of(file)->interval;
	return 0;
}

static int s_parm(struct file *file, void *p, struct v4l2_streamparm *a)
{
	struct v4l2_fract *t = &a->parm.output.timeperframe;

	if (V4L2_TYPE_IS_OUTPUT(a->type) && t->numerator && t->denominator)
		vh_ctx_of(file)->interval = *t;
	return g_parm(file, p, a);
}

static int g_selection(struct file *file, void *p, struct v4l2_selection *s)
{
	struct vh_ctx *c = vh_ctx_of(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	switch (s->target) {
	case V4L2_SEL_TGT_CROP:
		s->r = c->crop;
		return 0;
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		s->r = (struct v4l2_rect){ 0, 0, c->width, c->height };
		return 0;
	}
	return -EINVAL;
}

static int s_selection(struct file *file, void *p, struct v4l2_selection *s)
{
	struct vh_ctx *c = vh_ctx_of(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT || s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	c->crop.width = clamp(s->r.width & ~1u, 2u, c->width);
	c->crop.height = clamp(s->r.height & ~1u, 2u, c->height);
	s->r = c->crop;
	return 0;
}

static int enum_framesizes(struct file *file, void *p, struct v4l2_frmsizeenum *s)
{
	if (s->index)
		return -EINVAL;
	s->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	s->stepwise = (struct v4l2_frmsize_stepwise){ 32, quirk.max_w, 2, 32, quirk.max_h, 2 };
	return 0;
}

static int encoder_cmd(struct file *file, void *p, struct v4l2_encoder_cmd *e)
{
	struct vh_ctx *c = vh_ctx_of(file);
	struct v4l2_m2m_ctx *m = c->fh.m2m_ctx;
	int r = v4l2_m2m_ioctl_try_encoder_cmd(file, p, e);

	if (r)
		return r;
	if (!vb2_is_streaming(v4l2_m2m_get_src_vq(m)) || !vb2_is_streaming(v4l2_m2m_get_dst_vq(m)))
		return 0;
	if (e->cmd == V4L2_ENC_CMD_STOP)
		return vh_stop(c);
	if (m->is_draining)
		return -EBUSY;
	if (m->has_stopped) {
		m->has_stopped = false;
		vb2_clear_last_buffer_dequeued(v4l2_m2m_get_dst_vq(m));
		c->force_key = true;
		v4l2_m2m_try_schedule(m);
	}
	return 0;
}

static int subscribe(struct v4l2_fh *fh, const struct v4l2_event_subscription *s)
{
	if (s->type == V4L2_EVENT_EOS)
		return v4l2_event_subscribe(fh, s, 2, NULL);
	return v4l2_ctrl_subscribe_event(fh, s);
}

const struct v4l2_ioctl_ops vh_ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt, .vidioc_enum_fmt_vid_out = enum_fmt,
	.vidioc_g_fmt_vid_cap = g_fmt, .vidioc_g_fmt_vid_out = g_fmt,
	.vidioc_try_fmt_vid_cap = try_fmt, .vidioc_try_fmt_vid_out = try_fmt,
	.vidioc_s_fmt_vid_cap = s_fmt, .vidioc_s_fmt_vid_out = s_fmt,
	.vidioc_g_fmt_vid_cap_mplane = g_fmt, .vidioc_g_fmt_vid_out_mplane = g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = try_fmt, .vidioc_try_fmt_vid_out_mplane = try_fmt,
	.vidioc_s_fmt_vid_cap_mplane = s_fmt, .vidioc_s_fmt_vid_out_mplane = s_fmt,
	.vidioc_g_parm = g_parm, .vidioc_s_parm = s_parm,
	.vidioc_g_selection = g_selection, .vidioc_s_selection = s_selection,
	.vidioc_enum_framesizes = enum_framesizes,
	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs, .vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf, .vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf, .vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon, .vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
	.vidioc_encoder_cmd = encoder_cmd, .vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_subscribe_event = subscribe, .vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

