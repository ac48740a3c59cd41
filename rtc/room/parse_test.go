package room

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func TestNames(t *testing.T) {
	for id, good := range map[string]bool{
		"1": true, "4294967294": true, "4294967295": false, "0": false, "007": false, "": false, "99999999999999999999999": false,
		"hall 4 (left), #2?": true, "a/b": false, "ä": false, "assets": false, ".": false, "..": false, "-1": true, "a\n": false,
		strings.Repeat("r", 64): true, strings.Repeat("r", 65): false,
	} {
		if got := checkRoom(id) == nil; got != good {
			t.Errorf("room %q: %v", id, got)
		}
	}
	for id, good := range map[string]bool{
		"a": true, "cart-7_B": true, "": false, "a b": false, "a.b": false, strings.Repeat("u", 32): true, strings.Repeat("u", 33): false,
	} {
		if got := checkUser(id) == nil; got != good {
			t.Errorf("user %q: %v", id, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "1", "4294967295", "a b", "assets", "\x00", "ß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if checkRoom(id) == nil && (len(id) > 64 || strings.ContainsAny(id, "/\\\"'`\r\n\x00")) {
			t.Errorf("room %q was let in", id)
		}
		if checkUser(id) == nil && (len(id) > 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "") {
			t.Errorf("user %q was let in", id)
		}
	})
}

func FuzzFragment(f *testing.F) {
	f.Add("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\na=end-of-candidates\r\n")
	f.Add("a=ice-ufrag:abcd\na=ice-ufrag:efgh\n")
	f.Add("a=candidate")
	f.Add("a=\n\n=a\n")
	f.Add(strings.Repeat("a=candidate:x\n", 100))
	f.Fuzz(func(t *testing.T, text string) {
		got, p := parseFragment(text)
		if p != nil {
			if p.Status != 400 || p.Detail == "" {
				t.Errorf("problem %v", p)
			}
			return
		}
		if len(got.candidates) > maxCandidates || (got.ufrag == "") != (got.pwd == "") || strings.ContainsAny(got.ufrag+got.pwd, "\r\n") {
			t.Errorf("fragment %+v", got)
		}
		again, p := parseFragment(fragmentOf(text))
		if p != nil || got.ufrag != again.ufrag || got.pwd != again.pwd {
			t.Errorf("%+v became %+v: %v", got, again, p)
		}
	})
}

func FuzzOffer(f *testing.F) {
	f.Add("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=ice-ufrag:abcd\r\na=ice-pwd:x\r\n", true)
	f.Add("v=0", false)
	f.Fuzz(func(t *testing.T, text string, anchor bool) {
		o, p := checkOffer(text, anchor)
		if p == nil && (!o.audio && !o.video || o.ufrag == "" || o.pwd == "") {
			t.Errorf("let in: %+v", o)
		}
	})
}

func FuzzPacket(f *testing.F) {
	h := rtp.Header{Version: 2, SequenceNumber: 7, Timestamp: 9, Marker: true}
	_ = h.SetExtension(3, []byte{2})
	whole, _ := (&rtp.Packet{Header: h, Payload: keyFrame(1)}).Marshal()
	f.Add(whole, byte(3), true)
	f.Add([]byte{0xb0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 3, 1, 5, 0, 1}, byte(3), false)
	f.Fuzz(func(t *testing.T, b []byte, ext byte, video bool) {
		var p packet
		ours := p.parse(b, ext, video)
		var other rtp.Packet
		if other.Unmarshal(bytes.Clone(b)) != nil || !ours {
			return
		}
		if p.seq != other.SequenceNumber || p.ts != other.Timestamp || p.marker != other.Marker {
			t.Errorf("header %+v, pion reads %+v", p, other.Header)
		}
		if !bytes.Equal(p.payload, other.Payload) {
			t.Errorf("payload %x, pion reads %x", p.payload, other.Payload)
		}
	})
}

func TestPacketExtensions(t *testing.T) {
	for _, profile := range []uint16{rtp.ExtensionProfileOneByte, rtp.ExtensionProfileTwoByte} {
		h := rtp.Header{Version: 2, SequenceNumber: 7, CSRC: []uint32{1}, Extension: true, ExtensionProfile: profile}
		for id, v := range map[uint8][]byte{1: []byte("mid"), 4: {0x83}} {
			if err := h.SetExtension(id, v); err != nil {
				t.Fatal(err)
			}
		}
		b, err := (&rtp.Packet{Header: h, Payload: []byte{1, 2}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var p packet
		if !p.parse(b, 4, false) || !p.hasLoud || p.loud != 0x83 || len(p.payload) != 2 {
			t.Errorf("profile %x: %+v", profile, p)
		}
		if !p.parse(b, 5, true) || p.hasTurn {
			t.Errorf("profile %x: an extension that is not there: %+v", profile, p)
		}
	}
}

func TestKeyFrameStarts(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		key     bool
	}{
		{"IDR", []byte{0x65, 1}, true}, {"SPS", []byte{0x67, 1}, true}, {"PPS", []byte{0x68, 1}, false}, {"slice", []byte{0x41, 1}, false},
		{"STAP-A", keyFrame(0), true}, {"STAP-A of slices", []byte{24, 0, 2, 0x41, 1, 0, 2, 0x41, 1}, false},
		{"STAP-A cut off", []byte{24, 0, 200, 0x41, 1}, false}, {"FU-A start", []byte{28, 0x85, 1}, true}, {"FU-A middle", []byte{28, 0x05, 1}, false},
		{"FU-A of a slice", []byte{28, 0x81, 1}, false}, {"empty", nil, false},
	} {
		if got := startsKeyFrame(c.payload); got != c.key {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestRing(t *testing.T) {
	r := newRing()
	for n := range 1000 {
		r.put(&packet{seq: uint16(65000 + n), ts: uint32(n), payload: []byte{byte(n), byte(n >> 8)}})
	}
	buf := make([]byte, maxPacket)
	var p packet
	for n := range 1000 {
		ok := r.get(uint16(65000+n), &p, buf)
		if want := n >= 1000-ringSize; ok != want {
			t.Fatalf("packet %d is there: %v", n, ok)
		}
		if ok && (p.ts != uint32(n) || !slices.Equal(p.payload, []byte{byte(n), byte(n >> 8)})) {
			t.Fatalf("packet %d is %+v", n, p)
		}
	}
}

func TestClockStepsChangeBothMediaAlike(t *testing.T) {
	var c clock
	now := time.Unix(1e9, 0)
	sent := uint64(5) << 32
	first := c.local(sent, now)
	if first != toNTP(now) {
		t.Errorf("the first moment is %x", first)
	}
	// Late by 300 ms: the constant stays.
	if got := c.local(sent+1<<32, now.Add(1300*time.Millisecond)); got-first != 1<<32 {
		t.Errorf("one second became %x", got-first)
	}
	// The sender's clock is set, a year on: picture and sound of one moment stay one moment.
	jump := sent + 1<<50
	sound := c.local(jump, now.Add(2300*time.Millisecond))
	picture := c.local(jump, now.Add(2350*time.Millisecond))
	if sound != picture || sound != toNTP(now.Add(2300*time.Millisecond)) {
		t.Errorf("after the step %x and %x", sound, picture)
	}
}
