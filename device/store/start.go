package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"anchord/internal/run"
)

// start takes the lock, reads the three files, believes the newest good one and brings the
// others up to it. Afterwards s.db is nil if nothing can be stored, because of s.memory.
func (s *Store) start(ctx context.Context) (Found, error) {
	found := Found{Source: FromNothing}
	db, had, err := s.openDatabase(ctx, &found)
	err = explain(err)
	if errors.Is(err, ErrLocked) || errors.Is(err, ErrNewer) {
		s.unlock()
		return found, err
	}
	best := had
	if had.seq > 0 {
		found.Source = FromDatabase
	}
	if err != nil && db == nil {
		// Out of reach for writing, perhaps not for reading.
		if c, rerr := s.readAway(ctx); rerr == nil {
			best, found.Source = c, FromDatabase
		}
	}
	if from := s.pickCopies(ctx, &best, &found); from != "" && err == nil && len(found.Problems) == 0 {
		if had.seq > 0 {
			found.add(CodeOlder, "look at what is set; the storage forgets what it said was written: replace it", "%s has seen %d saves, %s %d", s.path, had.seq, from, best.seq)
		} else {
			found.add(CodeMissing, "look at what is set (config export)", "%s is not there or empty; %s was used", s.path, from)
		}
	}
	if s.now.seq > best.seq {
		best = s.now // the database was lost while in use: nobody has seen more than this process
	}
	if err == nil && (db == nil || best.seq != had.seq || s.version != len(s.schema)) {
		db, err = s.bring(ctx, db, had, best)
	}
	if err != nil {
		err = explain(err)
		found.add(CodeMemory, "what is set now is forgotten at the next start; put it right and set it again", "open %s: %v", s.path, err)
	}
	s.db, s.memory, s.now = db, err, best
	if s.now.values == nil {
		s.now.values = map[string]string{}
	}
	found.Values, found.Storing = len(s.now.values), s.db != nil
	if s.roomDue && s.db != nil {
		if err := s.writeRoom(); err != nil {
			found.add(CodeRoomFile, "the room is safe in the database; check disk space and rights", "write %s: %v", s.roomPath(), explain(err))
		}
	}
	return found, nil
}

// openDatabase gives the database with what it holds. Without an error and without a
// database there is none, or it was put aside. With an error it cannot be had for writing.
func (s *Store) openDatabase(ctx context.Context, found *Found) (*database, contents, error) {
	none := contents{}
	if err := s.fs.MkdirAll(filepath.Dir(s.path)); err != nil {
		return nil, none, err
	}
	if s.lock == nil {
		if err := s.takeLock(ctx); err != nil {
			return nil, none, err
		}
	}
	there, err := s.exists(s.path)
	if err != nil {
		return nil, none, err
	}
	why := error(nil)
	if there {
		for try := range 2 {
			db, c, version, err := s.tryDatabase(ctx)
			switch {
			case err == nil && version == 0:
				return nil, none, s.emptied(db) // its making was cut short, or it is new
			case err == nil:
				s.version = version
				return db, c, nil
			case unreadable(err) && try == 0:
				continue
			case !damaged(err) && !unreadable(err):
				return nil, none, err
			}
			why = err
			break
		}
	} else if left, _ := s.exists(s.path + "-wal"); left {
		why = errors.New("its log is there and it is not")
	} else {
		return nil, none, nil
	}
	to, err := putAside(s.fs, s.path)
	if to == "" {
		return nil, none, errors.Join(why, err)
	}
	s.log.Error("the database is damaged and was put aside", "cause", why, "kept", to)
	found.add(CodeCorrupt, "look at what is set (config export); if it happens again the storage is failing: replace it", "%s: %v; kept as %s", s.path, why, to)
	return nil, none, nil
}

// lockPatience is how long whoever has the lock may take to end.
const lockPatience = time.Second

// takeLock takes the lock, and waits a little for one that is about to be given back: by an
// anchord that was killed a moment ago, or by a child between its fork and its exec, which has
// all files of its parent (flock(2)).
func (s *Store) takeLock(ctx context.Context) error {
	begun := time.Now()
	for try := 1; ; try++ {
		l, err := s.fs.Lock(s.path + ".lock")
		if err == nil {
			s.lock = l
			return nil
		}
		if !errors.Is(err, ErrLocked) || time.Since(begun) > lockPatience {
			return err
		}
		if werr := (run.Backoff{Base: 10 * time.Millisecond, Max: 100 * time.Millisecond}).Wait(ctx, try, nil); werr != nil {
			return err
		}
	}
}

func (s *Store) tryDatabase(ctx context.Context) (*database, contents, int, error) {
	none := contents{}
	size, err := s.fs.Size(s.path)
	if err != nil {
		return nil, none, 0, err
	}
	wal, err := s.fs.Size(s.path + "-wal")
	if ignoreMissing(err) != nil {
		return nil, none, 0, err
	}
	switch {
	case size > maxBytes || wal > maxBytes:
		return nil, none, 0, fmt.Errorf("%d and %d bytes long, far more than was ever written: %w", size, wal, errCorrupt)
	case size == 0 && wal > 0:
		// SQLite would throw the log away without a word.
		return nil, none, 0, fmt.Errorf("it is empty and its log is not: %w", errCorrupt)
	case size > 0:
		// SQLite cleans up beside a file that is none of its own; the set is kept as it was found.
		head, err := s.fs.ReadFile(s.path)
		if err != nil {
			return nil, none, 0, err
		}
		if !bytes.HasPrefix(head, []byte("SQLite format 3\x00")) {
			return nil, none, 0, fmt.Errorf("it is no database: %w", errCorrupt)
		}
	}
	db, err := connect(ctx, s.fs.VFS(), s.path, "")
	if err != nil {
		return nil, none, 0, err
	}
	c, version, err := db.examine(ctx, s.schema)
	if err != nil {
		return nil, none, 0, errors.Join(err, db.close())
	}
	return db, c, version, nil
}

// emptied closes a database that holds nothing; bring opens it again.
func (s *Store) emptied(db *database) error {
	s.version = 0
	return db.close()
}

// pickCopies puts the backup or the room file in the place of best where they have seen
// later saves, and gives the name of the last that did.
func (s *Store) pickCopies(ctx context.Context, best *contents, found *Found) (from string) {
	b, err := s.readBackup(ctx)
	switch {
	case err != nil:
		found.add(CodeBackup, "nothing: the next change makes a new one", "read %s: %v", s.backupPath(), err)
	case b.seq > best.seq:
		*best, found.Source, from = b, FromBackup, s.backupPath()
	}
	s.copied, s.backedUp = b.seq, time.Time{}
	if err != nil {
		s.copied = -1 // the next copy is due whatever was saved
	}
	if b.seq > 0 && b.seq == best.seq {
		s.backedUp = time.Now() // a box that starts again and again must not write each time
	}
	r, err := s.readRoom()
	switch {
	case err != nil:
		found.add(CodeRoomFile, "nothing: it is written anew", "read %s: %v", s.roomPath(), err)
	case r.Seq > best.seq:
		if best.seq == 0 {
			found.Source = FromRoomFile
		}
		*best, from = contents{overlay(best.values, r.Values), r.Seq}, s.roomPath()
	}
	s.roomDue = err != nil || !maps.Equal(r.Values, roomOf(best.values))
	return from
}

// readBackup reads the last good copy; none is no error.
func (s *Store) readBackup(ctx context.Context) (contents, error) {
	size, err := s.fs.Size(s.backupPath())
	switch {
	case err != nil:
		return contents{}, ignoreMissing(err)
	case size > maxBytes:
		return contents{}, errCorrupt
	}
	db, err := connect(ctx, s.fs.VFS(), s.backupPath(), "ro")
	if err != nil {
		return contents{}, err
	}
	c, version, err := db.examine(ctx, s.schema)
	if err == nil && version == 0 {
		err = errCorrupt
	}
	if err = errors.Join(err, db.close()); err != nil {
		return contents{}, err
	}
	return c, nil
}

// readRoom reads the room file; none is no error.
func (s *Store) readRoom() (roomFile, error) {
	data, err := s.fs.ReadFile(s.roomPath())
	if err != nil {
		return roomFile{}, ignoreMissing(err)
	}
	return decodeRoom(data)
}

// bring writes what is believed into the database, which is made when there is none.
func (s *Store) bring(ctx context.Context, db *database, had, best contents) (*database, error) {
	if db == nil {
		return s.create(ctx, best)
	}
	if err := db.write(ctx, s.schema, s.version, had, best); err != nil {
		return nil, errors.Join(err, db.close())
	}
	s.version = len(s.schema)
	return db, nil
}

// create makes the database with c in it. Until its one transaction is on the disk the
// file counts as empty, and a start after a cut looks at the copies again.
func (s *Store) create(ctx context.Context, c contents) (*database, error) {
	if there, err := s.exists(s.path); err != nil {
		return nil, err
	} else if !there {
		f, err := s.fs.Create(s.path) // for its mode: SQLite's own is for all to read
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	db, err := connect(ctx, s.fs.VFS(), s.path, "")
	if err != nil {
		return nil, err
	}
	if err := db.write(ctx, s.schema, 0, contents{}, c); err != nil {
		return nil, errors.Join(err, db.close())
	}
	if err := s.fs.Sync(filepath.Dir(s.path)); err != nil {
		return nil, errors.Join(err, db.close())
	}
	s.version = len(s.schema)
	return db, nil
}

// readAway reads a database that may not be written from a copy elsewhere: its log belongs
// to it and SQLite can only read both where it may write.
func (s *Store) readAway(ctx context.Context) (contents, error) {
	dir, err := os.MkdirTemp("", "anchord-store-")
	if err != nil {
		return contents{}, err
	}
	defer os.RemoveAll(dir)
	to := filepath.Join(dir, "copy.db")
	for _, side := range []string{"", "-wal"} {
		data, err := s.fs.ReadFile(s.path + side)
		if side != "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return contents{}, err
		}
		if err := os.WriteFile(to+side, data, 0o600); err != nil {
			return contents{}, err
		}
	}
	db, err := connect(ctx, "", to, "")
	if err != nil {
		return contents{}, err
	}
	c, _, err := db.examine(ctx, s.schema)
	return c, errors.Join(err, db.close())
}

func (s *Store) unlock() {
	if s.lock != nil {
		_ = s.lock.Close() // the kernel gives it back in any case
		s.lock = nil
	}
}
