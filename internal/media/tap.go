package media

import "sync"

// Tap hands each thing to all its readers, each with a mailbox of its own, so that a
// slow reader loses only its own. Readers come and go at any time.
type Tap[T item] struct {
	mu      sync.RWMutex
	readers []*reader[T]
}

type reader[T item] struct{ put func(T) }

// Add makes put a reader: it is called with one reference of each thing from now on,
// on the goroutine of Put, and must not block nor call the tap (Latest.Put and
// Queue.Put do neither). The returned function ends the reading; after it has
// returned put is not called any more.
func (t *Tap[T]) Add(put func(T)) (remove func()) {
	r := &reader[T]{put}
	t.mu.Lock()
	t.readers = append(t.readers[:len(t.readers):len(t.readers)], r)
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		kept := make([]*reader[T], 0, len(t.readers))
		for _, o := range t.readers {
			if o != r {
				kept = append(kept, o)
			}
		}
		t.readers = kept
	}
}

// Readers is how many there are.
func (t *Tap[T]) Readers() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.readers)
}

// Put hands v, one reference of which the caller gives up, to every reader.
func (t *Tap[T]) Put(v T) {
	t.mu.RLock()
	for _, r := range t.readers {
		retain(v)
		r.put(v)
	}
	t.mu.RUnlock()
	release(v)
}

func retain[T item](v T) {
	switch v := any(v).(type) {
	case *Frame:
		v.retain()
	case *Packet:
		v.retain()
	case *Sound:
		v.retain()
	}
}

func release[T item](v T) {
	switch v := any(v).(type) {
	case *Frame:
		v.Release()
	case *Packet:
		v.Release()
	case *Sound:
		v.Release()
	}
}
