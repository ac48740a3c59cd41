package rtc

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"
)

// notes is a listener that writes down what it is told.
type notes []string

func (n *notes) add(f string, a ...any)             { *n = append(*n, fmt.Sprintf(f, a...)) }
func (n *notes) report(ssrc uint32, r report)       { n.add("report %d %+v", ssrc, r) }
func (n *notes) nack(ssrc uint32, seq, mask uint16) { n.add("nack %d %d %x", ssrc, seq, mask) }
func (n *notes) key(ssrc uint32)                    { n.add("key %d", ssrc) }
func (n *notes) remb(ssrc uint32, bitrate uint64)   { n.add("remb %d %d", ssrc, bitrate) }
func (n *notes) heard(ssrc uint32)                  { n.add("heard %d", ssrc) }

func compound(t testing.TB, p ...rtcp.Packet) []byte {
	t.Helper()
	b, err := rtcp.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadRTCP(t *testing.T) {
	block := rtcp.ReceptionReport{SSRC: 7, FractionLost: 64, TotalLost: 9, LastSequenceNumber: 70000, Jitter: 90, LastSenderReport: 5, Delay: 6}
	said := "report 7 {fraction:64 lost:9 highest:70000 jitter:90 lastSR:5 sinceThat:6}"
	pli := compound(t, &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 7})
	tests := []struct {
		name string
		in   []byte
		want notes
	}{
		{"nothing", nil, nil},
		{"receiver report", compound(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block}}), notes{said}},
		{"sender report", compound(t, &rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block}}), notes{said}},
		{"compound", compound(t, &rtcp.ReceiverReport{SSRC: 1}, &rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: 3, LostPackets: 5}, {PacketID: 90}}},
			&rtcp.FullIntraRequest{MediaSSRC: 0, FIR: []rtcp.FIREntry{{SSRC: 7}, {SSRC: 8}}}), notes{"nack 7 3 5", "nack 7 90 0", "key 7", "key 8"}},
		{"picture loss", pli, notes{"key 7"}},
		{"bandwidth", compound(t, &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1 << 20, SSRCs: []uint32{7}}), notes{"remb 7 1048576"}},
		{"transport-wide", []byte{0x8f, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0}, notes{"heard 7"}},
		{"one more block than there are", append([]byte{0x82, 201, 0, 1}, 0, 0, 0, 1), nil},
		{"cut off", pli[:11], nil},
		{"not RTCP", []byte("\x00\x01\x00\x00\x21\x12\xa4\x42"), nil},
		{"padding longer than all", append([]byte{0xa1, 206, 0, 2, 0, 0, 0, 1}, 0, 0, 0, 200), nil},
		{"good, then garbage", append(pli[:12:12], 0x80, 201, 0xff, 0xff, 1, 2, 3, 4), notes{"key 7"}},
	}
	for _, tt := range tests {
		var got notes
		readRTCP(tt.in, &got)
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	var w wall
	sent := w.ntp(100e9)
	mid := uint32(sent >> 16)
	tests := []struct {
		r    report
		want time.Duration
	}{
		{report{}, 0},
		{report{lastSR: mid, sinceThat: 65536 / 2}, 500 * time.Millisecond},
		{report{lastSR: mid, sinceThat: 65536 * 3}, 0}, // it answers before it was asked
	}
	for _, tt := range tests {
		if d := tt.r.roundTrip(w.ntp(101e9)) - tt.want; d < -time.Millisecond || d > time.Millisecond {
			t.Errorf("%+v: wrong by %v", tt.r, d)
		}
	}
}

func FuzzReadRTCP(f *testing.F) {
	f.Add(compound(f, &rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7}}}, &rtcp.PictureLossIndication{MediaSSRC: 7}))
	f.Add(compound(f, &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{7}}))
	f.Add(compound(f, &rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: 3, LostPackets: 5}}}))
	f.Add([]byte{0xa1, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, whole notes
		readRTCP(b, &got)
		// What follows a well-formed compound must not change what it said.
		readRTCP(append(b[:len(b):len(b)], 0), &whole)
		if len(whole) < len(got) {
			t.Errorf("%q became %q", got, whole)
		}
		if n := testing.AllocsPerRun(1, func() { readRTCP(b, deaf{}) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

type deaf struct{}

func (deaf) report(uint32, report)       {}
func (deaf) nack(uint32, uint16, uint16) {}
func (deaf) key(uint32)                  {}
func (deaf) remb(uint32, uint64)         {}
func (deaf) heard(uint32)                {}
