// Package store keeps what is wanted of the box across restarts and power cuts.
//
// Three files share the work. The database holds every value and is on the disk before
// Save returns. Its last good copy is made after changes, at most once an hour, and at a
// clean stop. The room is in a plain file with a checksum too. Each counts the saves it
// has seen; Open believes the one that has seen most, and none of them whose checksums do
// not fit. Nothing is written but when somebody changes something.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// backupEvery is the least time between two copies: flash wears.
const backupEvery = time.Hour

// Config says where the store is.
type Config struct {
	Path string       // of the database; its copy, lock and room file lie beside it
	Log  *slog.Logger // nil: silent
	FS   FS           // nil: OS
}

// Store keeps values. Its methods may be called from any goroutine.
type Store struct {
	path   string
	fs     FS
	log    *slog.Logger
	schema []migration

	mu       sync.Mutex
	lock     io.Closer
	db       *database // nil: nothing can be stored, because of memory
	memory   error
	version  int
	now      contents
	closed   bool
	backedUp time.Time // the last copy, or try of one
	copied   int64     // seq of the last good copy
	roomDue  bool      // the room file is behind
	unsure   bool      // a write failed: the disk may hold what was refused
	dirty    chan struct{}

	counts  struct{ writes, failed, copies, stale atomic.Uint64 }
	trouble atomic.Pointer[Trouble]
}

// Trouble is why nothing can be stored.
type Trouble struct {
	Err     error
	Refused bool // a change was refused for it; else nobody has tried yet
}

// Trouble gives what was in the way of the last change, or of opening the database if there
// was no change since; its Err is nil while all is well. It does not wait for a disk.
func (s *Store) Trouble() Trouble {
	if t := s.trouble.Load(); t != nil {
		return *t
	}
	return Trouble{}
}

// Stats counts since Open.
type Stats struct {
	Writes uint64 // changes that are on the disk
	Failed uint64 // changes that could not be stored
	Copies uint64 // last good copies that were made
	Stale  uint64 // copies and room files that could not be written; the next change tries again
}

// Stats gives the counters. It does not wait for a disk.
func (s *Store) Stats() Stats {
	return Stats{s.counts.writes.Load(), s.counts.failed.Load(), s.counts.copies.Load(), s.counts.stale.Load()}
}

// Open reads what was stored. A file that is missing, damaged or out of reach is no error:
// what can be had is loaded, and Found says what was wrong. The error is ErrLocked when
// another process has the store and ErrNewer when a newer anchord wrote it, both with what
// to do; in both nothing was touched.
func Open(ctx context.Context, c Config) (*Store, Found, error) {
	all, err := migrations(schemaFiles)
	if err != nil {
		return nil, Found{}, err
	}
	return open(ctx, c, all)
}

func open(ctx context.Context, c Config, schema []migration) (*Store, Found, error) {
	s := &Store{path: filepath.Clean(c.Path), fs: c.FS, log: c.Log, schema: schema, dirty: make(chan struct{}, 1)}
	if s.fs == nil {
		s.fs = OS{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	found, err := s.start(ctx)
	if err != nil {
		return nil, Found{}, fmt.Errorf("open store %s: %w", s.path, err)
	}
	if s.memory != nil {
		s.trouble.Store(&Trouble{Err: fmt.Errorf("open store %s: %w", s.path, s.memory)})
	}
	return s, found, nil
}

// Load gives a copy of all values.
func (s *Store) Load() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.now.values)
}

// Save stores values: dotted keys of the configuration and their text. When it returns nil
// they survive a power cut. After an error nothing is changed; it says what to do. What is
// stored already is not written again.
func (s *Store) Save(values map[string]string) error {
	for k, v := range values {
		if err := check(k, v); err != nil {
			return fmt.Errorf("save: %w", err)
		}
	}
	return s.change("save", func(m map[string]string) { maps.Copy(m, values) })
}

// Delete forgets keys, as durably as Save. A key that is not there is no error.
func (s *Store) Delete(keys ...string) error {
	return s.change("delete", func(m map[string]string) {
		for _, k := range keys {
			delete(m, k)
		}
	})
}

func (s *Store) change(verb string, edit func(map[string]string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.changeLocked(verb, edit)
	if err != nil {
		s.counts.failed.Add(1)
	}
	s.trouble.Store(&Trouble{err, err != nil})
	return err
}

func (s *Store) changeLocked(verb string, edit func(map[string]string)) error {
	if s.closed {
		return fmt.Errorf("%s: %w", verb, ErrClosed)
	}
	ctx := context.Background() // a change is not given up half-way
	if s.db == nil {
		// What was in the way may be gone: a disk mounted, space freed.
		if _, err := s.start(ctx); err != nil {
			return fmt.Errorf("%s in %s: %w", verb, s.path, explain(err))
		}
		if s.db == nil {
			return fmt.Errorf("%s in %s: %w", verb, s.path, explain(s.memory))
		}
	}
	next := contents{maps.Clone(s.now.values), s.now.seq + 1}
	if next.values == nil {
		next.values = map[string]string{}
	}
	edit(next.values)
	if maps.Equal(next.values, s.now.values) && !s.unsure {
		return nil
	}
	if len(next.values) > maxKeys {
		return fmt.Errorf("%s: %d keys: allowed: at most %d", verb, len(next.values), maxKeys)
	}
	err := s.db.write(ctx, s.schema, s.version, s.now, next)
	if damaged(err) {
		err = s.rebuild(ctx, next, err)
	}
	if s.unsure = err != nil; s.unsure {
		return fmt.Errorf("%s in %s: %w", verb, s.path, explain(err))
	}
	s.roomDue = s.roomDue || !maps.Equal(roomOf(s.now.values), roomOf(next.values))
	s.now = next
	s.counts.writes.Add(1)
	s.afterChange(ctx)
	return nil
}

// rebuild makes the database anew from what is known: the file was damaged under us.
func (s *Store) rebuild(ctx context.Context, next contents, cause error) error {
	_ = s.db.close() // it is damaged; its lock ends in any case
	s.db, s.memory = nil, cause
	to, err := putAside(s.fs, s.path)
	if to == "" {
		return errors.Join(cause, err)
	}
	s.log.Error("the database was damaged while in use and is made anew", "cause", cause, "kept", to)
	db, err := s.create(ctx, next)
	if err != nil {
		return errors.Join(cause, err)
	}
	s.db, s.memory, s.version, s.roomDue = db, nil, len(s.schema), true
	return nil
}

// afterChange brings the copies up. The change is safe in the database already: what fails
// here is tried again with the next one.
func (s *Store) afterChange(ctx context.Context) {
	if s.roomDue {
		if err := s.writeRoom(); err != nil {
			s.log.Warn("the room file could not be written", "file", s.roomPath(), "cause", explain(err))
		}
	}
	if time.Since(s.backedUp) >= backupEvery {
		if err := s.backup(ctx); err != nil {
			s.log.Warn("the settings' copy could not be made", "file", s.backupPath(), "cause", explain(err))
		}
	}
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// Run makes the copy that a change within the last hour left due. Without it the copy waits
// for the next change or for Close.
func (s *Store) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty:
		}
		s.mu.Lock()
		wait := time.Until(s.backedUp.Add(backupEvery))
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		s.mu.Lock()
		var err error
		if s.db != nil && !s.closed {
			err = s.backup(ctx)
		}
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the settings' copy could not be made", "file", s.backupPath(), "cause", explain(err))
		}
	}
}

// Close makes the last copy and gives the lock back. What was saved was safe before.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.db != nil {
		if s.unsure {
			last := contents{s.now.values, s.now.seq + 1}
			if err = s.db.write(context.Background(), s.schema, s.version, s.now, last); err == nil {
				s.now = last
			}
		}
		if s.roomDue {
			err = errors.Join(err, s.writeRoom())
		}
		err = errors.Join(err, s.backup(context.Background()), s.db.close())
		s.db = nil
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.path, explain(err))
	}
	return nil
}

func (s *Store) roomPath() string   { return filepath.Join(filepath.Dir(s.path), "room.json") }
func (s *Store) backupPath() string { return s.path + ".good" }

func (s *Store) writeRoom() error {
	data, err := encodeRoom(s.now.seq, s.now.values)
	if err == nil {
		err = writeFile(s.fs, s.roomPath(), data)
	}
	if s.roomDue = err != nil; s.roomDue {
		s.counts.stale.Add(1)
	}
	return err
}

// backup makes the last good copy, if something changed since the one before. Its file is
// on the disk before it takes the old one's place, and the place before backup returns.
func (s *Store) backup(ctx context.Context) error {
	if s.copied == s.now.seq {
		return nil
	}
	s.backedUp = time.Now()
	tmp := s.backupPath() + ".new"
	err := ignoreMissing(s.fs.Remove(tmp))
	if err == nil {
		err = s.db.copyTo(ctx, tmp)
	}
	if err == nil {
		err = s.fs.Sync(tmp)
	}
	if err == nil {
		err = s.fs.Rename(tmp, s.backupPath())
	}
	if err == nil {
		err = s.fs.Sync(filepath.Dir(s.path))
	}
	if err != nil {
		s.counts.stale.Add(1)
		return errors.Join(fmt.Errorf("copy: %w", err), ignoreMissing(s.fs.Remove(tmp)))
	}
	s.copied = s.now.seq
	s.counts.copies.Add(1)
	return nil
}

func (s *Store) exists(name string) (bool, error) {
	_, err := s.fs.Size(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
