package rtc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anchord/internal/media"
)

// depacketize is the receiver's side of RFC 6184, strict: what it does not expect is
// an error.
func depacketize(payloads [][]byte) (nals [][]byte, err error) {
	var unit []byte // FU-A in progress
	for i, p := range payloads {
		if len(p) == 0 {
			return nil, fmt.Errorf("payload %d: empty", i)
		}
		if t := p[0] & 0x1f; unit != nil && t != fuA {
			return nil, fmt.Errorf("payload %d: type %d in the middle of a fragmented unit", i, t)
		}
		switch t := p[0] & 0x1f; {
		case t >= 1 && t < stapA:
			nals = append(nals, p)
		case t == stapA:
			n := 0
			for b := p[1:]; len(b) > 0; n++ {
				if len(b) < 2 {
					return nil, fmt.Errorf("payload %d: STAP-A cut off", i)
				}
				size := int(binary.BigEndian.Uint16(b))
				if size == 0 || size > len(b)-2 {
					return nil, fmt.Errorf("payload %d: STAP-A unit of %d bytes", i, size)
				}
				if b[2]&0x60 > p[0]&0x60 {
					return nil, fmt.Errorf("payload %d: nal_ref_idc lower than inside", i)
				}
				nals, b = append(nals, b[2:2+size]), b[2+size:]
			}
			if n < 2 {
				return nil, fmt.Errorf("payload %d: STAP-A of %d units", i, n)
			}
		case t == fuA:
			if len(p) < 3 || p[1]&fuStart != 0 == (unit != nil) || p[1]&(fuStart|fuEnd) == fuStart|fuEnd {
				return nil, fmt.Errorf("payload %d: FU-A %x", i, p[:2])
			}
			if unit == nil {
				unit = []byte{p[0]&0xe0 | p[1]&0x1f}
			}
			unit = append(unit, p[2:]...)
			if p[1]&fuEnd != 0 {
				nals, unit = append(nals, unit), nil
			}
		default:
			return nil, fmt.Errorf("payload %d: type %d", i, t)
		}
	}
	if unit != nil {
		return nil, fmt.Errorf("fragmented unit has no end")
	}
	return nals, nil
}

// wanted gives the units of au that must arrive.
func wanted(au []byte) (nals [][]byte) {
	for nal, rest := media.NextNAL(au); len(nal) > 0; nal, rest = media.NextNAL(rest) {
		if t := nal[0] & 0x1f; t != 0 && t != 9 && t != 12 && t < 24 {
			nals = append(nals, nal)
		}
	}
	return nals
}

// unit makes a NAL unit of n bytes that has no start code inside.
func unit(head byte, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(head), uint64(n)))
	for i := range b {
		b[i] = byte(r.UintN(254)) + 2
	}
	b[0] = head
	return b
}

func accessUnit(nals ...[]byte) (au []byte) {
	for _, n := range nals {
		au = append(append(au, 0, 0, 0, 1), n...)
	}
	return au
}

func TestPacketizer(t *testing.T) {
	sps, pps, aud := unit(0x67, 25), unit(0x68, 6), unit(0x09, 2)
	tests := []struct {
		name      string
		au        []byte
		max, tail int
		sizes     []int
	}{
		{"nothing", nil, 1172, 8, nil},
		{"no start code", []byte{0x65, 1, 2, 3}, 1172, 8, nil},
		{"delimiter and filler only", accessUnit(aud, unit(0x0c, 500)), 1172, 8, nil},
		{"types that RTP gives another meaning", accessUnit(unit(0x78, 20), unit(0x7c, 20), unit(0x60, 20)), 1172, 8, nil},
		{"one small unit", accessUnit(unit(0x41, 300)), 1172, 8, []int{300}},
		{"unit of the limit", accessUnit(unit(0x41, 1164)), 1172, 8, []int{1164}},
		{"one byte more", accessUnit(unit(0x41, 1165)), 1172, 8, []int{588, 580}},
		{"small ones together", accessUnit(aud, sps, pps, unit(0x06, 10), unit(0x65, 800)), 1172, 8, []int{1 + 8 + 25 + 6 + 10 + 800}},
		{"key picture", accessUnit(aud, sps, pps, unit(0x65, 10416)), 1172, 8, []int{36, 1161, 1161, 1161, 1161, 1161, 1161, 1161, 1161, 1145}},
		{"slices", accessUnit(unit(0x41, 1000), unit(0x41, 900)), 1172, 0, []int{1000, 900}},
		{"no tail", accessUnit(unit(0x65, 2341)), 1172, 0, []int{1172, 1172}},
	}
	var p packetizer
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := p.cut(tt.au, tt.max, tt.tail)
			var sizes []int
			for _, b := range out {
				sizes = append(sizes, len(b))
			}
			if d := cmp.Diff(tt.sizes, sizes); d != "" {
				t.Errorf("sizes (-want +got):\n%s", d)
			}
			checkCut(t, tt.au, out, tt.max, tt.tail)
		})
	}
}

func checkCut(t *testing.T, au []byte, out [][]byte, max, tail int) {
	t.Helper()
	for i, b := range out {
		if len(b) > max || i == len(out)-1 && len(b)+tail > max {
			t.Errorf("payload %d of %d has %d bytes", i, len(out), len(b))
		}
	}
	got, err := depacketize(out)
	if err != nil {
		t.Fatal(err)
	}
	if !same(wanted(au), got) {
		t.Errorf("units differ: %.200x, want %.200x", got, wanted(au))
	}
}

// same compares much faster than cmp.Diff does.
func same(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func TestPieceSize(t *testing.T) {
	for _, max := range []int{98, 1170} {
		for _, tail := range []int{0, 4, 8} {
			for n := max - 1; n < 1<<21; n += 1 + n/97 {
				size := pieceSize(n, max, tail)
				last := n - (n-1)/size*size
				if size > max || last+tail > max || size < 1 {
					t.Fatalf("%d bytes, at most %d, tail %d: pieces of %d, the last %d", n, max, tail, size, last)
				}
				if n < 1<<18 && max > 1000 && last+tail > size {
					t.Fatalf("%d bytes, at most %d, tail %d: the last piece is longer (%d) than the others (%d)", n, max, tail, last+tail, size)
				}
			}
		}
	}
}

func FuzzPacketizer(f *testing.F) {
	f.Add([]byte(nil), uint8(0))
	f.Add(accessUnit(unit(0x67, 25), unit(0x68, 6), unit(0x65, 3000)), uint8(8))
	f.Add(accessUnit(unit(0x09, 2), unit(0x41, 130), unit(0x41, 127), unit(0xe1, 129)), uint8(4))
	f.Add([]byte("\x00\x00\x01\x00\x00\x01\x65\x00\x00\x00\x01\x80\x00\x00\x01"), uint8(1))
	f.Fuzz(func(t *testing.T, au []byte, tail uint8) {
		var p packetizer
		const max = 140 // small, so that small inputs are cut
		k := int(tail % 17)
		out := p.cut(au, max, k)
		checkCut(t, au, out, max, k)
	})
}

// picture720 is a 720p picture at 30 fps and 2.5 Mbit/s.
func picture720() []byte { return accessUnit(unit(0x41, 10412)) }

func TestPacketizerAllocatesNothing(t *testing.T) {
	var p packetizer
	key, au := accessUnit(unit(0x67, 25), unit(0x68, 6), unit(0x65, 100_000)), picture720()
	p.cut(key, 1172, 8)
	if n := testing.AllocsPerRun(100, func() { p.cut(key, 1172, 8); p.cut(au, 1172, 8) }); n != 0 {
		t.Errorf("%v allocations for two pictures", n)
	}
}

func BenchmarkPacketizer(b *testing.B) {
	var p packetizer
	au := picture720()
	b.SetBytes(int64(len(au)))
	b.ReportAllocs()
	for b.Loop() {
		if out := p.cut(au, 1172, 8); !bytes.HasPrefix(out[0], []byte{0x5c}) {
			b.Fatalf("%x", out[0][:2])
		}
	}
}
