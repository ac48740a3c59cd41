package room

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// event is one thing that happens in a room. to names the one session that it is for; empty:
// all.
type event struct {
	n    uint64 // 0: not kept
	name string
	to   string
	body any
	data []byte
}

// What events carry, as JSON. The names of the events are: snapshot (Snapshot); join and leave
// (presence), video and audio (available), state (condition), viewers (audience) and speaking
// (speaking) to all; subscribers to the anchor that they are about; kick and dissolve (ending) to
// who has to go, dissolve to observers too.
type (
	// AnchorState is one anchor in a snapshot.
	AnchorState struct {
		User  string `json:"user"`
		Audio bool   `json:"audio"` // sound arrives
		Video bool   `json:"video"` // a picture arrives
		State string `json:"state"` // "live" or "lost"
		Since int64  `json:"since"` // since when, Unix milliseconds
	}
	// Snapshot is the first event of a stream that does not resume.
	Snapshot struct {
		Room    string        `json:"room"`
		Anchors []AnchorState `json:"anchors"`
		Viewers int           `json:"viewers"`
	}
	presence struct {
		User   string `json:"user"`
		Reason string `json:"reason,omitempty"`
	}
	available struct {
		User      string `json:"user"`
		Available bool   `json:"available"`
	}
	condition struct {
		User  string `json:"user"`
		State string `json:"state"`
	}
	subscribers struct {
		User  string `json:"user"`
		Count int    `json:"count"`
	}
	audience struct {
		Viewers int `json:"viewers"`
	}
	ending struct {
		Reason string `json:"reason"`
	}
	speaking struct {
		User  string `json:"user"`
		Level int    `json:"level"` // 0 to 100
	}
)

const (
	keptEvents = 256 // can be resumed from
	readAhead  = 64  // events that a slow reader may be behind
)

// bus carries a room's events to its readers. A reader that is too slow is cut off: it comes
// back with Last-Event-ID and loses nothing else.
type bus struct {
	epoch string // tells this room from earlier ones of the same name

	mu      sync.Mutex
	last    uint64 // number of the newest event; begins at 1, so that nothing yet can be resumed from too
	kept    []event
	readers map[*reader]struct{}
	closed  bool
}

type reader struct {
	session string
	c       chan event // closed when the stream ends
}

func newBus(epoch string) *bus {
	return &bus{epoch: epoch, last: 1, readers: make(map[*reader]struct{})}
}

// made is an event that is given to one reader alone.
func made(name string, body any) event {
	data, err := json.Marshal(body)
	if err != nil {
		return event{name: name} // our own plain types only
	}
	return event{name: name, body: body, data: data}
}

// publish tells everybody (to is empty) or one session. Speaking is not kept.
func (b *bus) publish(name, to string, body any) {
	e := made(name, body)
	e.to = to
	b.mu.Lock()
	defer b.mu.Unlock()
	if name != "speaking" {
		b.last++
		e.n = b.last
		if len(b.kept) == keptEvents {
			b.kept = append(b.kept[:0], b.kept[keptEvents/2:]...)
		}
		b.kept = append(b.kept, e)
	}
	for r := range b.readers {
		if e.to != "" && e.to != r.session {
			continue
		}
		select {
		case r.c <- e:
		default:
			b.drop(r)
		}
	}
}

// drop ends a reader's stream; what it has not read yet is still there. b.mu is held.
func (b *bus) drop(r *reader) {
	if _, ok := b.readers[r]; ok {
		delete(b.readers, r)
		close(r.c)
	}
}

func (b *bus) leave(r *reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(r)
}

// hears says whether a session reads its events.
func (b *bus) hears(session string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.readers {
		if r.session == session {
			return true
		}
	}
	return false
}

// endSession ends the streams of one session.
func (b *bus) endSession(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.readers {
		if r.session == id {
			b.drop(r)
		}
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for r := range b.readers {
		b.drop(r)
	}
}

// join opens a stream. after is the id of the last event that the reader knows: what happened
// since is given at once, if it is still known; else resumed is false and the caller begins
// with a snapshot, which it has to take before anything else happens in the room.
func (b *bus) join(session, after string) (r *reader, missed []event, resumed bool) {
	r = &reader{session: session, c: make(chan event, readAhead)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(r.c)
		return r, nil, false
	}
	b.readers[r] = struct{}{}
	n, ok := b.parse(after)
	if !ok || n > b.last || n+uint64(len(b.kept)) < b.last {
		return r, nil, false
	}
	for _, e := range b.kept {
		if e.n > n && (e.to == "" || e.to == session) {
			missed = append(missed, e)
		}
	}
	return r, missed, true
}

// mark is the id of an event on the wire.
func (b *bus) mark(n uint64) string { return fmt.Sprintf("%s-%d", b.epoch, n) }

// newest is the number of the newest event.
func (b *bus) newest() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *bus) parse(id string) (uint64, bool) {
	epoch, n, ok := strings.Cut(id, "-")
	if !ok || epoch != b.epoch {
		return 0, false
	}
	v, err := strconv.ParseUint(n, 10, 64)
	return v, err == nil
}
