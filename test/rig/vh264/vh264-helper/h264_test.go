// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"testing"

	"anchord/internal/media"
)

func encode(t *testing.T, e engine, j *job, p []byte) coded {
	t.Helper()
	c, err := e.encode(j, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A still picture costs next to nothing after its key frame, a changed block its own size.
func TestEncodeChangedBlocksOnly(t *testing.T) {
	j := &job{Width: 64, Height: 32, CropW: 64, CropH: 30, Stride: 64, Fourcc: fourccNV12}
	p := make([]byte, 64*32*3/2)
	for i := range p {
		p[i] = byte(i*7) | 4 // nothing that needs emulation prevention
	}
	s := &lossless{}
	c := encode(t, s, j, p)
	if !c.key || len(c.data) < len(p) || !bytes.Contains(c.data[:c.head], []byte{0, 0, 0, 1, 0x67}) || !bytes.HasPrefix(c.data[c.head:], []byte{0, 0, 0, 1, 0x65}) {
		t.Fatalf("first picture: key %v, %d bytes", c.key, len(c.data))
	}
	if c = encode(t, s, j, p); c.key || c.head != 0 || len(c.data) > 32 {
		t.Errorf("still picture: key %v, %d bytes", c.key, len(c.data))
	}
	p[0] ^= 8
	if c = encode(t, s, j, p); c.key || len(c.data) < mbSize || len(c.data) > mbSize+32 {
		t.Errorf("one block changed: key %v, %d bytes", c.key, len(c.data))
	}
	j.Flags = flagKey
	if c = encode(t, s, j, p); !c.key {
		t.Error("a demanded key frame is none")
	}
}

func TestNALHasNoStartCodeInside(t *testing.T) {
	n := nal(nil, 0x41, []byte{0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3})
	if bytes.Contains(n[4:], []byte{0, 0, 0}) || bytes.Contains(n[4:], []byte{0, 0, 1}) {
		t.Errorf("% x", n)
	}
}

func TestParseRefusesShortJobs(t *testing.T) {
	b, err := binary.Append(nil, binary.LittleEndian, job{Magic: magic, Width: 16, Height: 16, CropW: 16, CropH: 16, Stride: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, b[:10], b, append(make([]byte, jobSize), make([]byte, 384)...)} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%d bytes are taken", len(bad))
		}
	}
	if _, err := parse(append(b, make([]byte, 384)...)); err != nil {
		t.Error(err)
	}
}

// moving is a picture that differs from frame to frame everywhere, hard to code.
func moving(j *job, n int) []byte {
	w, h := int(j.Width), int(j.Height)
	p := make([]byte, w*h*3/2)
	r := uint32(n*7919 + 1)
	for y := range h {
		for x := range w {
			r = r*1664525 + 1013904223
			p[y*w+x] = byte((x+3*n)^(y+n)) + byte(r>>28)
		}
	}
	for i := w * h; i < len(p); i++ {
		p[i] = byte(128 + (i+n)%16)
	}
	return p
}

func TestOpenH264KeepsRateAndGOP(t *testing.T) {
	j := &job{Width: 320, Height: 240, CropW: 320, CropH: 236, Stride: 320, Fourcc: fourccNV12, Bitrate: 600e3, Gop: 30, FpsNum: 30, FpsDen: 1, Level: 13}
	e := &real{}
	defer e.close()
	count := func(n int) (bits, keys int) {
		for range n {
			c := encode(t, e, j, moving(j, int(e.pictures)))
			if bits += len(c.data) * 8; len(c.data) == 0 {
				t.Error("a picture without data")
			}
			if c.key {
				keys++
				s, err := media.ParseSPS(first(c.data[:c.head]))
				if err != nil {
					t.Fatal(err)
				}
				if s.Level != 13 || s.Profile != 66 || s.Constraints&0x40 == 0 || s.Size != (media.Size{W: 320, H: 236}) {
					t.Errorf("parameter set: %+v", s)
				}
				if !media.IsKey(c.data[c.head:]) || media.TypeOf(first(c.data[c.head:])) != media.NALIDR {
					t.Error("something else behind the parameter sets")
				}
			} else if c.head != 0 {
				t.Error("parameter sets without a key frame")
			}
		}
		return bits, keys
	}
	near := func(bits int, want float64) bool { return float64(bits) > 0.8*want && float64(bits) < 1.2*want }
	if bits, keys := count(90); keys != 3 || !near(bits, 3*600e3) {
		t.Errorf("3 s of 600 kbit/s: %d bits, %d key frames", bits, keys)
	}
	j.Bitrate, j.Gop = 1200e3, 0
	count(30)
	if bits, keys := count(60); keys != 0 || !near(bits, 2*1200e3) {
		t.Errorf("2 s of 1200 kbit/s: %d bits, %d key frames", bits, keys)
	}
	j.FpsNum = 15 // twice the bits for a picture
	count(15)
	if bits, _ := count(30); !near(bits, 2*1200e3) {
		t.Errorf("2 s of 1200 kbit/s at 15 frames a second: %d bits", bits)
	}
	j.Bitrate = 0 // a constant quantiser
	if bits, keys := count(30); keys != 1 || near(bits, 2*1200e3) {
		t.Errorf("without rate control: %d bits, %d key frames", bits, keys)
	}
	j.Flags = flagKey
	if c := encode(t, e, j, moving(j, 0)); !c.key {
		t.Error("a demanded key frame is none")
	}
	j.Width, j.Height, j.CropW, j.CropH, j.Stride, j.Flags = 160, 128, 160, 120, 160, 0
	if c := encode(t, e, j, moving(j, 0)); !c.key {
		t.Error("another size without a key frame")
	}
}

func first(au []byte) []byte {
	n, _ := media.NextNAL(au)
	return n
}
