package room

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// dropper loses every tenth packet of video once, on its way out or in. Resent packets pass.
type dropper struct {
	interceptor.NoOp
	mu   sync.Mutex
	gone map[uint16]bool
}

func (d *dropper) NewInterceptor(string) (interceptor.Interceptor, error) { return d, nil }

func (d *dropper) drops(seq uint16) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if seq%10 != 5 || d.gone[seq] {
		return false
	}
	d.gone[seq] = true
	return true
}

func (d *dropper) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.gone)
}

func isVideo(info *interceptor.StreamInfo) bool { return info.MimeType == webrtc.MimeTypeH264 }

func (d *dropper) BindLocalStream(info *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	if !isVideo(info) {
		return next
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if d.drops(h.SequenceNumber) {
			return len(payload), nil
		}
		return next.Write(h, payload, a)
	})
}

func (d *dropper) BindRemoteStream(info *interceptor.StreamInfo, next interceptor.RTPReader) interceptor.RTPReader {
	if !isVideo(info) {
		return next
	}
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		for {
			n, out, err := next.Read(b, a)
			if err != nil || n < 4 || !d.drops(binary.BigEndian.Uint16(b[2:])) {
				return n, out, err
			}
		}
	})
}

// sorted gives the numbers a viewer got, in order, without those that came twice.
func sorted(packets []rtp.Packet) []int {
	var out []int
	for _, p := range packets {
		out = append(out, int(p.SequenceNumber))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func whole(numbers []int, least int) bool {
	return len(numbers) >= least && numbers[len(numbers)-1]-numbers[0] == len(numbers)-1
}

func TestLossOnTheAnchorsWayIsRepaired(t *testing.T) {
	s, url := start(t, Config{})
	lossy := &dropper{gone: map[uint16]bool{}}
	pub := publisherWith(t, func(_ *webrtc.MediaEngine, r *interceptor.Registry) {
		again, err := nack.NewResponderInterceptor()
		if err != nil {
			t.Fatal(err)
		}
		r.Add(lossy)
		r.Add(again)
	})
	pub.enter(url + "/whip/1?user=a")
	v := viewer(t)
	v.enter(url + "/whep/1/a")
	stop := flow(pub, 1, 1)
	wait(t, "200 packets", func() bool { return len(v.packets(video)) > 200 })
	stop()
	wait(t, "all of them", func() bool { return whole(sorted(v.packets(video)), 200) })
	st := s.State("1").Anchors[0]
	// Each loss is asked for once; a second time when the answer takes longer than the pause.
	if lost := uint64(lossy.count()); st.Nacks < lost-1 || st.Nacks > 2*lost || st.Lost > 1 {
		t.Errorf("%d were lost; state %+v", lost, st)
	}
}

func TestLossOnTheViewersWayIsRepaired(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	lossy := &dropper{gone: map[uint16]bool{}}
	v := viewerWith(t, func(_ *webrtc.MediaEngine, r *interceptor.Registry) {
		ask, err := nack.NewGeneratorInterceptor()
		if err != nil {
			t.Fatal(err)
		}
		r.Add(lossy)
		r.Add(ask)
	})
	v.enter(url + "/whep/1/a")
	spared := viewer(t)
	spared.enter(url + "/whep/1/a")
	stop := flow(pub, 1, 1)
	wait(t, "200 packets", func() bool { return len(v.packets(video)) > 200 })
	stop()
	wait(t, "all of them", func() bool { return whole(sorted(v.packets(video)), 200) })
	if st := s.State("1").Anchors[0]; st.Resent < uint64(lossy.count())-1 || st.Nacks != 0 {
		t.Errorf("%d were lost; state %+v", lossy.count(), st)
	}
	if n := len(spared.packets(video)); n != len(sorted(spared.packets(video))) {
		t.Errorf("another viewer got %d packets twice", n-len(sorted(spared.packets(video))))
	}
}
