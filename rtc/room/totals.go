package room

// Totals is how busy the server is, over all rooms. Counters go on when anchors, viewers and
// rooms come and go.
type Totals struct {
	Rooms, Anchors, Viewers int // viewers are sessions
	// Received is what anchors sent, Forwarded what went out to viewers, repeats for their
	// NACKs with it: packets and bytes of payload.
	Received, ReceivedBytes, Forwarded, ForwardedBytes uint64
	Resent, PLIs                                       uint64 // of Forwarded; key frames that anchors were asked for
}

// Totals adds everything up.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.past
	t.Rooms, t.Viewers = len(s.halls), s.viewers
	for _, h := range s.halls {
		for _, a := range h.anchors {
			if a.present {
				t.Anchors++
			}
			t.anchor(a)
		}
	}
	for _, peer := range s.sessions {
		for _, k := range peer.sinks {
			t.sink(k)
		}
	}
	return t
}

func (t *Totals) anchor(a *anchor) {
	for _, r := range []*relay{a.audio, a.video} {
		t.Received += r.done.packets.Load()
		t.ReceivedBytes += r.done.bytes.Load()
		t.Resent += r.done.resent.Load()
		t.PLIs += r.done.plis.Load()
	}
}

func (t *Totals) sink(k *sink) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.Forwarded += k.packets
	t.ForwardedBytes += k.octets
}
