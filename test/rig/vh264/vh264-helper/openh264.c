// SPDX-License-Identifier: Apache-2.0
#include "openh264.h"

#include <string.h>

int vo_open(vo *o, int w, int h, int bitrate, float fps) {
	SEncParamExt p;
	int e, format = videoFormatI420, quiet = WELS_LOG_QUIET;
	memset(o, 0, sizeof *o);
	if ((e = WelsCreateSVCEncoder(&o->e)))
		return e;
	(*o->e)->SetOption(o->e, ENCODER_OPTION_TRACE_LEVEL, &quiet);
	if ((e = (*o->e)->GetDefaultParams(o->e, &p)))
		return e;
	p.iUsageType = CAMERA_VIDEO_REAL_TIME;
	p.iPicWidth = w;
	p.iPicHeight = h;
	p.iTargetBitrate = bitrate;
	p.iMaxBitrate = UNSPECIFIED_BIT_RATE;
	p.fMaxFrameRate = fps;
	p.iRCMode = bitrate ? RC_BITRATE_MODE : RC_OFF_MODE;
	p.bEnableFrameSkip = false;
	p.iMinQp = 12;
	p.iMaxQp = 51;
	p.uiIntraPeriod = 0;
	p.eSpsPpsIdStrategy = CONSTANT_ID;
	p.bEnableSceneChangeDetect = false;
	p.iMultipleThreadIdc = 1;
	SSpatialLayerConfig *l = &p.sSpatialLayers[0];
	l->iVideoWidth = w;
	l->iVideoHeight = h;
	l->fFrameRate = fps;
	l->iSpatialBitrate = bitrate;
	l->iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
	l->uiProfileIdc = PRO_BASELINE;
	l->uiLevelIdc = LEVEL_5_2; // the SPS's is written over
	l->iDLayerQp = 30;
	l->sSliceArgument.uiSliceMode = SM_SINGLE_SLICE;
	if ((e = (*o->e)->InitializeExt(o->e, &p)))
		return e;
	o->pic.iColorFormat = videoFormatI420;
	o->pic.iPicWidth = w;
	o->pic.iPicHeight = h;
	o->pic.iStride[0] = w;
	o->pic.iStride[1] = o->pic.iStride[2] = w / 2;
	return (*o->e)->SetOption(o->e, ENCODER_OPTION_DATAFORMAT, &format);
}

int vo_rate(vo *o, int bitrate, float fps) {
	SBitrateInfo b = {SPATIAL_LAYER_ALL, bitrate};
	int e = (*o->e)->SetOption(o->e, ENCODER_OPTION_FRAME_RATE, &fps);
	return e || !bitrate ? e : (*o->e)->SetOption(o->e, ENCODER_OPTION_BITRATE, &b);
}

// In C++ ForceIntraFrame has a second argument that the C declaration lacks.
typedef int (*force)(ISVCEncoder *, bool idr, int layer);

int vo_encode(vo *o, uint8_t *i420, int key, long long ms) {
	int e, w = o->pic.iPicWidth, h = o->pic.iPicHeight;
	o->pic.pData[0] = i420;
	o->pic.pData[1] = i420 + w * h;
	o->pic.pData[2] = i420 + w * h * 5 / 4;
	o->pic.uiTimeStamp = ms;
	o->length = 0;
	if (key && (e = ((force)(*o->e)->ForceIntraFrame)(o->e, true, -1)))
		return e;
	if ((e = (*o->e)->EncodeFrame(o->e, &o->pic, &o->out)))
		return e;
	// The layers lie one behind the other.
	for (int i = 0; i < o->out.iLayerNum; i++)
		for (int k = 0; k < o->out.sLayerInfo[i].iNalCount; k++)
			o->length += o->out.sLayerInfo[i].pNalLengthInByte[k];
	return 0;
}

void vo_close(vo *o) {
	if (o->e) {
		(*o->e)->Uninitialize(o->e);
		WelsDestroySVCEncoder(o->e);
	}
	o->e = NULL;
}
