/* SPDX-License-Identifier: GPL-2.0 */
/* What the module's files share: the device, its contexts and its quirks. */
#ifndef VH264_CORE_H
#define VH264_CORE_H
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <media/media-device.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include "vh264.h"

enum { JOB_NONE, JOB_WAITING, JOB_TAKEN };

struct vh_ctx;

struct vh_dev {
	struct v4l2_device v4l2;
	struct video_device vfd;
	struct v4l2_ioctl_ops ops;
	struct v4l2_m2m_dev *m2m;
	struct media_device mdev;
	struct mutex lock;	/* ioctls and queues */
	struct mutex job_lock;	/* what follows, and the job's buffers */
	int state;
	struct vh_ctx *job;
	u32 seq, ids;
	int opened;
	bool helper;
	wait_queue_head_t wq;
};

struct vh_ctx {
	struct v4l2_fh fh;
	struct v4l2_ctrl_handler ctrls;
	struct vh_dev *dev;
	u32 id;

	u32 fourcc, width, height, stride, planes, plane_size[3], coded_size;
	struct v4l2_rect crop;
	struct v4l2_fract interval;
	u32 colorspace, xfer, ycbcr, quant;
	bool sized;		/* the client has set the CAPTURE format */
	bool on_out, on_cap;	/* streaming, as mtk counts it */
	bool freed;		/* see quirk.streamoff_frees */

	u32 bitrate, gop, profile, level;	/* level: 0 until the client sets it */
	bool rc, repeat, separate;
	u32 first_bitrate;	/* of this stream */

	u32 n_out, n_cap, jobs;
	bool force_key, headed;	/* headed: parameter sets have been given */
	bool garbage;		/* the first buffer's is due */
	bool dead;		/* every ioctl fails */

	spinlock_t made_lock;	/* the queue of coded data, and the state of draining */
	struct list_head made;
	u32 n_made;
	struct vh_made *end;	/* the empty last one, made in advance */
};

/* Coded data on its way to a CAPTURE buffer. */
struct vh_made {
	struct list_head list;
	u32 size, off, flags;	/* flags: VH264_KEY, VH264_ERROR */
	u64 stamp;
	struct v4l2_timecode timecode;
	u32 buf_flags;
	bool last, foreign;	/* foreign: of no frame */
	u8 data[];
};

#define vh_ctx_of(file) container_of((file)->private_data, struct vh_ctx, fh)

extern struct vh_dev *vh;

/* vh264-quirk.c */
enum { API_MPLANE, API_SPLANE };
enum { KEY_OBEY, KEY_NONE, KEY_IGNORED };

extern struct vh_quirks {
	/* faults: counted down */
	int hang, fail;
	/* faults: as long as they are set */
	int busy, delay_ms, fail_every;
	/* the device */
	int api, align, max_w, max_h, engine;
	int force_key;
} quirk;

bool vh_countdown(int *n);

/* vh264-queue.c */
struct v4l2_m2m_dev *vh_m2m_init(void);
int vh_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst);
struct vh_made *vh_made_new(u32 size);
void vh_finish(struct vh_ctx *c, struct list_head *made, bool error);
int vh_stop(struct vh_ctx *c);
void vh_purge(struct vh_ctx *c);

/* vh264-engine.c */
int vh_engine_register(void);
void vh_engine_unregister(void);
bool vh_engine_start(struct vh_ctx *c);
bool vh_engine_abort(struct vh_ctx *c);

/* vh264-ioctl.c */
extern const struct v4l2_ioctl_ops vh_ioctl_ops;
void vh_set_raw(struct vh_ctx *c, u32 fourcc, u32 w, u32 h);
void vh_eos(struct vh_ctx *c);

/* vh264-ctrl.c */
int vh_ctrls_init(struct vh_ctx *c);

/* vh264-level.c */
u32 vh_level(const struct vh_ctx *c);
bool vh_level_fits(const struct vh_ctx *c, u32 idc);
#endif
