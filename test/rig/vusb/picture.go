// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
)

const counterBits = 16

// counterArea is the rectangle of the frame number's i-th block.
func counterArea(s size, i int) image.Rectangle {
	x := s.w/10 + i*s.w/20
	return image.Rect(x, 0, s.w/10+(i+1)*s.w/20, s.h/12)
}

// scene draws colour bars with the four corners, and all blocks of the frame number in one shade.
func scene(s size, blocks color.YCbCr) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, s.w, s.h), image.YCbCrSubsampleRatio422)
	for b := range 8 {
		fill(m, image.Rect(b*s.w/8, 0, (b+1)*s.w/8, s.h), color.YCbCr{Y: byte(200 - b*20), Cb: byte(128 + 60*(b&1) - 30*(b>>2)), Cr: byte(128 - 50*(b>>1&1) + 20*(b&1))})
	}
	w, h := s.w/10, s.h/6
	for _, c := range []struct {
		at      image.Point
		r, g, b byte
	}{
		{image.Pt(0, 0), 255, 0, 0},
		{image.Pt(s.w-w, 0), 0, 255, 0},
		{image.Pt(0, s.h-h), 0, 0, 255},
		{image.Pt(s.w-w, s.h-h), 255, 255, 0},
	} {
		y, cb, cr := color.RGBToYCbCr(c.r, c.g, c.b)
		fill(m, image.Rect(c.at.X, c.at.Y, c.at.X+w, c.at.Y+h), color.YCbCr{Y: y, Cb: cb, Cr: cr})
	}
	for i := range counterBits {
		fill(m, counterArea(s, i), blocks)
	}
	return m
}

func white() color.YCbCr { return color.YCbCr{Y: 235, Cb: 128, Cr: 128} }
func black() color.YCbCr { return color.YCbCr{Y: 16, Cb: 128, Cr: 128} }

func fill(m *image.YCbCr, r image.Rectangle, c color.YCbCr) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			i := m.COffset(x, y)
			m.Y[m.YOffset(x, y)], m.Cb[i], m.Cr[i] = c.Y, c.Cb, c.Cr
		}
	}
}

// painter gives a format's frames. What it returns is valid until the next call.
type painter interface{ paint(n uint16) []byte }

// rawPainter keeps one YUYV picture and repaints the frame number.
type rawPainter struct {
	s     size
	frame []byte
}

func newRawPainter(s size) *rawPainter {
	m := scene(s, black())
	p := &rawPainter{s: s, frame: make([]byte, 0, s.w*s.h*2)}
	for y := range s.h {
		for x := 0; x < s.w; x += 2 {
			i, c := m.YOffset(x, y), m.COffset(x, y)
			p.frame = append(p.frame, m.Y[i], m.Cb[c], m.Y[i+1], m.Cr[c])
		}
	}
	return p
}

func (p *rawPainter) paint(n uint16) []byte {
	for i := range counterBits {
		c := black()
		if n>>(counterBits-1-i)&1 == 1 {
			c = white()
		}
		r := counterArea(p.s, i)
		first := p.frame[2*(r.Min.Y*p.s.w+r.Min.X):][:2*r.Dx()]
		for x := 0; x < len(first); x += 2 {
			first[x] = c.Y
		}
		for y := r.Min.Y + 1; y < r.Max.Y; y++ {
			copy(p.frame[2*(y*p.s.w+r.Min.X):], first)
		}
	}
	return p.frame
}

// jpegPainter composes JPEG frames of blocks encoded once: with a restart marker after every block of
// 16x16 pixels none depends on another, so that a new number costs copying and not encoding, which an
// emulated machine could not do 30 times a second.
type jpegPainter struct {
	head  []byte
	tiles [2][][]byte // the picture's blocks, line by line, with all bits 0 and with all bits 1
	bit   []int       // which bit of the number a block shows, or -1; only for the first lines of blocks
	tail  []byte      // the other lines, with their markers
	out   []byte
}

const tile = 16 // image/jpeg subsamples 4:2:0

func newJPEGPainter(s size) (*jpegPainter, error) {
	p := &jpegPainter{}
	top := (s.h/12 + tile - 1) / tile
	columns := s.w / tile
	known := map[string][]byte{} // most blocks look like others
	for v, c := range []color.YCbCr{black(), white()} {
		m := scene(s, c)
		for y := 0; y < s.h; y += tile {
			if v == 1 && y >= top*tile {
				break
			}
			for x := 0; x < s.w; x += tile {
				part := m.SubImage(image.Rect(x, y, x+tile, y+tile)).(*image.YCbCr)
				look := looks(part)
				scan, ok := known[look]
				if !ok {
					var b bytes.Buffer
					if err := jpeg.Encode(&b, part, &jpeg.Options{Quality: 80}); err != nil {
						return nil, err
					}
					var err error
					if p.head, scan, err = splitJPEG(b.Bytes(), s, 1); err != nil {
						return nil, err
					}
					known[look] = scan
				}
				p.tiles[v] = append(p.tiles[v], scan)
			}
		}
	}
	for i := range top * columns {
		bit := -1
		for j := range counterBits {
			if r := counterArea(s, j); i%columns*tile >= r.Min.X && i%columns*tile < r.Max.X {
				bit = counterBits - 1 - j
			}
		}
		p.bit = append(p.bit, bit)
	}
	all := p.tiles[0]
	for i := len(p.bit); i < len(all); i++ {
		p.tail = append(p.tail, all[i]...)
		if i < len(all)-1 {
			p.tail = append(p.tail, 0xff, byte(0xd0+i%8))
		}
	}
	p.tail = append(p.tail, 0xff, 0xd9)
	return p, nil
}

// looks gives a block's bytes.
func looks(m *image.YCbCr) string {
	r := m.Bounds()
	b := make([]byte, 0, 2*tile*tile)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		i, c := m.YOffset(r.Min.X, y), m.COffset(r.Min.X, y)
		b = append(b, m.Y[i:i+r.Dx()]...)
		b = append(b, m.Cb[c:c+r.Dx()/2]...)
		b = append(b, m.Cr[c:c+r.Dx()/2]...)
	}
	return string(b)
}

func (p *jpegPainter) paint(n uint16) []byte {
	b := append(p.out[:0], p.head...)
	for i, bit := range p.bit {
		v := 0
		if bit >= 0 {
			v = int(n >> bit & 1)
		}
		b = append(b, p.tiles[v][i]...)
		b = append(b, 0xff, byte(0xd0+i%8))
	}
	p.out = append(b, p.tail...)
	return p.out
}

// splitJPEG gives the header, for a picture of size s with a restart marker after every so many blocks,
// and the entropy-coded data.
func splitJPEG(b []byte, s size, restart int) (head, scan []byte, err error) {
	const sof0, sos, dri = 0xc0, 0xda, 0xdd
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return nil, nil, errors.New("not a JPEG")
	}
	head = append(head, b[:2]...)
	for b = b[2:]; len(b) >= 4 && b[0] == 0xff; {
		n := 2 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		seg := bytes.Clone(b[:n])
		switch b[1] {
		case sof0:
			seg[5], seg[6], seg[7], seg[8] = byte(s.h>>8), byte(s.h), byte(s.w>>8), byte(s.w)
		case sos:
			head = append(head, 0xff, dri, 0, 4, byte(restart>>8), byte(restart))
			return append(head, seg...), bytes.TrimSuffix(b[n:], []byte{0xff, 0xd9}), nil
		}
		head, b = append(head, seg...), b[n:]
	}
	return nil, nil, errors.New("a JPEG without a scan")
}

// loopPainter repeats the access units of a file.
type loopPainter struct{ units [][]byte }

func (p loopPainter) paint(n uint16) []byte { return p.units[int(n)%len(p.units)] }

// accessUnits splits an Annex B stream at its access unit delimiters.
func accessUnits(b []byte) (units [][]byte) {
	delimiter := []byte{0, 0, 0, 1, 9}
	for len(b) > 0 {
		i := bytes.Index(b[1:], delimiter)
		if i < 0 {
			return append(units, b)
		}
		units, b = append(units, b[:i+1]), b[i+1:]
	}
	return units
}
