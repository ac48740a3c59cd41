package rtc

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"

	"anchord/internal/media"
)

func TestRing(t *testing.T) {
	r := newRing(8)
	var scratch [slotSize]byte
	for i := range 12 {
		h := rtp.Header{Version: 2, PayloadType: 102, SequenceNumber: uint16(65530 + i), Timestamp: uint32(i), SSRC: 7, Marker: i == 11}
		if i == 11 {
			if err := h.SetExtension(3, []byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		r.put(&h, bytes.Repeat([]byte{byte(i)}, 1000+i))
	}
	tests := []struct {
		name string
		seq  uint16
		at   time.Duration
		ok   bool
	}{
		{"newest", 5, 1, true},
		{"again at once", 5, 19 * time.Millisecond, false},
		{"again a round trip later", 5, 21 * time.Millisecond, true},
		{"oldest", 65534, 1, true},
		{"too old", 65533, 1, false},
		{"not yet", 6, 1, false},
	}
	for _, tt := range tests {
		head, size, ok := r.get(tt.seq, 1e9+media.Time(tt.at), 20*time.Millisecond, scratch[:])
		if ok != tt.ok {
			t.Errorf("%s: got it: %v", tt.name, ok)
		}
		if !ok {
			continue
		}
		i := tt.seq - 65530
		var h rtp.Header
		if n, err := h.Unmarshal(scratch[:head]); err != nil || n != head {
			t.Fatalf("%s: header of %d bytes: %d, %v", tt.name, head, n, err)
		}
		if h.SequenceNumber != tt.seq || h.Timestamp != uint32(i) || h.PayloadType != 102 || h.SSRC != 7 || h.Marker != (i == 11) {
			t.Errorf("%s: header %v", tt.name, h)
		}
		if !bytes.Equal(scratch[head:size], bytes.Repeat([]byte{byte(i)}, 1000+int(i))) {
			t.Errorf("%s: payload of %d bytes differs", tt.name, size-head)
		}
	}
	big := rtp.Header{Version: 2, SequenceNumber: 6}
	r.put(&big, make([]byte, 2000))
	if _, _, ok := r.get(6, 1e9, 0, scratch[:]); ok {
		t.Error("a packet that is too large was kept")
	}
	if _, _, ok := r.get(65534, 2e9, 0, scratch[:]); ok {
		t.Error("the slot of a packet that was not kept still has the old one")
	}
}
