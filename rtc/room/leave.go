package room

import (
	"context"
	"net/http"
	"time"
)

// keptEndings is of how many ended sessions the reason is known.
const keptEndings = 512

// end ends a session, once.
func (s *Server) end(peer *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[peer.id] == peer {
		s.remove(peer, reason)
	}
}

// remove takes a session out and has it closed. s.mu is held, and the session is entered.
func (s *Server) remove(peer *session, reason string) {
	h, a := peer.room, peer.anchor
	delete(s.sessions, peer.id)
	close(peer.over)
	s.remember(peer.id, reason)
	if peer.sends {
		if a.session == peer {
			a.session = nil
			if reason != "replaced" { // the user goes on in another session
				a.left(reason)
			}
		}
		for _, r := range []*relay{a.audio, a.video} {
			if src := r.src.Load(); src != nil && src.session == peer {
				r.stop(src)
			}
		}
	} else {
		s.viewers--
		a.viewers--
		if peer.connected {
			a.takers--
		}
		if h.persons[peer.person]--; h.persons[peer.person] <= 0 {
			delete(h.persons, peer.person)
		}
		for _, k := range peer.sinks {
			k.relay.remove(k)
			s.past.sink(k)
		}
		a.tellSubscribers()
		h.bus.publish("viewers", "", audience{Viewers: len(h.persons)})
	}
	if name := farewell(reason); name != "" {
		h.bus.publish(name, peer.id, ending{Reason: reason})
	}
	h.bus.endSession(peer.id)
	if reason != "replaced" { // else the room is being entered
		h.tidy(a)
		s.tidy(h)
	}
	s.cfg.Log.Info("session ended", "room", h.id, "user", peer.user, "anchor", peer.sends, "reason", reason)
	s.wg.Go(func() { _ = peer.pc.GracefulClose() })
}

// farewell is the event that tells a peer why it has to go; empty when it knows.
func farewell(reason string) string {
	switch reason {
	case "exit", "timeout":
		return ""
	case "dissolved":
		return "dissolve"
	}
	return "kick"
}

func (s *Server) remember(id, reason string) {
	if len(s.order) == keptEndings {
		delete(s.ended, s.order[0])
		s.order = append(s.order[:0], s.order[1:]...)
	}
	s.ended[id] = reason
	s.order = append(s.order, id)
}

// find gives a session of a room.
func (s *Server) find(room, id string, sends bool) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	peer := s.sessions[id]
	if peer == nil || peer.room.id != room || peer.sends != sends {
		return nil, noSession()
	}
	return peer, nil
}

// Kick throws a user's session out of a room, as anchor or as viewer; reason is told to it (empty:
// "kicked").
func (s *Server) Kick(room, user, reason string) error {
	if farewell(reason) != "kick" || reason == "" || reason == "replaced" {
		reason = "kicked"
	}
	if p := checkUser(user); p != nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, peer := range s.sessions {
		if peer.room.id == room && peer.user == user {
			found = true
			s.remove(peer, reason)
		}
	}
	if !found {
		return problem(http.StatusNotFound, "no_user", "there is no such user in the room", "room show lists who is there")
	}
	return nil
}

// Dissolve ends a room: everybody in it is told so and has to go.
func (s *Server) Dissolve(room string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.halls[room]
	if h == nil {
		return problem(http.StatusNotFound, "no_room", "there is no such room", "it exists as long as somebody is in it")
	}
	for _, peer := range s.sessions {
		if peer.room == h {
			s.remove(peer, "dissolved")
		}
	}
	for _, a := range h.anchors {
		a.left("dissolved") // was lost without a session
		h.tidy(a)
	}
	h.bus.publish("dissolve", "", ending{Reason: "dissolved"})
	s.tidy(h)
	return nil
}

// rounds looks after the sessions four times a second while there are any.
func (s *Server) rounds(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if !s.round(now) {
				ticker.Stop()
			}
		case <-s.busy:
			ticker.Reset(tick)
		}
	}
}

// round judges every anchor once. It says whether there is anything to look after.
func (s *Server) round(now time.Time) bool {
	s.mu.Lock()
	var silent []*session
	for _, peer := range s.sessions {
		if a := peer.anchor; peer.sends && min(now.Sub(a.audio.last()), now.Sub(a.video.last())) > 2*tick {
			silent = append(silent, peer)
		}
	}
	s.mu.Unlock()
	heard := make(map[*session]time.Time, len(silent))
	for _, peer := range silent {
		heard[peer] = peer.hear(now)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	more := false
	for _, peer := range s.sessions {
		more = true
		if !peer.connected && !peer.anchor.present && now.Sub(peer.born) > connectLimit ||
			!peer.connected && !peer.sends && now.Sub(peer.born) > connectLimit {
			s.remove(peer, "timeout")
		}
	}
	for _, h := range s.halls {
		for _, a := range h.anchors {
			more = more || a.present
			a.video.askKey(now)
			if !a.present || !a.judge(now, heard[a.session]) {
				continue
			}
			if a.session != nil {
				s.remove(a.session, "timeout")
			} else {
				a.left("timeout")
				h.tidy(a)
				s.tidy(h)
			}
		}
	}
	return more
}
