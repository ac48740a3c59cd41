package v4l2

import (
	"bytes"
	"fmt"

	v4l "github.com/vladimirvivien/go4vl/v4l2"

	"anchord/hal"
	"anchord/internal/media"
)

// layout says where a picture's planes lie in a buffer.
type layout struct {
	format media.Format
	stride [3]int
	offset [3]int
	length [3]int
	need   int // a picture with fewer bytes is short
}

// most is the largest side and the largest picture that are believed.
const (
	mostSide  = 16384
	mostBytes = 1 << 28
)

// fewestJPEG is less than any JPEG picture has: its tables alone are longer. Some
// cameras send such stubs (https://github.com/pikvm/ustreamer/blob/master/src/libs/capture.c).
const fewestJPEG = 128

// layoutOf reads what the driver granted and trusts none of it. The chroma planes of
// the planar formats follow the luma plane at once, with strides that follow from its
// (https://docs.kernel.org/userspace-api/media/v4l/pixfmt-yuv-planar.html).
func layoutOf(f v4l.PixFormat) (layout, error) {
	l := layout{format: media.Format{
		Pixel:  media.PixelFormat(f.PixelFormat),
		Size:   media.Size{W: int(f.Width), H: int(f.Height)},
		Colour: colour(f),
	}}
	w, h, stride := l.format.Size.W, l.format.Size.H, int(f.BytesPerLine)
	if f.Width == 0 || f.Height == 0 || f.Width > mostSide || f.Height > mostSide || f.BytesPerLine > 8*mostSide {
		return layout{}, fmt.Errorf("%w: the driver offers %s with %d bytes a line", hal.ErrUnsupported, l.format, f.BytesPerLine)
	}
	cw, ch := (w+1)/2, (h+1)/2
	line := w // bytes that a line needs
	switch l.format.Pixel {
	case media.MJPG, media.H264:
		l.need = 1
		if l.format.Pixel == media.MJPG {
			l.need = fewestJPEG
		}
		return l, nil
	case media.YUYV:
		line = 4 * cw
	case media.NV12:
		line = 2 * cw
	case media.YU12:
	default:
		return layout{}, fmt.Errorf("%w: the driver grants pixel format %s", hal.ErrUnsupported, l.format.Pixel)
	}
	if stride == 0 {
		stride = line
	}
	if stride < line || stride*h*2 > mostBytes {
		return layout{}, fmt.Errorf("%w: the driver offers %s with %d bytes a line", hal.ErrUnsupported, l.format, stride)
	}
	switch l.format.Pixel {
	case media.YUYV:
		l.plane(0, stride, h, line)
	case media.NV12:
		l.plane(0, stride, h, w)
		l.plane(1, stride, ch, line)
	case media.YU12:
		c := (stride + 1) / 2
		l.plane(0, stride, h, w)
		l.plane(1, c, ch, cw)
		l.plane(2, c, ch, cw)
	}
	return l, nil
}

// plane adds plane i: lines that are stride apart, in the very last of which only line
// bytes must be there.
func (l *layout) plane(i, stride, lines, line int) {
	l.stride[i] = stride
	if i > 0 {
		l.offset[i] = l.offset[i-1] + l.stride[i-1]*l.lines(i-1)
	}
	l.length[i] = stride * lines
	l.need = l.offset[i] + stride*(lines-1) + line
}

func (l *layout) lines(i int) int {
	if i == 0 {
		return l.format.Size.H
	}
	return (l.format.Size.H + 1) / 2
}

// fill lets f show the picture in b and tells whether there is a whole one.
func (l *layout) fill(f *media.Frame, b []byte) bool {
	if len(b) < l.need {
		return false
	}
	f.Format, f.Stride = l.format, l.stride
	if l.format.Pixel.Compressed() {
		if l.format.Pixel == media.MJPG && !bytes.HasPrefix(b, []byte{0xff, 0xd8}) {
			return false
		}
		f.Planes[0] = b
		return true
	}
	for i, n := range l.length {
		if n > 0 {
			end := min(l.offset[i]+n, len(b))
			f.Planes[i] = b[l.offset[i]:end:end]
		}
	}
	return true
}
