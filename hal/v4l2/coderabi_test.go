package v4l2

import (
	"testing"
	"unsafe"
)

// The kernel's sizes, from include/uapi/linux/videodev2.h compiled for each machine.
func TestCoderStructSizes(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	size := func(on64, on32 uintptr) uintptr {
		if word == 4 {
			return on32
		}
		return on64
	}
	var f formatArg
	var m pixFormatMPlane
	var p plane
	var s selectionArg
	for name, x := range map[string][2]uintptr{
		"v4l2_plane":                     {unsafe.Sizeof(p), size(64, 60)},
		"v4l2_plane.m":                   {unsafe.Offsetof(p.m), 8},
		"v4l2_plane.data_offset":         {unsafe.Offsetof(p.dataOffset), size(16, 12)},
		"v4l2_format":                    {unsafe.Sizeof(f), size(208, 204)},
		"v4l2_format.fmt":                {unsafe.Offsetof(f.u), word},
		"v4l2_pix_format":                {unsafe.Sizeof(pixFormat{}), 48},
		"v4l2_pix_format_mplane":         {unsafe.Sizeof(m), 192},
		"v4l2_pix_format_mplane.planes":  {unsafe.Offsetof(m.planes), 20},
		"v4l2_pix_format_mplane.count":   {unsafe.Offsetof(m.count), 180},
		"v4l2_pix_format_mplane.quant":   {unsafe.Offsetof(m.quant), 183},
		"v4l2_plane_pix_format":          {unsafe.Sizeof(planeFormat{}), 20},
		"v4l2_fmtdesc":                   {unsafe.Sizeof(formatDesc{}), 64},
		"v4l2_frmsizeenum":               {unsafe.Sizeof(frameSizes{}), 44},
		"v4l2_exportbuffer":              {unsafe.Sizeof(exportArg{}), 64},
		"v4l2_selection":                 {unsafe.Sizeof(s), 64},
		"v4l2_selection.r":               {unsafe.Offsetof(s.r), 12},
		"v4l2_crop":                      {unsafe.Sizeof(cropArg{}), 20},
		"v4l2_streamparm":                {unsafe.Sizeof(paramArg{}), 204},
		"v4l2_streamparm.timeperframe":   {unsafe.Offsetof(paramArg{}.num), 12},
		"v4l2_control":                   {unsafe.Sizeof(controlArg{}), 8},
		"v4l2_queryctrl":                 {unsafe.Sizeof(controlRange{}), 68},
		"v4l2_encoder_cmd":               {unsafe.Sizeof(commandArg{}), 40},
		"alignment of v4l2_pix_format's": {unsafe.Offsetof(f.u) % unsafe.Alignof(pixFormat{}), 0},
	} {
		if x[0] != x[1] {
			t.Errorf("%s: %d, want %d", name, x[0], x[1])
		}
	}
}

func TestCoderRequestNumbers(t *testing.T) {
	sFmt := uint(0xc0d05605)
	if unsafe.Sizeof(uintptr(0)) == 4 {
		sFmt = 0xc0cc5605
	}
	for name, n := range map[string][2]uint{
		"ENUM_FMT":        {vidiocEnumFmt, 0xc0405602},
		"G_FMT":           {vidiocGFmt, sFmt - 1},
		"S_FMT":           {vidiocSFmt, sFmt},
		"EXPBUF":          {vidiocExpBuf, 0xc0405610},
		"G_PARM":          {vidiocGParm, 0xc0cc5615},
		"S_PARM":          {vidiocSParm, 0xc0cc5616},
		"G_CTRL":          {vidiocGCtrl, 0xc008561b},
		"S_CTRL":          {vidiocSCtrl, 0xc008561c},
		"QUERYCTRL":       {vidiocQueryCtrl, 0xc0445624},
		"S_CROP":          {vidiocSCrop, 0x4014563c},
		"ENUM_FRAMESIZES": {vidiocEnumSizes, 0xc02c564a},
		"ENCODER_CMD":     {vidiocEncoderCmd, 0xc028564d},
		"G_SELECTION":     {vidiocGSelection, 0xc040565e},
		"S_SELECTION":     {vidiocSSelection, 0xc040565f},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %#x, want %#x", name, n[0], n[1])
		}
	}
}
