package encoder

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"anchord/hal"
)

// Roster knows the encoders: in which order they are tried, which are put aside, since when,
// why and until when, and how each did in its self-test. It outlives the encoders that are
// open, and, where it is remembered, the daemon. Its methods may be called from any
// goroutine.
type Roster struct {
	mu       sync.Mutex
	all      []*entry
	remember func([]byte)
}

// entry is one make of encoders.
type entry struct {
	make     hal.VideoEncoders
	software bool
	state
	failures []time.Time // that were no hangs, of the last while
}

// state is what is remembered of an encoder.
type state struct {
	Wedges int       `json:"wedges,omitempty"` // hangs, since it last worked for long
	Aside  string    `json:"aside,omitempty"`  // why it is put aside; "" is not
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"` // from then on it may be tried once
	Soft   bool      `json:"soft,omitempty"` // a failure: it is tried before giving up
	Test   *Result   `json:"test,omitempty"`
}

// How long encoders are put aside.
const (
	restTime    = 10 * time.Second // after a failure
	failWindow  = 10 * time.Minute // in which
	mostFails   = 3                // failures count as a hang
	wedgeTime   = 10 * time.Minute // after a hang, doubled each time up to
	wedgeMost   = 6 * time.Hour
	forgetAfter = 24 * time.Hour // of work without a hang
)

// NewRoster makes a roster; the encoders are tried in this order.
func NewRoster(makes ...hal.VideoEncoders) *Roster {
	r := &Roster{}
	for _, m := range makes {
		_, soft := m.(hal.Software)
		r.all = append(r.all, &entry{make: m, software: soft})
	}
	return r
}

// Remember has what the roster knows kept: state is what was kept last time (nil for
// nothing; what cannot be read is forgotten), keep is called with each change that matters
// after the next start, from any goroutine, and must not call the roster.
func (r *Roster) Remember(state []byte, keep func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember = keep
	var known map[string]json.RawMessage
	if json.Unmarshal(state, &known) != nil {
		return
	}
	for _, e := range r.all {
		s := e.state
		if raw, ok := known[e.make.Name()]; ok && json.Unmarshal(raw, &s) == nil {
			if limit := time.Now().Add(wedgeMost); s.Until.After(limit) {
				s.Until = limit // the clock was wrong when that was written
			}
			e.state = s
		}
	}
}

// kept tells who remembers; mu is held.
func (r *Roster) kept() {
	if r.remember == nil {
		return
	}
	all := map[string]state{}
	for _, e := range r.all {
		if e.state != (state{}) {
			all[e.make.Name()] = e.state
		}
	}
	b, err := json.Marshal(all)
	if err == nil { // it always can be written
		r.remember(b)
	}
}

// Order changes the order in which encoders are tried: those that are named first, then the
// others as they were. Unknown names are left out.
func (r *Roster) Order(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := func(e *entry) int {
		if i := slices.Index(names, e.make.Name()); i >= 0 {
			return i
		}
		return len(names)
	}
	slices.SortStableFunc(r.all, func(a, b *entry) int { return cmp.Compare(place(a), place(b)) })
}

// candidates gives the encoders that may be tried now, best first: those that failed their
// self-test behind the others. When none is left but some that only failed, those.
func (r *Roster) candidates() []*entry {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var good, bad, last []*entry
	for _, e := range r.all {
		switch {
		case e.Aside != "" && now.Before(e.Until):
			if e.Soft {
				last = append(last, e)
			}
		case e.Test != nil && e.Test.Err != "":
			bad = append(bad, e)
		default:
			good = append(good, e)
		}
	}
	if len(good)+len(bad) == 0 {
		return last
	}
	return append(good, bad...)
}

// better gives an encoder that goes before e and may be tried again; nil if there is none.
func (r *Roster) better(e *entry) *entry {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.all {
		if o == e {
			return nil
		}
		if (o.Aside == "" || !now.Before(o.Until)) && (o.Test == nil || o.Test.Err == "") {
			return o
		}
	}
	return nil
}

// failed notes that an encoder gave an error, at opening or with a picture.
func (r *Roster) failed(e *entry, cause error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e.failures = slices.DeleteFunc(append(e.failures, now), func(t time.Time) bool { return now.Sub(t) > failWindow })
	aside := restTime
	if errors.Is(cause, hal.ErrStuck) || len(e.failures) >= mostFails && !e.software {
		e.failures = nil
		e.Wedges++
		aside = min(wedgeTime<<min(e.Wedges-1, 10), wedgeMost)
		e.Soft = false
	} else {
		e.Soft = true
	}
	e.Aside, e.Since, e.Until = cause.Error(), now, now.Add(aside)
	if !e.Soft {
		r.kept()
	}
}

// works notes that an encoder has coded its first picture: what it was put aside for is
// over. Its hangs are forgotten after a day of work.
func (r *Roster) works(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := e.state
	e.Aside, e.Until = "", time.Time{}
	if e.Wedges > 0 && time.Since(e.Since) > forgetAfter {
		e.Wedges = 0
	}
	if old != e.state && !old.Soft {
		r.kept()
	}
}

// Clear forgets why an encoder was put aside, and its hangs; "" means all. It is tried again
// at once. The error says that there is none of that name.
func (r *Roster) Clear(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := name == ""
	for _, e := range r.all {
		if name == "" || e.make.Name() == name {
			found = true
			e.state, e.failures = state{Test: e.Test}, nil
		}
	}
	if !found {
		return fmt.Errorf("there is no encoder %q", name)
	}
	r.kept()
	return nil
}

// Encoder is how one encoder stands.
type Encoder struct {
	Name     string
	Software bool
	Aside    string    // why it is put aside; "" if it is not
	Since    time.Time // of the last that was wrong with it
	Until    time.Time // it is tried again then
	Wedges   int       // hangs
	Test     *Result   // its last self-test; nil: none
}

// List gives all encoders, in the order in which they are tried.
func (r *Roster) List() []Encoder {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Encoder, len(r.all))
	for i, e := range r.all {
		out[i] = Encoder{Name: e.make.Name(), Software: e.software, Since: e.Since, Wedges: e.Wedges, Test: e.Test}
		if e.Aside != "" && now.Before(e.Until) {
			out[i].Aside, out[i].Until = e.Aside, e.Until
		}
	}
	return out
}

// find gives the entry of a name.
func (r *Roster) find(name string) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.all {
		if e.make.Name() == name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("there is no encoder %q", name)
}

// tested notes the result of a self-test.
func (r *Roster) tested(e *entry, res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Test = &res
	r.kept()
}
