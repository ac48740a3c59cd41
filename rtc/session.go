package rtc

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
	"anchord/internal/secret"
)

// Config is what a session needs. The zero value of a function means that nobody wants
// to know.
type Config struct {
	Log *slog.Logger // nil: silent
	// Dial gives the way to a room. It is called once for each target that is entered.
	Dial func(Target) (Signaller, error)
	// Demand takes what the room wants of the parts upstream.
	Demand *media.Demand

	// OnEvent is told TRTC's events, OnState each change of state, both on the session's
	// goroutine; OnSent each picture and block of sound with its times, on the goroutine
	// that sends. None of them may block or call the session but for State and Stats.
	OnEvent func(Notice)
	OnState func(from, to State, why string)
	OnSent  func(p *media.Packet, m media.Marks)

	ICE      func() []ICEServer // besides those that the room names; asked before each attempt
	Policy   Policy             // empty: AllWays
	Port     int                // UDP port of media, 0: any
	Loopback bool               // offer loopback addresses also to rooms that are elsewhere
	// CVO lets pictures leave without being turned, with a header extension that says how
	// receivers have to turn them. A room that takes it may pass it on to viewers that do not
	// know it, so it is for rooms whose viewers are known.
	CVO bool
	// Mask takes secrets out of what the room says and of errors that quote it; nil: one that
	// knows none.
	Mask *secret.Mask
	// Settings, if not nil, may change pion's settings last.
	Settings func(*webrtc.SettingEngine)
}

// How long things may take.
const (
	answerWithin  = 8 * time.Second // from the first word to the room's answer
	connectWithin = 6 * time.Second // from the answer to the first media
	restartWithin = 2 * time.Second // of an ICE restart, with asking whether the room is there
	restartGrace  = 1500 * time.Millisecond
	hangupWithin  = 3 * time.Second
	deafAfter     = 8 * time.Second  // packets go out, and the other side reports that none arrive
	muteAfter     = 16 * time.Second // packets go out, and the other side, which reported, says nothing of them: three times RFC 3550's 5 s
	lookEvery     = time.Second
	keyGap        = 300 * time.Millisecond // between key pictures for newcomers
	lastWords     = 300 * time.Millisecond // that a room may say after its goodbye
	firstWithin   = 2 * time.Second        // the first frames go out even if nobody subscribes
	videoQueue    = 32                     // access units: a second, so that a key picture is never far
	audioQueue    = 25                     // blocks of 20 ms
)

// Session is the anchor in a room: it enters the wanted room, publishes, and gets back
// in after every fault. Make it with New; Enter and Exit say what is wanted, before or
// while Run runs.
type Session struct {
	cfg          Config
	log          *slog.Logger
	video, audio *Track
	pictures     *media.Queue
	sounds       *media.Queue
	sink         *media.Sink
	open         func(servers []ICEServer, say func(kind)) (way, error)

	carrier atomic.Int64 // the attempt that media goes by; 0: none
	news    chan struct{}

	mu     sync.Mutex // guards what Enter, Exit and Poke leave for the loop, and status
	asked  []kind
	target Target
	status Stats
}

// New makes a session. Nothing is opened.
func New(c Config) *Session {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Mask == nil {
		c.Mask = &secret.Mask{}
	}
	if c.Demand == nil {
		c.Demand = &media.Demand{}
	}
	s := &Session{cfg: c, log: c.Log, news: make(chan struct{}, 1)}
	s.sink = c.Demand.Sink()
	soon := func() { s.sink.WantKey(media.KeySoon) }
	s.video, s.audio = NewVideoTrack("anchord", soon), NewAudioTrack("anchord")
	s.pictures, s.sounds = media.NewQueue(videoQueue, soon), media.NewQueue(audioQueue, nil)
	s.open = func(servers []ICEServer, say func(kind)) (way, error) {
		c := s.cfg
		s.mu.Lock()
		c.Loopback = c.Loopback || s.target.Address.Local()
		s.mu.Unlock()
		return openPeer(c, s.video, s.audio, servers, say)
	}
	s.status = Stats{Subscribers: -1, Since: time.Now()}
	return s
}

// PutVideo takes one reference of a coded picture; it never blocks. A media.Tap calls it.
func (s *Session) PutVideo(p *media.Packet) { s.pictures.Put(p) }

// PutAudio takes one reference of a block of sound; it never blocks.
func (s *Session) PutAudio(p *media.Packet) { s.sounds.Put(p) }

// Enter makes t the room that is wanted. In the same room already, or on the way there,
// it only ends the wait before the next try; another room is left first. The error says
// what is wrong with t; then nothing changes.
func (s *Session) Enter(t Target) error {
	if err := t.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	k := evEnter
	if s.target != t && s.target != (Target{}) {
		k = evSwitch
	}
	s.target = t
	s.mu.Unlock()
	s.ask(k)
	return nil
}

// Exit says that no room is wanted.
func (s *Session) Exit() { s.ask(evExit) }

// Poke says that something changed (the network, the token): what waits is tried now.
func (s *Session) Poke() { s.ask(evPoke) }

func (s *Session) ask(k kind) {
	s.mu.Lock()
	s.asked = also(s.asked, k)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// also adds what is asked for to what waits, of each kind one at most: a caller in a hurry can
// neither fill the memory nor push out what counts.
func also(asked []kind, k kind) []kind {
	asked = slices.DeleteFunc(asked, func(o kind) bool {
		// Exit makes void what was wanted before, and so does another target.
		return o == k || k == evExit && o != evPoke || k == evSwitch && o == evEnter
	})
	return append(asked, k)
}

// Run enters and leaves rooms until ctx ends; then it hangs up and returns nil. What
// is wanted stays wanted for the next Run.
func (s *Session) Run(ctx context.Context) error {
	if s.cfg.Dial == nil {
		return errors.New("run the room session: there is no way to reach a room")
	}
	l := newLoop(s)
	var wg sync.WaitGroup
	sctx, stop := context.WithCancel(ctx)
	wg.Go(func() { s.send(sctx, l.post) })
	l.run(ctx)
	stop()
	wg.Wait()
	s.sink.Set(media.Wish{})
	s.pictures.Clear()
	s.sounds.Clear()
	return nil
}

// send is the goroutine that writes media: woken by a packet, it writes to the socket.
func (s *Session) send(ctx context.Context, post func(note)) {
	var g gate
	for {
		select {
		case <-s.sounds.Ready():
		case <-s.pictures.Ready():
		case <-ctx.Done():
			return
		}
		for {
			// Sound first: it is small, and more sensitive.
			p, video := s.sounds.Try(), false
			if p == nil {
				p, video = s.pictures.Try(), true
			}
			if p == nil {
				break
			}
			s.write(&g, p, video, post)
			p.Release()
		}
	}
}

// gate is what the sending goroutine knows of the present attempt.
type gate struct {
	attempt int64
	open    bool // a key picture went by this way
	told    [2]bool
}

// write sends one packet, or drops it: before a key picture nothing can be shown.
func (s *Session) write(g *gate, p *media.Packet, video bool, post func(note)) {
	n := s.carrier.Load()
	if n != g.attempt {
		*g = gate{attempt: n}
	}
	if n == 0 {
		return
	}
	var m media.Marks
	var err error
	if video {
		if !g.open && !p.Key {
			return
		}
		m, err = s.video.WriteVideo(p)
		if g.open = err == nil; err != nil {
			// The picture that is missing breaks those that follow. Where a key picture failed
			// another is wanted: a network that comes back before it was missed tells nobody.
			s.sink.WantKey(media.KeySoon)
		}
	} else {
		m, err = s.audio.WriteAudio(p)
	}
	if err != nil {
		return
	}
	if s.cfg.OnSent != nil {
		s.cfg.OnSent(p, m)
	}
	if i := map[bool]int{true: 0, false: 1}[video]; !g.told[i] {
		g.told[i] = true
		post(note{event: event{n: int(n)}, sent: true, video: video})
	}
}
