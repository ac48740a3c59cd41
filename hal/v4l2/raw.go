package v4l2

import (
	"fmt"
	"unsafe"

	"anchord/hal"
	"anchord/internal/media"
	"anchord/internal/pixel"
)

// Raw formats of encoders beside media's: the same pictures with each plane in a piece of
// memory of its own (https://docs.kernel.org/userspace-api/media/v4l/pixfmt-yuv-planar.html).
const (
	fourccNM12 = 'N' | 'M'<<8 | '1'<<16 | '2'<<24
	fourccYM12 = 'Y' | 'M'<<8 | '1'<<16 | '2'<<24
)

// rawFormat is one that we can fill.
type rawFormat struct {
	fourcc uint32
	pixel  media.PixelFormat
	pieces int // of memory
}

// rawFormats are those that we can fill, best first among those that are not what the
// pictures come in.
var rawFormats = [...]rawFormat{
	{uint32(media.NV12), media.NV12, 1}, {uint32(media.YU12), media.YU12, 1},
	{fourccNM12, media.NV12, 2}, {fourccYM12, media.YU12, 3},
}

// rank orders formats for pictures that come in pixel: those that need no conversion come
// first.
func (f rawFormat) rank(pixel media.PixelFormat) int {
	if f.pixel == pixel {
		return 0
	}
	return 1
}

// spot says where one plane of a picture lies in an encoder's buffer.
type spot struct{ piece, offset, stride, lines, line int }

// rawLayout says where a picture lies in an encoder's buffers.
type rawLayout struct {
	rawFormat
	size   media.Size // of the picture; the buffer has room for coded
	coded  media.Size
	planes [3]spot
	need   [maxPlanes]int // bytes that the picture takes of each piece
	bytes  [maxPlanes]int // that the driver wants to be given
}

// rawLayoutOf reads what the driver granted for pictures of that size, and trusts none of
// it: less room than the picture needs would be written past.
func rawLayoutOf(f picFormat, size media.Size) (rawLayout, error) {
	l := rawLayout{size: size, coded: media.Size{W: int(f.width), H: int(f.height)}}
	for _, r := range rawFormats {
		if r.fourcc == f.pixel {
			l.rawFormat = r
		}
	}
	if l.pixel == 0 || f.planes != l.pieces {
		return l, fmt.Errorf("the driver grants pictures in %s with %d planes: %w", media.PixelFormat(f.pixel), f.planes, hal.ErrUnsupported)
	}
	if l.coded.W < size.W || l.coded.H < size.H || l.coded.W > mostSide || l.coded.H > mostSide {
		return l, fmt.Errorf("the driver takes pictures of %s, not of %s: %w", l.coded, size, hal.ErrUnsupported)
	}
	cw, ch := (size.W+1)/2, (size.H+1)/2
	lines, half := l.coded.H, (l.coded.H+1)/2 // how far planes lie apart
	stride := int(f.stride[0])
	if stride == 0 {
		stride = l.coded.W
	}
	if stride < size.W || stride > 8*mostSide {
		return l, fmt.Errorf("the driver takes pictures of %s with %d bytes a line: %w", size, stride, hal.ErrUnsupported)
	}
	second := func(i, usual int) int { // the stride of a plane with memory of its own
		if int(f.stride[i]) > 0 {
			return int(f.stride[i])
		}
		return usual
	}
	l.planes[0] = spot{0, 0, stride, size.H, size.W}
	switch l.fourcc {
	case uint32(media.NV12):
		l.planes[1] = spot{0, stride * lines, stride, ch, 2 * cw}
	case uint32(media.YU12):
		c := stride / 2
		l.planes[1] = spot{0, stride * lines, c, ch, cw}
		l.planes[2] = spot{0, stride*lines + c*half, c, ch, cw}
	case fourccNM12:
		l.planes[1] = spot{1, 0, second(1, stride), ch, 2 * cw}
	case fourccYM12:
		l.planes[1] = spot{1, 0, second(1, stride/2), ch, cw}
		l.planes[2] = spot{2, 0, second(2, stride/2), ch, cw}
	}
	for _, p := range l.planes {
		if p.lines == 0 {
			continue
		}
		if p.stride < p.line {
			return l, fmt.Errorf("the driver takes colours of %s with %d bytes a line: %w", size, p.stride, hal.ErrUnsupported)
		}
		l.need[p.piece] = max(l.need[p.piece], p.offset+p.stride*(p.lines-1)+p.line)
	}
	for i := range l.pieces {
		l.bytes[i] = int(f.size[i])
		if int(f.size[i]) < l.need[i] || int(f.size[i]) > mostBytes {
			return l, fmt.Errorf("the driver's buffers have %d bytes, %s needs %d: %w", f.size[i], size, l.need[i], hal.ErrUnsupported)
		}
	}
	return l, nil
}

// view makes f show the picture's place in an encoder's buffer.
func (l *rawLayout) view(f *media.Frame, pieces [maxPlanes][]byte) {
	f.Format = media.Format{Pixel: l.pixel, Size: l.size}
	for i, p := range l.planes {
		if p.lines == 0 {
			f.Planes[i], f.Stride[i] = nil, 0
			continue
		}
		b := pieces[p.piece]
		end := min(p.offset+p.stride*p.lines, len(b))
		f.Planes[i], f.Stride[i] = b[p.offset:end:end], p.stride
	}
}

// importable tells whether the encoder would find every line of f's picture where it looks
// for it, if it were given f's memory as it is.
func (l *rawLayout) importable(f *media.Frame) bool {
	if f.Memory != media.DMABUF || f.FD < 0 || f.Offset != 0 || f.Pixel != l.pixel || l.pieces != 1 {
		return false
	}
	base := uintptr(unsafe.Pointer(unsafe.SliceData(f.Planes[0])))
	for i, p := range l.planes {
		if p.lines == 0 {
			continue
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(f.Planes[i]))) - base
		if f.Stride[i] != p.stride || at != uintptr(p.offset) {
			return false
		}
	}
	return true
}

// sameLines tells whether pictures with these strides may be importable.
func (l *rawLayout) sameLines(stride [3]int) bool {
	return l.pieces == 1 && stride[0] == l.planes[0].stride && l.coded.H == l.size.H
}

// filler copies pictures into an encoder's buffers.
type filler struct {
	conv     pixel.Converter
	from, to *media.Frame // what is copied, without the turn that it owes, and where to
}

func newFiller() filler { return filler{from: media.NewFrame(nil), to: media.NewFrame(nil)} }

// fill copies f's picture, and converts it if it comes in another format. Lines that the
// encoder codes below the picture are filled with its last one, and columns with its last
// pixels: they cost the fewest bits, and what is filtered across the edge looks right.
func (c *filler) fill(l *rawLayout, pieces [maxPlanes][]byte, f *media.Frame) error {
	l.view(c.to, pieces)
	if f.Pixel == l.pixel {
		for i := range l.planes {
			copyPlane(c.to, f, i, &l.planes[i])
		}
	} else {
		c.from.Format, c.from.Planes, c.from.Stride = f.Format, f.Planes, f.Stride
		c.from.Colour.Full = false // the numbers stay as they are
		if err := c.conv.Convert(c.to, c.from); err != nil {
			return err
		}
	}
	if l.coded != l.size {
		l.pad(pieces)
	}
	return nil
}

func copyPlane(to, from *media.Frame, i int, p *spot) {
	d, s := to.Planes[i], from.Planes[i]
	if ds, ss := to.Stride[i], from.Stride[i]; ds == ss && p.lines > 0 {
		copy(d, s[:min(len(s), ds*(p.lines-1)+p.line)])
		return
	}
	for y := range p.lines {
		copy(d[y*to.Stride[i]:][:p.line], s[y*from.Stride[i]:][:p.line])
	}
}

// pad fills what lies right of the picture and below it.
func (l *rawLayout) pad(pieces [maxPlanes][]byte) {
	for i, p := range l.planes {
		if p.lines == 0 {
			continue
		}
		b := pieces[p.piece]
		width, lines, unit := l.coded.W, l.coded.H, 1
		if i > 0 {
			width, lines = (width+1)/2, (lines+1)/2
		}
		if i > 0 && l.pixel == media.NV12 {
			width, unit = 2*width, 2
		}
		if width = min(width, p.stride); width > p.line {
			for y := range p.lines {
				line := b[p.offset+y*p.stride:]
				for x := p.line; x < width && x < len(line); x++ {
					line[x] = line[x-unit]
				}
			}
		}
		last := b[p.offset+(p.lines-1)*p.stride:]
		last = last[:min(width, len(last))]
		for y := p.lines; y < lines; y++ {
			at := p.offset + y*p.stride
			if at+len(last) > len(b) {
				break
			}
			copy(b[at:], last)
		}
	}
}

// checkFrame makes sure that every byte that will be read lies within f's planes.
func checkFrame(f *media.Frame, want media.Format) error {
	s := want.Size
	if f.Pixel != want.Pixel || f.Size != s {
		return fmt.Errorf("it is %s, the encoder is open for %s", f.Format, want)
	}
	cw, ch := (s.W+1)/2, (s.H+1)/2
	planes := [3]spot{{lines: s.H, line: s.W}, {lines: ch, line: cw}, {lines: ch, line: cw}}
	if f.Pixel == media.NV12 {
		planes[1].line, planes[2] = 2*cw, spot{}
	}
	for i, p := range planes {
		if n := f.Stride[i]; p.lines > 0 && (n < p.line || n > 1<<20 || len(f.Planes[i]) < n*(p.lines-1)+p.line) {
			return fmt.Errorf("plane %d of %s has %d bytes with lines of %d, too few", i, f.Format, len(f.Planes[i]), n)
		}
	}
	return nil
}
