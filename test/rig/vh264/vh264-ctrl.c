// SPDX-License-Identifier: GPL-2.0
/* The controls. */
#include "vh264-core.h"

/* level_idc by V4L2's menu. */
static const u8 level_menu[] = { 10, 9, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52 };

static int menu_of(u32 idc)
{
	int i;

	for (i = ARRAY_SIZE(level_menu) - 1; i > 0; i--)
		if (level_menu[i] == idc)
			break;
	return i;
}

static int set_bitrate(struct vh_ctx *c, u32 v)
{
	if (vb2_is_streaming(v4l2_m2m_get_src_vq(c->fh.m2m_ctx))) {
		if (quirk.bitrate == RATE_BUSY)
			return -EBUSY;
		if (quirk.bitrate == RATE_REFUSED)
			return -EINVAL;
	}
	c->bitrate = v;
	return 0;
}

static int s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct vh_ctx *c = container_of(ctrl->handler, struct vh_ctx, ctrls);

	switch (ctrl->id) {
	case V4L2_CID_MPEG_VIDEO_BITRATE:
		return set_bitrate(c, ctrl->val);
	case V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE:
		c->rc = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_GOP_SIZE:
	case V4L2_CID_MPEG_VIDEO_H264_I_PERIOD:
		c->gop = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_PROFILE:
		c->profile = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_LEVEL:
		c->level = level_menu[ctrl->val];
		break;
	case V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER:
	case V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR:
		if (quirk.headers == OBEY)
			c->repeat = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_HEADER_MODE:
		if (quirk.headers == OBEY)
			c->separate = ctrl->val == V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
		break;
	case V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME:
		if (quirk.force_key != KEY_OBEY)
			break;
		if (quirk.controls == QUEUED)
			c->want_key = true;
		else
			c->force_key = true;
		break;
	}
	return 0;
}

static const struct v4l2_ctrl_ops ctrl_ops = { .s_ctrl = s_ctrl };

static void number(struct vh_ctx *c, bool have, u32 id, int least, int most, int step, int def)
{
	if (have)
		v4l2_ctrl_new_std(&c->ctrls, &ctrl_ops, id, least, most, step, clamp(def, least, most));
}

static struct v4l2_ctrl *menu(struct vh_ctx *c, bool have, u32 id, int most, u64 without, int def)
{
	return have ? v4l2_ctrl_new_std_menu(&c->ctrls, &ctrl_ops, id, most, without, def) : NULL;
}

/* Needs the queues to be there. */
int vh_ctrls_init(struct vh_ctx *c)
{
	const u64 profiles = BIT(V4L2_MPEG_VIDEO_H264_PROFILE_BASELINE) | BIT(V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE) |
			     BIT(V4L2_MPEG_VIDEO_H264_PROFILE_MAIN) | BIT(V4L2_MPEG_VIDEO_H264_PROFILE_HIGH);
	int most = menu_of(quirk.level_max), step = quirk.bitrate_max - quirk.bitrate_min >= 1000 ? 1000 : 1;
	struct v4l2_ctrl *level;
	int r;

	c->rc = true;
	c->repeat = quirk.repeat;
	c->separate = quirk.header_mode == HEADER_SEPARATE;
	v4l2_ctrl_handler_init(&c->ctrls, 20);
	number(c, true, V4L2_CID_MPEG_VIDEO_BITRATE, quirk.bitrate_min, quirk.bitrate_max, step, quirk.bitrate_def);
	menu(c, true, V4L2_CID_MPEG_VIDEO_BITRATE_MODE, V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0, V4L2_MPEG_VIDEO_BITRATE_MODE_VBR);
	number(c, quirk.rc != RC_NONE, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 0, 1, 1, quirk.rc == RC_ON);
	number(c, quirk.gop_ctrls & CTRL_GOP, V4L2_CID_MPEG_VIDEO_GOP_SIZE, 0, 600, 1, 30);
	number(c, quirk.gop_ctrls & CTRL_PERIOD, V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, 0, 600, 1, 30);
	number(c, true, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0, 0, 1, 0);
	number(c, quirk.force_key != KEY_NONE, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0, 0, 0);
	number(c, quirk.header_ctrls & CTRL_REPEAT, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 0, 1, 1, quirk.repeat);
	number(c, quirk.header_ctrls & CTRL_PREPEND, V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR, 0, 1, 1, quirk.repeat);
	menu(c, quirk.header_ctrls & CTRL_MODE, V4L2_CID_MPEG_VIDEO_HEADER_MODE, V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME,
	     0, quirk.header_mode);
	menu(c, true, V4L2_CID_MPEG_VIDEO_H264_PROFILE, V4L2_MPEG_VIDEO_H264_PROFILE_HIGH, ~profiles,
	     V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE);
	level = menu(c, true, V4L2_CID_MPEG_VIDEO_H264_LEVEL, most, 0, min(most, menu_of(quirk.level_def)));
	number(c, true, V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, max(quirk.min_out, 1), max(quirk.min_out, 1), 1, quirk.min_out);
	number(c, quirk.min_cap > 1, V4L2_CID_MIN_BUFFERS_FOR_CAPTURE, max(quirk.min_cap, 1), max(quirk.min_cap, 1), 1, quirk.min_cap);
	if (c->ctrls.error)
		return c->ctrls.error;
	level->flags |= V4L2_CTRL_FLAG_EXECUTE_ON_WRITE; /* the default's value is a wish too */
	c->fh.ctrl_handler = &c->ctrls;
	r = v4l2_ctrl_handler_setup(&c->ctrls);
	c->force_key = c->want_key = false;
	c->level = 0;
	return r;
}
