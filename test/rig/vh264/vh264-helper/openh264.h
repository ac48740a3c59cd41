// SPDX-License-Identifier: Apache-2.0
// OpenH264 as a hardware encoder would be: every picture gives data, and the quantiser alone keeps the
// rate.
#ifndef VH264_OPENH264_H
#define VH264_OPENH264_H
#include <stdint.h>
#include <wels/codec_api.h>

typedef struct {
	ISVCEncoder *e;
	SSourcePicture pic;
	SFrameBSInfo out;
	int length; // of what vo_encode gave, which is at out.sLayerInfo[0].pBsBuf
} vo;

// Each gives 0 or the library's error number. bitrate 0: a constant quantiser.
int vo_open(vo *o, int w, int h, int bitrate, float fps);
int vo_rate(vo *o, int bitrate, float fps);
int vo_encode(vo *o, uint8_t *i420, int key, long long ms);
void vo_close(vo *o);
#endif
