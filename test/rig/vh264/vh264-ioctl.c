// SPDX-License-Identifier: GPL-2.0
/* Formats, selection, rate and commands. */
#include <linux/log2.h>
#include <linux/slab.h>
#include "vh264-core.h"

static u32 known(u32 fourcc)
{
	const u32 *list;
	u32 i, n = vh_formats(&list);

	for (i = 0; i < n; i++)
		if (list[i] == fourcc)
			return fourcc;
	return list[0];
}

static void set_planes(struct vh_ctx *c)
{
	u32 i, y = c->stride * c->height;

	switch (c->fourcc) {
	case V4L2_PIX_FMT_NV12M:
		c->planes = 2;
		c->plane_data[0] = y;
		c->plane_data[1] = y / 2;
		break;
	case V4L2_PIX_FMT_YUV420M:
		c->planes = 3;
		c->plane_data[0] = y;
		c->plane_data[1] = c->plane_data[2] = y / 4;
		break;
	default:
		c->planes = 1;
		c->plane_data[0] = y * 3 / 2;
	}
	for (i = 0; i < c->planes; i++)
		c->plane_size[i] = c->plane_data[i] + clamp(quirk.pad, 0, 1 << 20);
}

/* The room for a coded frame: what the client wished, within what the driver allows. */
static void set_coded(struct vh_ctx *c)
{
	u32 y = c->width * c->height, most = quirk.coded_max > 0 ? quirk.coded_max : 16 << 20;

	c->coded_size = quirk.coded_size >= 0 ? quirk.coded_size : max(y * 3 / 2 + y / 8 + 4096, 65536u);
	c->coded_size = min(max(c->coded_size, min(c->coded_wish, 16u << 20)), most);
}

static u32 pow2(int n)
{
	return rounddown_pow_of_two(clamp(n, 1, 4096));
}

void vh_set_raw(struct vh_ctx *c, u32 fourcc, u32 w, u32 h, u32 stride)
{
	u32 a = clamp(pow2(quirk.align), 2u, 64u), b = max(a, pow2(quirk.height_align));

	c->fourcc = known(fourcc);
	w = clamp(w, 32u, (u32)quirk.max_w);
	h = clamp(h, 32u, (u32)quirk.max_h);
	c->width = ALIGN(w, a);
	c->height = ALIGN(h, b);
	c->stride = quirk.stride_wish && stride <= 4 * c->width ? max(stride, c->width) : c->width;
	c->stride = ALIGN(c->stride, max(pow2(quirk.stride_align), 2u));
	set_planes(c);
	if (quirk.crop == CROP_ASKED)
		c->crop = (struct v4l2_rect){ 0, 0, w & ~1, h & ~1 };
	else
		c->crop = (struct v4l2_rect){ 0, 0, c->width, c->height };
	set_coded(c);
}

void vh_eos(struct vh_ctx *c)
{
	static const struct v4l2_event eos = { .type = V4L2_EVENT_EOS };

	if (quirk.eos == EOS_SENT)
		v4l2_event_queue_fh(&c->fh, &eos);
}

static int querycap(struct file *f, void *p, struct v4l2_capability *cap)
{
	strscpy(cap->driver, strim(quirk.driver), sizeof(cap->driver));
	strscpy(cap->card, strim(quirk.card), sizeof(cap->card));
	snprintf(cap->bus_info, sizeof(cap->bus_info), "platform:%s", quirk.driver);
	return 0;
}

static int enum_fmt(struct file *f, void *p, struct v4l2_fmtdesc *d)
{
	const u32 *list;

	if (V4L2_TYPE_IS_OUTPUT(d->type)) {
		if (d->index >= vh_formats(&list))
			return -EINVAL;
		d->pixelformat = list[d->index];
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
			m->plane_fmt[i].bytesperline = !out ? 0 : i && m->num_planes == 3 ? c->stride / 2 : c->stride;
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
		vh_set_raw(c, p->pixelformat, p->width, p->height, mplane ? m->plane_fmt[0].bytesperline : p->bytesperline);
		c->colorspace = mplane ? m->colorspace : p->colorspace;
		c->xfer = mplane ? m->xfer_func : p->xfer_func;
		c->ycbcr = mplane ? m->ycbcr_enc : p->ycbcr_enc;
		c->quant = mplane ? m->quantization : p->quantization;
	} else {
		c->coded_wish = want;
		set_coded(c);
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
	if (V4L2_TYPE_IS_CAPTURE(f->type))
		c->sized = true;
	else if (quirk.capture_first && !c->sized)
		return -EINVAL;
	c->freed = false;
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

	struct vh_ctx *c = vh_ctx_of(file);

	if (!V4L2_TYPE_IS_OUTPUT(a->type))
		return -EINVAL;
	if (quirk.fps_max > 0 && t->numerator && t->denominator > (u64)quirk.fps_max * t->numerator)
		return -ENOMEM;
	if (t->numerator && t->denominator)
		c->interval = *t;
	else
		c->interval = (struct v4l2_fract){ 1, quirk.fps_def };
	c->paced = true;
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
	if (!quirk.restart)
		return -EINVAL;
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

static int reqbufs(struct file *file, void *p, struct v4l2_requestbuffers *b)
{
	/* There is always memory for no buffers. */
	int r = b->count ? vh_fault(NULL, _IOC_NR(VIDIOC_REQBUFS)) : 0;

	return r ? r : v4l2_m2m_ioctl_reqbufs(file, p, b);
}

static int streamon(struct file *file, void *p, enum v4l2_buf_type type)
{
	struct vh_ctx *c = vh_ctx_of(file);

	if (c->freed)
		return -EIO;
	if (quirk.level_check && V4L2_TYPE_IS_OUTPUT(type) && !vh_level_fits(c))
		return -ESRCH;
	return v4l2_m2m_ioctl_streamon(file, p, type);
}

static int subscribe(struct v4l2_fh *fh, const struct v4l2_event_subscription *s)
{
	if (s->type == V4L2_EVENT_EOS)
		return quirk.eos == EOS_NONE ? -EINVAL : v4l2_event_subscribe(fh, s, 2, NULL);
	if (s->type == V4L2_EVENT_SOURCE_CHANGE && quirk.source_change)
		return v4l2_src_change_event_subscribe(fh, s);
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
	.vidioc_reqbufs = reqbufs, .vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf, .vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf, .vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = streamon, .vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
	.vidioc_encoder_cmd = encoder_cmd, .vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_subscribe_event = subscribe, .vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

