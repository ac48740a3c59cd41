package worker

import (
	"errors"

	"anchord/hal"
)

// refusal is an error that came from the other side.
type refusal struct {
	text string
	is   error // one of hal's; nil when it is none of them
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.is }

// sentinels are hal's errors by their number in the protocol; 0 is every other.
func sentinels() [7]error {
	return [...]error{nil, hal.ErrGone, hal.ErrBusy, hal.ErrDenied, hal.ErrUnsupported, hal.ErrStuck, hal.ErrStopped}
}

func putRefusal(w *writer, err error) {
	code := 0
	for i, s := range sentinels() {
		if s != nil && errors.Is(err, s) {
			code = i
			break
		}
	}
	s := err.Error()
	s = s[:min(len(s), maxText)]
	w.u32(uint32(code))
	w.u32(uint32(len(s)))
	w.text(s, len(s))
}

func getRefusal(r *reader) (*refusal, bool) {
	code, n := r.u32(), r.u32()
	if n > maxText {
		return nil, false
	}
	e := &refusal{text: r.text(int(n))}
	if all := sentinels(); code < uint32(len(all)) {
		e.is = all[code]
	}
	if e.text == "" {
		e.text = "no reason given"
	}
	return e, r.end()
}
