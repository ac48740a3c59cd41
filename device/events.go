package device

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"anchord/internal/secret"
)

// Event is one thing that happened. It is shared by all who read it and never written.
type Event struct {
	ID      uint64 // rising by one from 1 over the daemon's life; 0: not kept, it cannot be resumed from
	Time    time.Time
	Name    string // a name of EventKinds
	Details []Detail

	boot string
}

// Mark gives the event's id as listeners are told it: with the life of the daemon that it
// belongs to. It is empty for an event that cannot be resumed from.
func (e Event) Mark() string {
	if e.ID == 0 {
		return ""
	}
	return mark(e.boot, e.ID)
}

func mark(boot string, id uint64) string { return boot + "-" + strconv.FormatUint(id, 10) }

// Detail is one argument of an event. Value is a string, bool, int, uint64 or float64.
type Detail struct {
	Key   string
	Value any
}

// Limits of the hub. An event is a few hundred bytes; the bytes bound what a reader that
// never reads can hold.
const (
	keptEvents = 256
	keptBytes  = 64 << 10
	mostText   = 512 // bytes of one string in an event; what is longer is cut
)

// Events is where parts say what happened and listeners hear of it. It keeps the newest,
// so that a listener that was away can go on where it was. Its methods may be called from
// any goroutine, and none of them waits for a reader.
type Events struct {
	// Hide takes secrets out of what is told. Set it before anything is; nil is secret.Scrub.
	Hide func(string) string

	boot string

	mu      sync.Mutex
	last    uint64 // id of the newest kept event
	kept    backlog
	readers map[*EventReader]struct{}
}

// NewEvents makes a hub with nobody in it.
func NewEvents() *Events {
	return &Events{boot: strings.ToLower(rand.Text()[:8]), readers: map[*EventReader]struct{}{}}
}

// Publish tells everybody that something happened. Names that EventKinds calls Passing go
// to those who asked for them by name, and are not kept.
func (e *Events) Publish(name string, details ...Detail) {
	for i, d := range details {
		if s, ok := d.Value.(string); ok {
			details[i].Value = e.clean(s)
		}
	}
	v := Event{Time: time.Now(), Name: name, Details: details, boot: e.boot}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !passing(name) {
		e.last++
		v.ID = e.last
		e.kept.push(v)
	}
	for r := range e.readers {
		if r.filter.Passes(name) {
			r.put(v)
		}
	}
}

// Asked tells whether anybody listens for a name: what nobody hears need not be measured.
func (e *Events) Asked(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.readers {
		if r.filter.Passes(name) {
			return true
		}
	}
	return false
}

// Newest gives the newest n of the kept events, oldest first.
func (e *Events) Newest(n int) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.kept.events
	return append([]Event(nil), all[max(0, len(all)-n):]...)
}

// ValidMark tells whether s could be a mark, or an event's bare number.
func ValidMark(s string) bool {
	boot, n, ok := strings.Cut(s, "-")
	if !ok {
		boot, n = "a", s
	}
	_, err := strconv.ParseUint(n, 10, 64)
	return err == nil && n[0] != '+' && boot != "" && len(boot) <= 16 &&
		!strings.ContainsFunc(boot, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// since gives the number that mark names, the kept events after it, and how many before
// them are missed and not kept any more, with the reason. e.mu is held.
func (e *Events) since(mark string) (id uint64, missed []Event, gone uint64, why string) {
	boot, n, ok := strings.Cut(mark, "-")
	if !ok {
		boot, n = e.boot, mark
	}
	id, err := strconv.ParseUint(n, 10, 64)
	why = TooOld
	if err != nil || boot != e.boot || id > e.last {
		id, why = 0, OtherLife
	}
	all := e.kept.events
	first := e.last - uint64(len(all)) + 1
	if id+1 < first {
		return id, all, first - id - 1, why
	}
	if why == OtherLife {
		return id, all, 0, why
	}
	return id, all[id+1-first:], 0, ""
}

// Listen makes a reader of the events that pass the filter: from now on, or after the one
// that since names (a mark, or a number of this daemon's life). When not all of those are
// kept any more, or the mark is another life's, the first event is Dropped and says so.
// Close the reader.
func (e *Events) Listen(f Filter, since string) *EventReader {
	r := &EventReader{hub: e, filter: f, ready: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.seen = e.last
	if since != "" {
		id, missed, gone, why := e.since(since)
		r.seen, r.lost, r.why = id, gone, why
		for _, v := range missed {
			if f.Passes(v.Name) {
				r.put(v)
			}
		}
		r.ring()
	}
	e.readers[r] = struct{}{}
	return r
}

// EventReader is one listener's mailbox. When it is full it drops its own oldest, and its
// reader is told how many.
type EventReader struct {
	hub    *Events
	filter Filter
	ready  chan struct{}

	// Guarded by hub.mu.
	box  backlog
	seen uint64 // all up to it was taken, or did not pass
	lost uint64
	why  string // of lost; with OtherLife it is told even if nothing was lost
}

// Reasons of Dropped, its detail "why".
const (
	TooSlow   = "slow"    // the reader did not take them in time
	TooOld    = "old"     // it was away for too long
	OtherLife = "restart" // the daemon was started anew; what the one before said last is not known
)

func (r *EventReader) put(v Event) {
	if n := r.box.push(v); n > 0 {
		if r.lost += uint64(n); r.why == "" {
			r.why = TooSlow
		}
	}
	r.ring()
}

func (r *EventReader) ring() {
	if len(r.box.events) == 0 && r.why == "" {
		return
	}
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Ready is signalled when there is something to take.
func (r *EventReader) Ready() <-chan struct{} { return r.ready }

// Take gives all that is in the mailbox, oldest first, and nil when it is empty. If
// something was lost before, the first is the event Dropped.
func (r *EventReader) Take() []Event {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	out := r.box.events
	if r.why != "" {
		d := Event{Time: time.Now(), Name: Dropped, Details: []Detail{{"n", r.lost}, {"why", r.why}}}
		out = append([]Event{d}, out...)
	}
	r.box, r.lost, r.why = backlog{}, 0, ""
	r.seen = r.hub.last
	return out
}

// Mark gives the mark of the newest event that the reader has taken or that its filter
// held back: where to resume.
func (r *EventReader) Mark() string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if len(r.box.events) == 0 && r.why == "" {
		r.seen = r.hub.last
	}
	return mark(r.hub.boot, r.seen)
}

// Close ends the listening.
func (r *EventReader) Close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	delete(r.hub.readers, r)
}

// backlog is events, oldest first, bounded in number and bytes.
type backlog struct {
	events []Event
	bytes  int
}

// push adds an event and says how many had to go for it.
func (b *backlog) push(v Event) (gone int) {
	b.events = append(b.events, v)
	b.bytes += size(v)
	for len(b.events)-gone > 1 && (len(b.events)-gone > keptEvents || b.bytes > keptBytes) {
		b.bytes -= size(b.events[gone])
		gone++
	}
	if gone > 0 {
		clear(b.events[:gone]) // what is dropped can be freed
		b.events = b.events[gone:]
	}
	return gone
}

// size is about what an event takes in memory.
func size(v Event) int {
	n := 64 + len(v.Name)
	for _, d := range v.Details {
		n += 32 + len(d.Key)
		if s, ok := d.Value.(string); ok {
			n += len(s)
		}
	}
	return n
}

// clean makes a text fit to be told: without secrets, and not too long.
func (e *Events) clean(s string) string {
	hide := e.Hide
	if hide == nil {
		hide = secret.Scrub
	}
	return cut(hide(s))
}

// cut shortens a text between two characters.
func cut(s string) string {
	if len(s) <= mostText {
		return s
	}
	end := mostText
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	return s[:end] + "…"
}
