package room

import (
	"net/http"
	"time"
)

// watch is an open event stream: of a participant, or of an observer who is in nobody's way.
type watch struct {
	server *Server
	hall   *hall
	reader *reader
	first  []event // what comes before the reader's channel
}

// watch opens the event stream of a room. id is a participant's session, empty for an observer;
// after is the id of the last event that is known (empty: none).
func (s *Server) watch(room, id, after string) (*watch, error) {
	if p := checkRoom(room); p != nil {
		return nil, p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		return nil, stopping()
	}
	if s.watches >= s.cfg.MaxWatches {
		p := problem(http.StatusServiceUnavailable, "too_many_watches", "too many event streams are open",
			"%d are; close one or raise the limit", s.cfg.MaxWatches)
		p.After = 5 * time.Second
		return nil, p
	}
	var peer *session
	if id != "" {
		if peer = s.sessions[id]; peer == nil || peer.room.id != room {
			return s.wake(id)
		}
	}
	h := s.hall(room)
	r, missed, resumed := h.bus.join(id, after)
	w := &watch{server: s, hall: h, reader: r, first: missed}
	if !resumed {
		w.first = []event{made("snapshot", h.snapshot())}
		if peer != nil && peer.sends {
			w.first = append(w.first, made("subscribers", subscribers{User: peer.user, Count: peer.anchor.takers}))
		}
		for i := range w.first {
			w.first[i].n = h.bus.newest()
		}
	}
	s.watches++
	h.watches++
	return w, nil
}

// wake is the stream of a session that was just thrown out: one event that says why. s.mu is
// held.
func (s *Server) wake(id string) (*watch, error) {
	reason := s.ended[id]
	name := farewell(reason)
	if reason == "" || name == "" {
		return nil, noSession()
	}
	r := &reader{c: make(chan event)}
	close(r.c)
	return &watch{reader: r, first: []event{made(name, ending{Reason: reason})}}, nil
}

// close ends the stream.
func (w *watch) close() {
	if w.hall == nil {
		return
	}
	w.hall.bus.leave(w.reader)
	s := w.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halls[w.hall.id] != w.hall {
		return // another Run's, or gone
	}
	s.watches--
	w.hall.watches--
	s.tidy(w.hall)
}

// mark is the id of an event on the wire; empty when it cannot be resumed from.
func (w *watch) mark(e event) string {
	if e.n == 0 || w.hall == nil {
		return ""
	}
	return w.hall.bus.mark(e.n)
}

// Stats are counters of one anchor, since it first came or was waited for.
type Stats struct {
	AnchorState
	Viewers  int    `json:"viewers"`
	Packets  uint64 `json:"packets"`   // received
	Bytes    uint64 `json:"bytes"`     // of payload, received
	Lost     uint64 `json:"lost"`      // missing at this moment
	Nacks    uint64 `json:"nacks"`     // packets asked for again, this session
	PLIs     uint64 `json:"plis"`      // key frames asked for
	Resent   uint64 `json:"resent"`    // packets sent again to viewers
	AudioAge int    `json:"audio_age"` // ms since the last packet of sound, -1: never
	VideoAge int    `json:"video_age"` // ms since the last packet of picture, -1: never
}

// State is how a room stands.
type State struct {
	Room    string  `json:"room"`
	Anchors []Stats `json:"anchors"`
	Viewers int     `json:"viewers"`
}

// State tells how a room stands; a room that nobody is in is empty.
func (s *Server) State(room string) State {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Room: room, Anchors: []Stats{}}
	h := s.halls[room]
	if h == nil {
		return st
	}
	st.Viewers = len(h.persons)
	for _, a := range h.anchors {
		if !a.present {
			continue
		}
		one := Stats{AnchorState: a.state(), Viewers: a.takers, AudioAge: since(now, a.audio), VideoAge: since(now, a.video)}
		if a.session != nil {
			one.Nacks = a.session.nacks.Load()
		}
		for _, r := range []*relay{a.audio, a.video} {
			one.Packets += r.done.packets.Load()
			one.Bytes += r.done.bytes.Load()
			one.Lost += r.done.lost.Load()
			one.PLIs += r.done.plis.Load()
			one.Resent += r.done.resent.Load()
		}
		st.Anchors = append(st.Anchors, one)
	}
	return st
}

func since(now time.Time, r *relay) int {
	at := r.last()
	if at.IsZero() {
		return -1
	}
	return int(now.Sub(at).Milliseconds())
}
