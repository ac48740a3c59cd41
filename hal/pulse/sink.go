package pulse

import (
	"sync"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"anchord/internal/media"
)

const (
	holeTime   = 100 * time.Millisecond // without sound: some may be lost, or only late
	wakeBlocks = 5                      // dropped after a source woke up: they click, or are late
	maxWaiting = 25                     // blocks that nobody took; the oldest goes then
	maxOut     = 2 * maxWaiting
)

// sink makes stamped blocks of the bytes that the server sends. Until the clock is set,
// and after a long pause, blocks are held back until the latency was measured: a few
// milliseconds.
type sink struct {
	blocks chan *media.Sound
	ask    chan struct{} // blocks are held: measure

	mu       sync.Mutex
	over     bool
	channels int
	pool     *media.Pool[*media.Sound]
	clock    clock
	set      bool // the clock knows something

	stage []byte // the block that fills; len is its size
	fill  int
	begun uint64     // its first sample
	stamp media.Time // its time; 0 when not known yet
	bytes uint64     // received since the start
	skip  int        // bytes still to drop
	last  media.Time // when sound came; 0 when none did

	holding bool
	asking  bool
	held    [maxWaiting]heldBlock
	nheld   int
	lost    uint64 // blocks that nobody took in time

	answered media.Time // the server's last word on latency
	atAnswer uint64     // bytes received before it
}

type heldBlock struct {
	s *media.Sound
	n uint64
}

func (s *sink) init() {
	s.blocks = make(chan *media.Sound, maxWaiting)
	s.ask = make(chan struct{}, 1)
	s.over = true // until prepare
}

// prepare makes the sink ready for a stream.
func (s *sink) prepare(channels int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels = channels
	s.stage = make([]byte, blockSamples*2*channels)
	s.pool = media.NewSounds(blockSamples*channels, maxOut)
	s.clock = clock{rate: sampleRate}
	s.holding, s.over = true, false
}

// sound takes bytes as they came, in pieces of any size. It is called by the reader.
func (s *sink) sound(b []byte, now media.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.last != 0 && now.Sub(s.last) > holeTime {
		if now.Sub(s.last) > stuckTime {
			s.holding = true
		}
		poke(s.ask)
	}
	s.last = now
	if s.skip > 0 {
		n := min(s.skip, len(b))
		s.skip -= n
		s.bytes += uint64(n)
		b = b[n:]
	}
	if s.holding && !s.asking && len(b) > 0 {
		s.asking = true
		poke(s.ask)
	}
	for len(b) > 0 {
		if s.fill == 0 {
			s.begun, s.stamp = s.samples(s.bytes), 0
			if !s.holding {
				s.clock.bound(s.samples(s.bytes+uint64(len(b))), now)
				s.stamp = s.clock.stamp(s.begun)
			}
		}
		n := copy(s.stage[s.fill:], b)
		b = b[n:]
		s.fill += n
		s.bytes += uint64(n)
		if s.fill == len(s.stage) {
			s.fill = 0
			s.full(now)
		}
	}
}

// full makes a block of the stage.
func (s *sink) full(now media.Time) {
	b := s.pool.Get()
	if b == nil {
		s.lost++
		return
	}
	b.Rate, b.Channels = sampleRate, s.channels
	b.Silent = samples(b.PCM, s.stage)
	b.Marks[media.Arrived] = now
	switch {
	case s.stamp == 0 && s.holding:
		if s.nheld == len(s.held) {
			s.held[0].s.Release()
			copy(s.held[:], s.held[1:])
			s.nheld--
			s.lost++
		}
		s.held[s.nheld] = heldBlock{b, s.begun}
		s.nheld++
		return
	case s.stamp == 0:
		s.stamp = s.clock.stamp(s.begun)
	}
	b.Marks[media.Captured] = s.stamp
	s.push(b)
}

// push hands a block to Next; the oldest goes when nobody takes them.
func (s *sink) push(b *media.Sound) {
	for {
		select {
		case s.blocks <- b:
			return
		default:
		}
		select {
		case old := <-s.blocks:
			old.Release()
			s.lost++
		default:
		}
	}
}

// reply notes when the answer about latency came, and after how much sound: it is in order
// with the sound here, and nowhere later. It is called by the reader.
func (s *sink) reply(op uint32, now media.Time) {
	if op == proto.OpGetRecordLatency {
		s.mu.Lock()
		s.answered, s.atAnswer = now, s.bytes
		s.mu.Unlock()
	}
}

// resumed begins again after the source was suspended.
func (s *sink) resumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill, s.skip, s.holding = 0, wakeBlocks*len(s.stage), true
}

// measured takes an answer about latency that was asked for at asked: the sample after the
// last one received was captured behind ago, as seen at the server. It tells whether to
// ask again soon.
func (s *sink) measured(asked media.Time, behind time.Duration) (soon bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 { // of a source that takes its time there is nothing to say yet
		return true
	}
	n := s.samples(s.atAnswer)
	t := min(asked.Add(s.answered.Sub(asked)/2).Add(-behind), s.last)
	switch off := t.Sub(s.clock.at(n)); {
	case !s.set, s.holding && (off > stepAt || off < -stepAt): // the source slept, its sound is lost
		s.clock.step(n, t)
		s.set = true
	default:
		soon = s.clock.steer(n, t)
	}
	s.release()
	return soon
}

// guessed is for want of a measurement: blocks must not be held for ever, and what came just
// now was captured just now.
func (s *sink) guessed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holding || s.last == 0 {
		return
	}
	n := s.samples(s.bytes)
	if off := s.last.Sub(s.clock.at(n)); !s.set || off > holeTime || off < -holeTime {
		s.clock.step(n, s.last)
		s.set = true
	}
	s.release()
}

// release stamps and hands out what was held.
func (s *sink) release() {
	for i := range s.held[:s.nheld] {
		h := &s.held[i]
		h.s.Marks[media.Captured] = s.clock.stamp(h.n)
		s.push(h.s)
		h.s = nil
	}
	s.nheld, s.holding, s.asking = 0, false, false
}

// end lets nothing through any more.
func (s *sink) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// clear releases what nobody took. Call it when the reader is home.
func (s *sink) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.held[:s.nheld] {
		s.held[i].s.Release()
	}
	s.nheld = 0
	for {
		select {
		case b := <-s.blocks:
			b.Release()
		default:
			return
		}
	}
}

// samples gives the samples in n bytes.
func (s *sink) samples(n uint64) uint64 { return n / uint64(2*s.channels) }
