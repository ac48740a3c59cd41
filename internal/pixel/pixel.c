#include "pixel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libyuv/convert.h>
#include <libyuv/convert_argb.h>
#include <libyuv/convert_from.h>
#include <libyuv/planar_functions.h>
#include <libyuv/rotate.h>
#include <libyuv/scale.h>
#include <libyuv/scale_uv.h>
#include <turbojpeg.h>

px *px_new(void) { return calloc(1, sizeof(px)); }

void px_free(px *c) {
	if (c->tj)
		tjDestroy(c->tj);
	free(c->room[0]);
	free(c->room[1]);
	free(c);
}

static uint8_t *room(px *c, int i, size_t n) {
	if (c->size[i] < n) {
		free(c->room[i]);
		c->room[i] = malloc(n);
		c->size[i] = c->room[i] ? n : 0;
	}
	return c->room[i];
}

static void say(px *c, const char *text) { snprintf(c->text, sizeof c->text, "%s", text); }

// Full range to video range, rounded: Y*219/255+16 and (C-128)*224/255+128. The division
// by 255 is exact and stays within 16 bits, so that compilers make vectors of it.
static inline uint8_t narrow_y(uint8_t v) {
	uint16_t t = (uint16_t)(v * 219 + 128);
	return (uint8_t)((uint16_t)((uint16_t)(t + (t >> 8)) >> 8) + 16);
}

static inline uint8_t narrow_c(uint8_t v) {
	uint16_t t = (uint16_t)(v * 224 + 128 * 31 + 128);
	return (uint8_t)((uint16_t)(t + (t >> 8)) >> 8);
}

static void narrow_plane(uint8_t *d, int ds, int w, int h, int luma) {
	for (; h > 0; h--, d += ds) {
		if (luma)
			for (int i = 0; i < w; i++)
				d[i] = narrow_y(d[i]);
		else
			for (int i = 0; i < w; i++)
				d[i] = narrow_c(d[i]);
	}
}

static void narrow_copy(const uint8_t *s, int ss, uint8_t *restrict d, int ds, int w, int h) {
	for (; h > 0; h--, s += ss, d += ds)
		for (int i = 0; i < w; i++)
			d[i] = narrow_y(s[i]);
}

// A JPEG's planes as they come, before its chroma is brought to 4:2:0.
typedef struct {
	px_planes p;
	int cw, ch; // of a chroma plane, 0 for grey
} raw;

static int decode(px *c, const uint8_t *jpeg, unsigned long bytes, int w, int h, int sloppy,
	size_t more, raw *r, uint8_t **rest) {
	int jw, jh, sub, space;
	if (!c->tj && !(c->tj = tjInitDecompress()))
		return PX_NOMEM;
	if (tjDecompressHeader3(c->tj, jpeg, bytes, &jw, &jh, &sub, &space) && tjGetErrorCode(c->tj) == TJERR_FATAL) {
		say(c, tjGetErrorStr2(c->tj));
		// The decoder would read the next picture from the middle of this header
		// (libjpeg-turbo 2.1.5, tjDecompressHeader3: no jpeg_abort_decompress on errors).
		tjDestroy(c->tj);
		c->tj = NULL;
		return PX_CORRUPT;
	}
	c->w = jw, c->h = jh;
	if (jw != w || jh != h)
		return PX_SIZE;
	if (sub < 0 || sub >= TJ_NUMSAMP || (space != TJCS_YCbCr && space != TJCS_GRAY)) {
		say(c, "not YCbCr, or subsampled in an unusual way");
		return PX_CORRUPT;
	}
	int n = sub == TJSAMP_GRAY ? 1 : 3;
	size_t sum = 0;
	for (int i = 0; i < n; i++)
		sum += tjPlaneSizeYUV(i, w, 0, h, sub);
	uint8_t *b = room(c, 0, sum + more);
	if (!b)
		return PX_NOMEM;
	memset(r, 0, sizeof *r);
	for (int i = 0; i < n; i++) {
		r->p.p[i] = b;
		r->p.s[i] = tjPlaneWidth(i, w, sub);
		b += tjPlaneSizeYUV(i, w, 0, h, sub);
	}
	*rest = b;
	if (n == 3)
		r->cw = r->p.s[1], r->ch = tjPlaneHeight(1, h, sub);
	if (tjDecompressToYUVPlanes(c->tj, jpeg, bytes, r->p.p, w, r->p.s, h, TJFLAG_LIMITSCANS) == 0)
		return PX_OK;
	say(c, tjGetErrorStr2(c->tj));
	unsigned over, marker;
	if (tjGetErrorCode(c->tj) == TJERR_WARNING
		&& sscanf(c->text, "Corrupt JPEG data: %u extraneous bytes before marker 0x%2x", &over, &marker) == 2
		&& over <= 32 && marker >= 0xd0 && marker <= 0xd9)
		return sloppy ? PX_OK : PX_SLOPPY;
	return PX_CORRUPT;
}

int px_convert(px *c, int from, const uint8_t *s0, const uint8_t *s1, const uint8_t *s2,
	int ss0, int ss1, int ss2, unsigned long bytes, int w, int h,
	int rot, int mirror, int narrow, int sloppy,
	int to, uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2) {
	int turned = rot || mirror;
	int cw = (w + 1) / 2, ch = (h + 1) / 2;
	int dw = rot % 180 ? h : w, dh = rot % 180 ? w : h;
	int dcw = (dw + 1) / 2, dch = (dh + 1) / 2;
	// To mirror is to turn upside down (libyuv: a negative height) and then by 180 degrees.
	enum RotationMode mode = (enum RotationMode)((rot + (mirror ? 180 : 0)) % 360);
	int vh = mirror ? -h : h, vch = mirror ? -ch : ch;

	// Where planar chroma goes: home, or next to each other first.
	uint8_t *u = d1, *v = d2;
	int us = ds1, vs = ds2, merge = 0;
	if (to == PX_NV12 && (turned || from == PX_YU12 || from == PX_MJPG)) {
		size_t n = (size_t)dcw * dch;
		if (!(u = room(c, 1, 2 * n)))
			return PX_NOMEM;
		v = u + n, us = vs = dcw, merge = 1;
	}

	px_planes p = {{(uint8_t *)s0, (uint8_t *)s1, (uint8_t *)s2}, {ss0, ss1, ss2}};
	int planar = 1, narrowed = 0;
	if (from == PX_YUYV && !turned) {
		if (to == PX_NV12)
			YUY2ToNV12(s0, ss0, d0, ds0, d1, ds1, w, h);
		else
			YUY2ToI420(s0, ss0, d0, ds0, d1, ds1, d2, ds2, w, h);
		planar = 0;
	} else if (from == PX_YUYV) {
		size_t y = (size_t)w * h, n = (size_t)cw * ch;
		uint8_t *b = room(c, 0, y + 2 * n);
		if (!b)
			return PX_NOMEM;
		p = (px_planes){{b, b + y, b + y + n}, {w, cw, cw}};
		YUY2ToI420(s0, ss0, p.p[0], w, p.p[1], cw, p.p[2], cw, w, h);
	} else if (from == PX_NV12) {
		if (turned) {
			RotatePlane(s0, ss0, d0, ds0, w, vh, mode);
			SplitRotateUV(s1, ss1, u, us, v, vs, cw, vch, mode);
		} else if (to == PX_NV12) {
			NV12Copy(s0, ss0, s1, ss1, d0, ds0, d1, ds1, w, h);
		} else {
			NV12ToI420(s0, ss0, s1, ss1, d0, ds0, d1, ds1, d2, ds2, w, h);
		}
		planar = 0;
	} else if (from == PX_MJPG) {
		raw r;
		uint8_t *rest;
		size_t n = (size_t)cw * ch;
		int e = decode(c, s0, bytes, w, h, sloppy, 2 * n, &r, &rest);
		if (e != PX_OK)
			return e;
		if (r.cw == 0) {
			SetPlane(u, us, dcw, dch, 128);
			SetPlane(v, vs, dcw, dch, 128);
		} else if (r.cw != cw || r.ch != ch) {
			// Chroma goes to its place, or into scratch when it must still be turned.
			uint8_t *q[2] = {turned ? rest : u, turned ? rest + n : v};
			int qs[2] = {turned ? cw : us, turned ? cw : vs};
			for (int i = 0; i < 2; i++)
				ScalePlane(r.p.p[1 + i], r.p.s[1 + i], r.cw, r.ch, q[i], qs[i], cw, ch, kFilterBilinear);
			r.p.p[1] = q[0], r.p.p[2] = q[1];
			r.p.s[1] = qs[0], r.p.s[2] = qs[1];
		}
		p = r.p;
		if (narrow && !turned) {
			narrow_copy(p.p[0], p.s[0], d0, ds0, w, h);
			narrowed = 1;
		} else {
			RotatePlane(p.p[0], p.s[0], d0, ds0, w, vh, mode);
		}
		if (r.cw && p.p[1] != u) {
			RotatePlane(p.p[1], p.s[1], u, us, cw, vch, mode);
			RotatePlane(p.p[2], p.s[2], v, vs, cw, vch, mode);
		}
		planar = 0;
	}
	if (planar) {
		RotatePlane(p.p[0], p.s[0], d0, ds0, w, vh, mode);
		if (!turned && merge) {
			MergeUVPlane(p.p[1], p.s[1], p.p[2], p.s[2], d1, ds1, cw, ch);
			merge = 0;
		} else {
			RotatePlane(p.p[1], p.s[1], u, us, cw, vch, mode);
			RotatePlane(p.p[2], p.s[2], v, vs, cw, vch, mode);
		}
	}
	if (merge)
		MergeUVPlane(u, us, v, vs, d1, ds1, dcw, dch);
	if (narrow) {
		if (!narrowed)
			narrow_plane(d0, ds0, dw, dh, 1);
		narrow_plane(d1, ds1, to == PX_NV12 ? 2 * dcw : dcw, dch, 0);
		if (to == PX_YU12)
			narrow_plane(d2, ds2, dcw, dch, 0);
	}
	return PX_OK;
}

void px_scale(int nv12, const uint8_t *s0, const uint8_t *s1, const uint8_t *s2,
	int ss0, int ss1, int ss2, int w, int h,
	uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2, int dw, int dh) {
	// The box filter looks at every pixel when a picture shrinks and is bilinear when it grows.
	if (nv12)
		NV12Scale(s0, ss0, s1, ss1, w, h, d0, ds0, d1, ds1, dw, dh, kFilterBox);
	else
		I420Scale(s0, ss0, s1, ss1, s2, ss2, w, h, d0, ds0, d1, ds1, d2, ds2, dw, dh, kFilterBox);
}

unsigned long px_jpeg_room(int w, int h, int sub) { return tjBufSize(w, h, sub); }

unsigned long px_jpeg(int nv12, int bt709, int full, int quality, int sub,
	const uint8_t *s0, const uint8_t *s1, const uint8_t *s2, int ss0, int ss1, int ss2,
	int w, int h, uint8_t *out, unsigned long bytes, char *text, int textroom) {
	// JFIF knows one matrix and one range only, so the picture goes by way of RGB.
	const struct YuvConstants *k = bt709 ? (full ? &kYuvF709Constants : &kYuvH709Constants)
		: (full ? &kYuvJPEGConstants : &kYuvI601Constants);
	unsigned long n = 0;
	tjhandle t = tjInitCompress();
	uint8_t *rgb = malloc((size_t)w * h * 4);
	if (!t || !rgb) {
		snprintf(text, textroom, "no memory");
	} else {
		if (nv12)
			NV12ToARGBMatrix(s0, ss0, s1, ss1, rgb, 4 * w, k, w, h);
		else
			I420ToARGBMatrix(s0, ss0, s1, ss1, s2, ss2, rgb, 4 * w, k, w, h);
		n = bytes;
		if (tjCompress2(t, rgb, w, 4 * w, h, TJPF_BGRX, &out, &n, sub, quality, TJFLAG_NOREALLOC)) {
			snprintf(text, textroom, "%s", tjGetErrorStr2(t));
			n = 0;
		}
	}
	free(rgb);
	if (t)
		tjDestroy(t);
	return n;
}
