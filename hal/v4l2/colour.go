package v4l2

import (
	v4l "github.com/vladimirvivien/go4vl/v4l2"

	"anchord/internal/media"
)

// Encodings that go4vl does not name (include/uapi/linux/videodev2.h).
const (
	encSYCC      = 5
	encSMPTE240M = 8
)

// More code points of ITU-T H.273.
const (
	bt470M    = 4 // primaries of 470 system M; transfer with a gamma of 2.2
	smpte240M = 7 // primaries, transfer and matrix
	linear    = 8
	bt2020    = 9  // primaries and non-constant luminance matrix
	bt2020CL  = 10 // constant luminance matrix
	smpte431  = 11 // primaries of DCI-P3
	smpte2084 = 16
	smpte428  = 17 // transfer of DCI-P3
)

// colour says what a format's numbers mean. What the driver leaves open follows from
// its colour space by the rules of V4L2_MAP_XFER_FUNC_DEFAULT, V4L2_MAP_YCBCR_ENC_DEFAULT
// and V4L2_MAP_QUANTIZATION_DEFAULT in include/uapi/linux/videodev2.h. A driver that does
// not even name a colour space is believed to know nothing.
func colour(f v4l.PixFormat) media.Colour {
	var c media.Colour
	space := f.Colorspace
	if media.PixelFormat(f.PixelFormat) == media.MJPG {
		// JFIF is full range BT.601 whatever the sensor does; cameras that make their
		// JPEG otherwise say so (https://docs.kernel.org/userspace-api/media/v4l/colorspaces-details.html#colorspace-jpeg-v4l2-colorspace-jpeg).
		c.Full = f.Quantization != v4l.QuantizationLimitedRange
		if space == v4l.ColorspaceDefault || space == v4l.ColorspaceSRGB {
			space = v4l.ColorspaceJPEG
		}
	} else {
		c.Full = f.Quantization == v4l.QuantizationFullRange ||
			f.Quantization == v4l.QuantizationDefault && space == v4l.ColorspaceJPEG
	}
	c.Primaries = primaries(space)
	c.Transfer = transfer(f.XferFunc, space)
	c.Matrix = matrix(f.YcbcrEnc, space)
	return c
}

func primaries(space v4l.ColorspaceType) uint8 {
	switch space {
	case v4l.ColorspaceREC709, v4l.ColorspaceSRGB, v4l.ColorspaceJPEG:
		return media.BT709
	case v4l.ColorspaceSMPTE170M:
		return media.BT601
	case v4l.ColorspaceSMPTE240M:
		return smpte240M
	case v4l.Colorspace470SystemM:
		return bt470M
	case v4l.Colorspace470SystemBG:
		return media.BT470B
	case v4l.ColorspaceBT2020:
		return bt2020
	case v4l.ColorspaceDCIP3:
		return smpte431
	}
	return 0
}

func transfer(x v4l.XferFunctionType, space v4l.ColorspaceType) uint8 {
	switch x {
	case v4l.XferFuncDefault:
		switch space {
		case v4l.ColorspaceDefault:
			return 0
		case v4l.ColorspaceSMPTE170M:
			return media.BT601 // the same curve under the name that goes with the rest
		case v4l.ColorspaceSRGB, v4l.ColorspaceJPEG:
			return media.SRGB
		case v4l.ColorspaceOPRGB:
			return bt470M
		case v4l.ColorspaceSMPTE240M:
			return smpte240M
		case v4l.ColorspaceDCIP3:
			return smpte428
		case v4l.ColorspaceRaw:
			return linear
		}
		return media.BT709
	case v4l.XferFunc709:
		return media.BT709
	case v4l.XferFuncSRGB:
		return media.SRGB
	case v4l.XferFuncOpRGB:
		return bt470M
	case v4l.XferFuncSMPTE240M:
		return smpte240M
	case v4l.XferFuncNone:
		return linear
	case v4l.XferFuncDCIP3:
		return smpte428
	case v4l.XferFuncSMPTE2084:
		return smpte2084
	}
	return 0
}

func matrix(enc v4l.YCbCrEncodingType, space v4l.ColorspaceType) uint8 {
	switch enc {
	case v4l.YCbCrEncodingDefault:
		switch space {
		case v4l.ColorspaceDefault, v4l.ColorspaceRaw:
			return 0
		case v4l.ColorspaceREC709, v4l.ColorspaceDCIP3:
			return media.BT709
		case v4l.ColorspaceBT2020:
			return bt2020
		case v4l.ColorspaceSMPTE240M:
			return smpte240M
		case v4l.ColorspaceJPEG, v4l.Colorspace470SystemBG:
			return media.BT470B // the numbers of BT.601 under the name that JFIF uses
		}
		return media.BT601
	case v4l.YCbCrEncoding601, v4l.YCbCrEncodingXV601, encSYCC:
		if space == v4l.ColorspaceJPEG {
			return media.BT470B
		}
		return media.BT601
	case v4l.YCbCrEncoding709, v4l.YCbCrEncodingXV709:
		return media.BT709
	case v4l.YCbCrEncodingBT2020:
		return bt2020
	case v4l.YCbCrEncodingBT2020ConstLum:
		return bt2020CL
	case encSMPTE240M:
		return smpte240M
	}
	return 0
}
