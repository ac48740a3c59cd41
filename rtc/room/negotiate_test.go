package room

import (
	"log/slog"
	"sync/atomic"
	"testing"
)

// FuzzNegotiate gives pion what checkOffer lets pass: it may refuse it, and must neither panic
// nor hang. (Keys are random and so is what is covered: -fuzzminimizetime=1x.)
func FuzzNegotiate(f *testing.F) {
	w, err := openWire(f.Context(), Config{Log: slog.New(slog.DiscardHandler)}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = w.mux.Close() })
	for _, p := range []*peer{publisher(f), viewer(f)} {
		f.Add(p.offer(), p.video != nil)
	}
	f.Fuzz(func(t *testing.T, text string, anchor bool) {
		o, p := checkOffer(text, anchor)
		if p != nil || len(text) > maxBody {
			return
		}
		var nacks atomic.Uint64
		pc, err := w.connect(anchor, &nacks, func() {})
		if err != nil {
			t.Fatal(err)
		}
		s := &session{sends: anchor, pc: pc, wire: w, near: true, over: make(chan struct{})}
		if _, err := s.accept(t.Context(), text, o); err == nil && s.etag == "" {
			t.Error("an answer without a tag")
		}
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
}
