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

enum { JOB_NONE, JOB_WAITING, JOB_TAKEN, JOB_LOST };

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

	u32 fourcc, width, height, stride;
	u32 planes, plane_data[3], plane_size[3];	/* bytes of pixels, and of room */
	u32 coded_size, coded_wish;
	struct v4l2_rect crop;
	struct v4l2_fract interval;
	u32 colorspace, xfer, ycbcr, quant;
	bool sized;		/* the client has set the CAPTURE format */
	bool paced;		/* ... and the frame rate */
	bool freed;		/* see quirk.streamoff_frees */

	u32 bitrate, gop, profile, level;	/* level: 0 until the client sets it */
	bool rc, repeat, separate;
	u32 first_bitrate;	/* of this stream */

	u32 n_out, n_cap, jobs;
	bool force_key, headed;	/* headed: parameter sets have been given */
	bool want_key;		/* see quirk.controls */
	bool garbage;		/* is due */
	bool dead;		/* every ioctl fails */

	spinlock_t made_lock;	/* the list of coded data, and the state of draining */
	struct list_head made;
	u32 n_made;
	struct vh_made *end;	/* the empty last one, made in advance */
};

/* An OUTPUT or CAPTURE buffer. */
struct vh_buf {
	struct v4l2_m2m_buffer m2m;
	u32 bitrate;		/* what the controls were when it was queued */
	bool key;
};

#define vh_buf_of(vbuf) container_of(vbuf, struct vh_buf, m2m.vb)

/* Coded data on its way to a CAPTURE buffer. */
struct vh_made {
	struct list_head list;
	u32 size, off, flags;	/* flags: VH264_KEY, VH264_ERROR */
	u64 stamp;
	struct v4l2_timecode timecode;
	u32 buf_flags;
	bool last, foreign;	/* foreign: of no frame, without a time stamp */
	u8 data[];
};

#define vh_ctx_of(file) container_of((file)->private_data, struct vh_ctx, fh)

extern struct vh_dev *vh;

/* vh264-quirk.c: the README of the rig says what each imitates. */
enum { API_MPLANE, API_SPLANE };
enum { KEY_OBEY, KEY_NONE, KEY_IGNORED };
enum { RATE_OBEY, RATE_FROZEN, RATE_IGNORED, RATE_BUSY, RATE_REFUSED };
enum { RC_ON, RC_OFF, RC_NONE };
enum { HEADER_SEPARATE, HEADER_JOINED };	/* as V4L2 counts them */
enum { CTRL_REPEAT = 1, CTRL_PREPEND = 2, CTRL_MODE = 4 };
enum { CTRL_GOP = 1, CTRL_PERIOD = 2 };
enum { OBEY, IGNORED };
enum { NOW, QUEUED };
enum { STAMP_COPY, STAMP_ZERO, STAMP_OFFSET, STAMP_MS, STAMP_OWN };
enum { FLAG_RIGHT, FLAG_NEVER, FLAG_ALWAYS, FLAG_WRONG };
enum { LAST_FRAME, LAST_EMPTY, LAST_UNMARKED, LAST_NEVER };
enum { EOS_SENT, EOS_NONE, EOS_SILENT };
enum { DRAIN_ENDS, DRAIN_NEVER };
enum { CROP_ASKED, CROP_WHOLE };
enum { OVERFLOW_ERROR, OVERFLOW_PIECES };
enum { DMABUF_ANY, DMABUF_CONTIG, DMABUF_REFUSED, DMABUF_NONE };
enum { FATAL_QUEUE, FATAL_IOCTLS, FATAL_DEVICE };

extern struct vh_quirks {
	/* the device */
	char driver[16], card[32], node[32], formats[64];
	int nr, api, engine, align, max_w, max_h, max_open, busy;
	/* formats and buffers */
	int stride_align, stride_wish, height_align, pad, crop, dmabuf, min_out, min_cap;
	int coded_size, coded_max, overflow, capture_first, streamoff_frees;
	/* controls */
	int force_key, bitrate, rc, bitrate_min, bitrate_max, bitrate_def, controls;
	int gop_ctrls, header_ctrls, header_mode, repeat, headers;
	int level_def, level_max, level_check, parm, fps_def, fps_max, need_parm;
	/* what comes out */
	int stamps, keyflag, last, eos, drain, restart, garbage, latency, skip_every, headers_only;
	/* faults */
	int hang, hang_bitrate, hang_fps, hang_gop, fail, fail_every, fail_fatal, delay_ms;
	int fatal_after, fatal, source_change;
} quirk;

bool vh_countdown(int *n);
u32 vh_formats(const u32 **list);
int vh_quirks_init(void);

/* vh264-fault.c */
enum { OP_OPEN = 256, OP_CLOSE, OP_POLL, OP_MMAP, OP_ALL };

int vh_fault(struct mutex *lock, unsigned int op);
void vh_fatal(struct vh_ctx *c);

/* vh264-queue.c */
struct v4l2_m2m_dev *vh_m2m_init(void);
void vh_queue_setup_ops(void);
int vh_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst);
struct vh_made *vh_made_new(u32 size);
void vh_finish(struct vh_ctx *c, struct list_head *made, bool error);
int vh_stop(struct vh_ctx *c);
void vh_purge(struct vh_ctx *c);

/* vh264-engine.c */
int vh_engine_register(void);
void vh_engine_unregister(void);
u32 vh_bitrate(struct vh_ctx *c);
void vh_engine_start(struct vh_ctx *c);
bool vh_engine_abort(struct vh_ctx *c);

/* vh264-ioctl.c */
extern const struct v4l2_ioctl_ops vh_ioctl_ops;
void vh_set_raw(struct vh_ctx *c, u32 fourcc, u32 w, u32 h, u32 stride);
void vh_eos(struct vh_ctx *c);

/* vh264-ctrl.c */
int vh_ctrls_init(struct vh_ctx *c);

/* vh264-level.c */
u32 vh_level(const struct vh_ctx *c);
bool vh_level_fits(const struct vh_ctx *c);
#endif
