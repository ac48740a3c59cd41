// SPDX-License-Identifier: GPL-2.0
/*
 * vh264: a V4L2 M2M device that follows the stateful encoder interface and leaves
 * the encoding to a program behind /dev/vh264. For tests: to the client it is a
 * hardware H.264 encoder, with real vb2 buffers, DMABUF, drain and controls, and
 * with the faults and habits of real drivers, as its parameters say.
 */
#include <linux/module.h>
#include <linux/dma-mapping.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <media/videobuf2-dma-contig.h>
#include "vh264-core.h"

struct vh_dev *vh;

static bool count_open(void)
{
	bool ok;

	mutex_lock(&vh->job_lock);
	ok = quirk.max_open <= 0 || vh->opened < quirk.max_open;
	if (ok)
		vh->opened++;
	mutex_unlock(&vh->job_lock);
	return ok;
}

static void uncount_open(void)
{
	mutex_lock(&vh->job_lock);
	vh->opened--;
	mutex_unlock(&vh->job_lock);
}

static int vh_open(struct file *file)
{
	struct vh_ctx *c;
	int r;

	/* A client that is stuck in the driver keeps all others out. */
	r = mutex_lock_interruptible(&vh->lock);
	if (r)
		return r;
	mutex_unlock(&vh->lock);
	r = vh_fault(&vh->lock, OP_OPEN);
	if (r)
		return r;
	if (quirk.busy || !count_open())
		return -EBUSY;
	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c) {
		uncount_open();
		return -ENOMEM;
	}
	c->dev = vh;
	c->interval = (struct v4l2_fract){ 1, max(quirk.fps_def, 1) };
	c->colorspace = V4L2_COLORSPACE_REC709;
	spin_lock_init(&c->made_lock);
	INIT_LIST_HEAD(&c->made);
	vh_set_raw(c, 0, 640, 480, 0);
	v4l2_fh_init(&c->fh, &vh->vfd);
	file->private_data = &c->fh;
	c->fh.m2m_ctx = v4l2_m2m_ctx_init(vh->m2m, c, vh_queue_init);
	if (IS_ERR(c->fh.m2m_ctx)) {
		r = PTR_ERR(c->fh.m2m_ctx);
		goto err;
	}
	r = vh_ctrls_init(c);
	if (r) {
		v4l2_m2m_ctx_release(c->fh.m2m_ctx);
		goto err;
	}
	v4l2_m2m_set_src_buffered(c->fh.m2m_ctx, true); /* what was made may wait for a CAPTURE buffer */
	mutex_lock(&vh->job_lock);
	c->id = ++vh->ids;
	mutex_unlock(&vh->job_lock);
	v4l2_fh_add(&c->fh);
	return 0;
err:
	v4l2_ctrl_handler_free(&c->ctrls);
	v4l2_fh_exit(&c->fh);
	kfree(c);
	uncount_open();
	return r;
}

static int vh_release(struct file *file)
{
	struct vh_ctx *c = vh_ctx_of(file);

	vh_fault(&vh->lock, OP_CLOSE);
	v4l2_fh_del(&c->fh);
	v4l2_fh_exit(&c->fh);
	v4l2_ctrl_handler_free(&c->ctrls);
	mutex_lock(&vh->lock);
	v4l2_m2m_ctx_release(c->fh.m2m_ctx);
	mutex_unlock(&vh->lock);
	vh_purge(c);
	kvfree(c->end);
	kfree(c);
	uncount_open();
	return 0;
}

static long vh_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	int r = 0;

	if (vh_ctx_of(file)->dead)
		return -EIO;
	if (_IOC_NR(cmd) != _IOC_NR(VIDIOC_REQBUFS)) /* which has its own look */
		r = vh_fault(&vh->lock, _IOC_NR(cmd));
	return r ? r : video_ioctl2(file, cmd, arg);
}

static __poll_t vh_poll(struct file *file, poll_table *p)
{
	if (vh_ctx_of(file)->dead || vh_fault(&vh->lock, OP_POLL))
		return EPOLLERR;
	return v4l2_m2m_fop_poll(file, p);
}

static int vh_mmap(struct file *file, struct vm_area_struct *v)
{
	int r = vh_fault(&vh->lock, OP_MMAP);

	return r ? r : v4l2_m2m_fop_mmap(file, v);
}

static const struct v4l2_file_operations vh_fops = {
	.owner = THIS_MODULE, .open = vh_open, .release = vh_release,
	.poll = vh_poll, .unlocked_ioctl = vh_ioctl, .mmap = vh_mmap,
};

/* keep_api leaves out the calls of the API that the device does not have. */
static void keep_api(struct v4l2_ioctl_ops *o)
{
	if (quirk.api == API_MPLANE) {
		o->vidioc_g_fmt_vid_cap = o->vidioc_try_fmt_vid_cap = o->vidioc_s_fmt_vid_cap = NULL;
		o->vidioc_g_fmt_vid_out = o->vidioc_try_fmt_vid_out = o->vidioc_s_fmt_vid_out = NULL;
	} else {
		o->vidioc_g_fmt_vid_cap_mplane = o->vidioc_try_fmt_vid_cap_mplane = o->vidioc_s_fmt_vid_cap_mplane = NULL;
		o->vidioc_g_fmt_vid_out_mplane = o->vidioc_try_fmt_vid_out_mplane = o->vidioc_s_fmt_vid_out_mplane = NULL;
	}
}

static int vh_probe(struct platform_device *pdev)
{
	int r = vh_quirks_init();

	if (r)
		return r;
	r = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (r)
		return r;
	vb2_dma_contig_set_max_seg_size(&pdev->dev, DMA_BIT_MASK(32));
	vh_queue_setup_ops();
	vh = kzalloc(sizeof(*vh), GFP_KERNEL);
	if (!vh)
		return -ENOMEM;
	mutex_init(&vh->lock);
	mutex_init(&vh->job_lock);
	init_waitqueue_head(&vh->wq);
	vh->mdev.dev = &pdev->dev;
	strscpy(vh->mdev.model, "vh264", sizeof(vh->mdev.model));
	strscpy(vh->mdev.bus_info, "platform:vh264", sizeof(vh->mdev.bus_info));
	media_device_init(&vh->mdev);
	vh->v4l2.mdev = &vh->mdev;
	r = v4l2_device_register(&pdev->dev, &vh->v4l2);
	if (r)
		goto free;
	vh->m2m = vh_m2m_init();
	if (IS_ERR(vh->m2m)) {
		r = PTR_ERR(vh->m2m);
		goto unreg;
	}
	r = vh_engine_register();
	if (r)
		goto m2m;
	strscpy(vh->vfd.name, quirk.node, sizeof(vh->vfd.name));
	vh->vfd.fops = &vh_fops;
	vh->ops = vh_ioctl_ops;
	keep_api(&vh->ops);
	vh->vfd.ioctl_ops = &vh->ops;
	vh->vfd.vfl_dir = VFL_DIR_M2M;
	vh->vfd.release = video_device_release_empty;
	vh->vfd.lock = &vh->lock;
	vh->vfd.v4l2_dev = &vh->v4l2;
	vh->vfd.device_caps = (quirk.api == API_MPLANE ? V4L2_CAP_VIDEO_M2M_MPLANE : V4L2_CAP_VIDEO_M2M) | V4L2_CAP_STREAMING;
	r = video_register_device(&vh->vfd, VFL_TYPE_VIDEO, quirk.nr);
	if (r)
		goto misc;
	r = v4l2_m2m_register_media_controller(vh->m2m, &vh->vfd, MEDIA_ENT_F_PROC_VIDEO_ENCODER);
	if (r)
		goto video;
	r = media_device_register(&vh->mdev);
	if (!r)
		return 0;
	v4l2_m2m_unregister_media_controller(vh->m2m);
video:
	video_unregister_device(&vh->vfd);
misc:
	vh_engine_unregister();
m2m:
	v4l2_m2m_release(vh->m2m);
unreg:
	v4l2_device_unregister(&vh->v4l2);
free:
	media_device_cleanup(&vh->mdev);
	kfree(vh);
	return r;
}

static int vh_remove(struct platform_device *pdev)
{
	media_device_unregister(&vh->mdev);
	v4l2_m2m_unregister_media_controller(vh->m2m);
	video_unregister_device(&vh->vfd);
	vh_engine_unregister();
	v4l2_m2m_release(vh->m2m);
	v4l2_device_unregister(&vh->v4l2);
	media_device_cleanup(&vh->mdev);
	kfree(vh);
	return 0;
}

static struct platform_driver vh_driver = { .probe = vh_probe, .remove = vh_remove, .driver = { .name = "vh264" } };
static struct platform_device *vh_pdev;

static int __init vh_init(void)
{
	int r = platform_driver_register(&vh_driver);

	if (r)
		return r;
	vh_pdev = platform_device_register_simple("vh264", -1, NULL, 0);
	if (IS_ERR(vh_pdev)) {
		platform_driver_unregister(&vh_driver);
		return PTR_ERR(vh_pdev);
	}
	return 0;
}

static void __exit vh_exit(void)
{
	platform_device_unregister(vh_pdev);
	platform_driver_unregister(&vh_driver);
}

module_init(vh_init);
module_exit(vh_exit);
MODULE_DESCRIPTION("Virtual H.264 encoder for tests");
MODULE_LICENSE("GPL");
