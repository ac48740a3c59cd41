package room

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"anchord/rtc/room/page"
)

// Server is the room server. Its methods may be called from any goroutine.
type Server struct {
	cfg  Config
	page http.Handler

	mu       sync.Mutex
	wire     *wire // nil unless Run runs
	halls    map[string]*hall
	sessions map[string]*session
	ended    map[string]string // why late sessions ended, the last few
	order    []string          // their ids, oldest first
	viewers  int               // sessions of viewers, and requests for one
	watches  int
	past     Totals // of what is gone

	busy chan struct{} // there is a first session: begin the rounds
	wg   sync.WaitGroup
}

// New makes a server; it opens nothing.
func New(cfg Config) *Server {
	return &Server{cfg: cfg.withDefaults(), page: page.Handler(), busy: make(chan struct{}, 1)}
}

// Run serves until ctx ends. Then every session is closed, and nothing is left behind but HTTP
// requests, which end by themselves. It can be called again after it has returned.
func (s *Server) Run(ctx context.Context) error {
	if !s.cfg.Open && s.cfg.Authorize == nil {
		return errors.New("start room server: neither open nor with a way to check users: set rooms.open or a key")
	}
	w, err := openWire(ctx, s.cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.wire != nil {
		s.mu.Unlock()
		_ = w.mux.Close()
		return errors.New("start room server: it runs already")
	}
	s.wire = w
	s.halls, s.sessions, s.ended = map[string]*hall{}, map[string]*session{}, map[string]string{}
	s.order, s.viewers, s.watches = nil, 0, 0
	s.mu.Unlock()
	s.cfg.Log.Info("room server started", "udp", w.addr.String(), "open", s.cfg.Open)
	if s.cfg.Started != nil {
		s.cfg.Started()
	}

	s.rounds(ctx)

	s.mu.Lock()
	s.wire = nil
	late := s.sessions
	s.sessions = map[string]*session{}
	for _, h := range s.halls {
		h.bus.close()
	}
	s.halls = map[string]*hall{}
	s.mu.Unlock()
	for _, p := range late {
		close(p.over)
		s.wg.Go(func() { _ = p.pc.GracefulClose() })
	}
	s.wg.Wait()
	return w.mux.Close()
}

// Addr is the UDP address that carries the media, or nil when Run does not run.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		return nil
	}
	return s.wire.addr
}

// spawn runs f in a goroutine that Run waits for; false when the server stops.
func (s *Server) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		return false
	}
	s.wg.Go(f)
	return true
}

// entry is a wish to come in.
type entry struct {
	room, user string
	target     string // the anchor that a viewer wants to see; empty: an anchor enters
	person     string // whom a viewer's session counts for; empty: nobody else
	near       bool   // the peer is on this machine
	inside     bool   // it is part of this very process
	offer      string
}

// enter lets an anchor or a viewer in and gives the answer to its offer.
func (s *Server) enter(ctx context.Context, e entry) (*session, string, error) {
	sends := e.target == ""
	if p := checkRoom(e.room); p != nil {
		return nil, "", p
	}
	name := e.target
	if sends {
		name = e.user
	}
	if p := checkUser(name); p != nil {
		return nil, "", p
	}
	o, p := checkOffer(e.offer, sends)
	if p != nil {
		return nil, "", p
	}
	peer := &session{
		id: rand.Text(), server: s, user: e.user, sends: sends, person: e.person,
		born: time.Now(), over: make(chan struct{}), inside: e.inside,
	}
	if peer.person == "" {
		peer.person = peer.id
	}
	w, err := s.reserve(peer, e.room, name)
	if err != nil {
		return nil, "", err
	}
	defer s.wg.Done()
	answer, err := s.open(ctx, w, peer, e, o)
	if err == nil {
		err = s.commit(peer)
	}
	if err != nil {
		s.giveBack(peer)
		if peer.pc != nil {
			_ = peer.pc.GracefulClose()
		}
		return nil, "", err
	}
	return peer, answer, nil
}

// reserve keeps a place for a peer while its connection is made. The caller owes s.wg.Done.
func (s *Server) reserve(peer *session, room, name string) (*wire, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		return nil, stopping()
	}
	h := s.hall(room)
	if err := s.full(h, peer, name); err != nil {
		s.tidy(h)
		return nil, err
	}
	peer.room, peer.anchor = h, h.anchor(name)
	peer.anchor.entering++
	if !peer.sends {
		s.viewers++
	}
	s.wg.Add(1)
	return s.wire, nil
}

// maxPending is how many sessions may be entered and not connected yet: an offer costs its
// sender nothing and holds a place for connectLimit.
const maxPending = 64

// full says whether a limit keeps a peer out. s.mu is held.
func (s *Server) full(h *hall, peer *session, name string) error {
	pending, anchors := 0, 0
	for _, o := range s.sessions {
		if !o.connected {
			pending++
		}
		if o.sends {
			anchors++
		}
	}
	var p *Problem
	switch {
	case pending >= maxPending && !peer.inside:
		p = problem(http.StatusServiceUnavailable, "server_busy", "too many are entering at this moment",
			"%d have not connected yet; try again in a few seconds", pending)
	case peer.sends && anchors >= maxRooms*s.cfg.MaxAnchors:
		p = problem(http.StatusServiceUnavailable, "server_full", "there is no place for another anchor",
			"%d anchors are in the server's rooms; wait till one leaves", anchors)
	case peer.sends && h.active(name) >= s.cfg.MaxAnchors:
		p = problem(http.StatusServiceUnavailable, "room_full", "the room has no place for another anchor",
			"%d anchors are in it; wait till one leaves or raise the limit", s.cfg.MaxAnchors)
	case !peer.sends && s.viewers >= s.cfg.MaxViewers:
		p = problem(http.StatusServiceUnavailable, "server_full", "there is no place for another viewer",
			"%d viewers are there; wait till one leaves or raise the limit", s.cfg.MaxViewers)
	default:
		return nil
	}
	p.After = 5 * time.Second
	return p
}

// giveBack takes a reservation back.
func (s *Server) giveBack(peer *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !peer.sends {
		s.viewers--
	}
	peer.anchor.entering--
	peer.room.tidy(peer.anchor)
	s.tidy(peer.room)
}

// open makes the peer's connection and answers its offer.
func (s *Server) open(ctx context.Context, w *wire, peer *session, e entry, o offer) (string, error) {
	pc, err := w.connect(peer.sends, &peer.nacks, func() { s.end(peer, "flood") })
	if err != nil {
		return "", err
	}
	peer.pc, peer.wire, peer.near = pc, w, e.near
	if !peer.sends {
		if err := peer.subscribe(o); err != nil {
			return "", err
		}
	}
	peer.watchPeer()
	return peer.accept(ctx, e.offer, o)
}

// subscribe hangs a viewer's tracks on its anchor's relays; nothing flows yet.
func (p *session) subscribe(o offer) error {
	for _, m := range []struct {
		wanted bool
		relay  *relay
	}{{o.audio, p.anchor.audio}, {o.video, p.anchor.video}} {
		if !m.wanted {
			continue
		}
		k := &sink{relay: m.relay, session: p, user: p.anchor.user}
		sender, err := p.pc.AddTrack(k)
		if err != nil {
			return err
		}
		p.sinks = append(p.sinks, k)
		if !p.server.spawn(func() { k.listen(sender) }) {
			return stopping()
		}
	}
	return nil
}

// commit enters a peer whose offer was answered.
func (s *Server) commit(peer *session) error {
	s.mu.Lock()
	h, a := peer.room, peer.anchor
	if s.wire == nil || s.halls[h.id] != h {
		s.mu.Unlock()
		return stopping()
	}
	if peer.sends {
		if err := s.full(h, peer, a.user); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	if old := a.session; peer.sends && old != nil {
		s.remove(old, "replaced")
	}
	a.entering--
	s.sessions[peer.id] = peer
	if peer.sends {
		a.session = peer
		a.tellSubscribers()
	} else {
		a.viewers++
		h.persons[peer.person]++
		for _, k := range peer.sinks {
			k.relay.add(k)
		}
		h.bus.publish("viewers", "", audience{Viewers: len(h.persons)})
	}
	s.mu.Unlock()
	select {
	case s.busy <- struct{}{}:
	default:
	}
	return nil
}

// connected is told by a peer whose media can flow.
func (s *Server) connected(peer *session) {
	s.mu.Lock()
	if s.sessions[peer.id] != peer || peer.connected {
		s.mu.Unlock()
		return
	}
	peer.connected = true
	told := false
	if a := peer.anchor; peer.sends {
		a.came(time.Now())
	} else {
		a.takers++
		a.tellSubscribers()
		told = a.session != nil && peer.room.bus.hears(a.session.id)
	}
	s.mu.Unlock()
	for _, k := range peer.sinks {
		k.connected(told)
	}
}

// hall finds or makes a room. s.mu is held.
func (s *Server) hall(id string) *hall {
	h := s.halls[id]
	if h == nil {
		h = &hall{id: id, bus: newBus(rand.Text()[:8]), anchors: map[string]*anchor{}, persons: map[string]int{}, past: &s.past}
		s.halls[id] = h
	}
	return h
}

// tidy drops a room that nobody needs. s.mu is held.
func (s *Server) tidy(h *hall) {
	if h.empty() && s.halls[h.id] == h {
		delete(s.halls, h.id)
	}
}
