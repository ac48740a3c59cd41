package room

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"anchord/rtc"
)

// Signaller lets an anchor of this very process into a room, without HTTP: the same as POST,
// PATCH, DELETE and the event stream. Nobody has to authorize it.
func (s *Server) Signaller(room, user string) rtc.Signaller { return attachment{s, room, user} }

type attachment struct {
	server     *Server
	room, user string
}

// Publish enters the room.
func (a attachment) Publish(ctx context.Context, offer string) (rtc.Call, error) {
	peer, answer, err := a.server.enter(ctx, entry{room: a.room, user: a.user, near: true, inside: true, offer: offer})
	if err != nil {
		return nil, asRefused(err)
	}
	c := &call{peer: peer, answer: answer, events: make(chan rtc.Event, readAhead), gone: make(chan struct{})}
	w, err := a.server.watch(a.room, peer.id, "")
	if err == nil && !a.server.spawn(func() { c.tell(w) }) {
		w.close()
		err = stopping()
	}
	if err != nil {
		a.server.end(peer, "exit")
		return nil, asRefused(err)
	}
	return c, nil
}

// call is a session of this process.
type call struct {
	peer   *session
	answer string
	events chan rtc.Event
	gone   chan struct{} // closed by Hangup
	once   sync.Once
}

// Answer is the room's SDP answer.
func (c *call) Answer() string { return c.answer }

// ICEServers gives none: both ends are on one machine.
func (c *call) ICEServers() []rtc.ICEServer { return nil }

// Events carries what the room says.
func (c *call) Events() <-chan rtc.Event { return c.events }

// Trickle takes late candidates.
func (c *call) Trickle(_ context.Context, candidates []rtc.Candidate, _ bool) error {
	var f fragment
	for _, one := range candidates {
		f.mid = one.Mid
		f.candidates = append(f.candidates, one.Value)
	}
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	if c.peer.isOver() {
		return asRefused(noSession())
	}
	return c.peer.trickle(f)
}

// Restart answers an offer with new ICE credentials.
func (c *call) Restart(ctx context.Context, text string) (string, error) {
	o, p := checkOffer(text, true)
	if p != nil {
		return "", asRefused(p)
	}
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	if c.peer.isOver() {
		return "", asRefused(noSession())
	}
	c.peer.text, c.peer.offer = text, o
	answer, err := c.peer.negotiate(ctx)
	if err != nil {
		return "", asRefused(err)
	}
	return answer, nil
}

// Hangup leaves the room.
func (c *call) Hangup(context.Context) error {
	c.once.Do(func() {
		close(c.gone)
		c.peer.server.end(c.peer, "exit")
	})
	return nil
}

// tell translates the room's events until the stream ends.
func (c *call) tell(w *watch) {
	defer w.close()
	defer close(c.events)
	for _, e := range w.first {
		if !c.pass(e) {
			return
		}
	}
	for e := range w.reader.c {
		if !c.pass(e) {
			return
		}
	}
}

func (c *call) pass(e event) bool {
	give := func(out rtc.Event) bool {
		select {
		case c.events <- out: // first, so that a session that is over hears why
			return true
		default:
		}
		select {
		case c.events <- out:
			return true
		case <-c.gone:
		case <-c.peer.over:
		}
		return false
	}
	switch b := e.body.(type) {
	case Snapshot:
		for _, a := range b.Anchors {
			if a.User != c.peer.user && !give(rtc.Event{Kind: rtc.Joined, User: a.User}) {
				return false
			}
		}
	case presence:
		if b.User == c.peer.user {
			return true
		}
		kind := rtc.Joined
		if e.name == "leave" {
			kind = rtc.Left
		}
		return give(rtc.Event{Kind: kind, User: b.User, Reason: b.Reason})
	case subscribers:
		return give(rtc.Event{Kind: rtc.Subscribers, User: b.User, Count: b.Count})
	case ending:
		kind := rtc.Kicked
		if e.name == "dissolve" {
			kind = rtc.Dissolved
		}
		return give(rtc.Event{Kind: kind, Reason: b.Reason})
	}
	return true
}

// asRefused says a problem in the words of signallers.
func asRefused(err error) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	final := p.Status != http.StatusServiceUnavailable && p.Status != http.StatusNotFound
	return &rtc.Refused{Status: p.Status, Reason: p.Title, Hint: p.Detail, After: p.After, Final: final}
}
