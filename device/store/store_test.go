package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"anchord/device/store"
)

func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	s, found := mustOpen(t, nil, dir)
	if found.Source != store.FromNothing || len(found.Problems) > 0 || !found.Storing {
		t.Errorf("first start: %+v", found)
	}
	want := map[string]string{"room.id": "101", "room.user": "cart-7", "video.fps": "30"}
	mustSave(t, s, want)
	wantValues(t, s, want)
	if err := s.Delete("video.fps", "not.there"); err != nil {
		t.Fatal(err)
	}
	delete(want, "video.fps")
	mustClose(t, s)
	if err := s.Save(want); err == nil || !errors.Is(s.Save(map[string]string{"a": "b"}), store.ErrClosed) {
		t.Errorf("save after close: %v", err)
	}
	s, found = mustOpen(t, nil, dir)
	wantValues(t, s, want)
	if codes(found) != "database" || found.Values != 2 {
		t.Errorf("second start: %+v", found)
	}
	mustClose(t, s)
	for _, name := range []string{"anchord.db", "anchord.db.good", "room.json", "anchord.db.lock"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if name != "anchord.db.good" && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, st.Mode())
		}
	}
}

func TestSameIsNotWritten(t *testing.T) {
	disk := newDisk(t)
	s, _ := mustOpen(t, disk, t.TempDir())
	defer mustClose(t, s)
	values := map[string]string{"room.id": "101", "video.fps": "30"}
	mustSave(t, s, values)
	n := disk.Count()
	mustSave(t, s, values)
	if err := s.Delete("none"); err != nil || disk.Count() != n {
		t.Errorf("%d operations for nothing, %v", disk.Count()-n, err)
	}
	mustSave(t, s, map[string]string{"video.fps": "25"})
	t.Logf("one changed value: %d operations", disk.Count()-n)
	if n := s.Stats(); n != (store.Stats{Writes: 2, Copies: 1}) {
		t.Errorf("%+v", n)
	}
}

func TestBadValues(t *testing.T) {
	s, _ := mustOpen(t, nil, t.TempDir())
	defer mustClose(t, s)
	many := map[string]string{}
	for i := range 2000 {
		many[fmt.Sprint(i)] = ""
	}
	for _, m := range []map[string]string{{"": "x"}, {"a\x00": "x"}, {"a": "\xff"}, {"a": "\x00"}, {strings.Repeat("k", 129): ""}, {"a": strings.Repeat("v", 65537)}, many} {
		if err := s.Save(m); err == nil || !strings.Contains(err.Error(), "allowed") {
			t.Errorf("%.40v: %v", m, err)
		}
	}
	wantValues(t, s, map[string]string{})
}

// set is a directory as a cleanly stopped store left it, with two values.
func set(t testing.TB) (string, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	values := map[string]string{"room.id": "101", "video.fps": "30"}
	s, _ := mustOpen(t, nil, dir)
	mustSave(t, s, values)
	mustClose(t, s)
	return dir, values
}

func TestWhatIsLeft(t *testing.T) {
	garbage := bytes.Repeat([]byte("garbage "), 1000)
	for _, c := range []struct {
		name        string
		spoil, gone string // files, comma-separated
		codes       string
		values      int
	}{
		{"all good", "", "", "database", 2},
		{"database corrupt", "anchord.db", "", "backup store-corrupt", 2},
		{"database gone", "", "anchord.db", "backup store-missing", 2},
		{"database and backup corrupt", "anchord.db,anchord.db.good", "", "room file store-corrupt store-backup", 1},
		{"all corrupt", "anchord.db,anchord.db.good,room.json", "", "nothing store-corrupt store-backup store-room-file", 0},
		{"backup corrupt", "anchord.db.good", "", "database store-backup", 2},
		{"room corrupt", "room.json", "", "database store-room-file", 2},
		{"copies gone", "", "anchord.db.good,room.json", "database", 2},
		{"all gone", "", "anchord.db,anchord.db.good,room.json", "nothing", 0},
		{"log alone", "anchord.db-wal", "anchord.db", "backup store-corrupt", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := set(t)
			for name := range strings.FieldsFuncSeq(c.spoil, func(r rune) bool { return r == ',' }) {
				if err := os.WriteFile(filepath.Join(dir, name), garbage, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name := range strings.FieldsFuncSeq(c.gone, func(r rune) bool { return r == ',' }) {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			s, found := mustOpen(t, nil, dir)
			if codes(found) != c.codes || found.Values != c.values || len(s.Load()) != c.values {
				t.Errorf("%s with %d values, want %s with %d", codes(found), found.Values, c.codes, c.values)
			}
			for _, p := range found.Problems {
				t.Log(strings.ReplaceAll(p.String(), dir, "…"))
			}
			want := s.Load()
			mustClose(t, s)
			s, found = mustOpen(t, nil, dir) // all is well again
			wantValues(t, s, want)
			if len(found.Problems) > 0 {
				t.Errorf("second start: %+v", found)
			}
			mustClose(t, s)
		})
	}
}

func TestCorruptWhileOpen(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	s, _, err := store.Open(t.Context(), store.Config{Path: pathIn(dir), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, map[string]string{"room.id": "1", "a": strings.Repeat("a", 60000)})
	for _, name := range []string{"anchord.db", "anchord.db-wal"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("garbage!", 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 { // until SQLite looks at the disk again
		mustSave(t, s, map[string]string{"b": strings.Repeat("b", 40000+i), "n": fmt.Sprint(i)})
	}
	want := s.Load()
	mustClose(t, s)
	s, found := mustOpen(t, nil, dir)
	defer mustClose(t, s)
	wantValues(t, s, want)
	t.Log(codes(found), log.String())
}

func TestKeepsThreeCorrupt(t *testing.T) {
	dir, values := set(t)
	for range 6 {
		for _, side := range []string{"", "-wal"} {
			if err := os.WriteFile(pathIn(dir)+side, []byte("not a database, far from it"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, found := mustOpen(t, nil, dir)
		wantValues(t, s, values)
		if !strings.Contains(codes(found), store.CodeCorrupt) {
			t.Error(codes(found))
		}
		mustClose(t, s)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.corrupt-*"))
	if err != nil || len(left) != 6 || !strings.HasSuffix(left[5], "corrupt-6-wal") {
		t.Errorf("%v %v", left, err)
	}
}

// TestTwo: a second process is told who it is that disturbs, and disturbs nothing.
func TestTwo(t *testing.T) {
	dir, values := set(t)
	cmd, lines := start(t, "hold", dir)
	defer cmd.Wait() //nolint:errcheck // killed
	if !lines.Scan() || lines.Text() != "holding" {
		t.Fatal(lines.Text())
	}
	if _, _, err := store.Open(t.Context(), store.Config{Path: pathIn(dir)}); !errors.Is(err, store.ErrLocked) {
		t.Error(err)
	} else {
		t.Log(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s, _ := mustOpen(t, nil, dir)
	wantValues(t, s, values)
	mustClose(t, s)
}

// TestPredecessor: a lock that is given back in a moment is waited for; a child that is between
// its fork and its exec has it too.
func TestPredecessor(t *testing.T) {
	dir, values := set(t)
	lock, err := store.OS{}.Lock(pathIn(dir) + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	back := time.AfterFunc(200*time.Millisecond, func() { _ = lock.Close() })
	defer back.Stop()
	s, _ := mustOpen(t, nil, dir)
	wantValues(t, s, values)
	mustClose(t, s)
}

// TestOtherProgram: another program that has the database open is waited for, then named.
func TestOtherProgram(t *testing.T) {
	dir, _ := set(t)
	db, err := sql.Open("sqlite3", "file:"+pathIn(dir)+"?_txlock=exclusive")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Open(t.Context(), store.Config{Path: pathIn(dir)}); !errors.Is(err, store.ErrLocked) {
		t.Error(err)
	} else {
		t.Log(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
}

func TestBackup(t *testing.T) {
	disk := newDisk(t)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _ := mustOpen(t, disk, dir)
		ctx, cancel := contextOf(t)
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		age := func() time.Time {
			st, err := os.Stat(pathIn(dir) + ".good")
			if err != nil {
				t.Fatal(err)
			}
			return st.ModTime()
		}
		mustSave(t, s, map[string]string{"a": "1"})
		first := age()
		mustSave(t, s, map[string]string{"a": "2"})
		time.Sleep(59 * time.Minute)
		mustSave(t, s, map[string]string{"a": "3"})
		if !age().Equal(first) {
			t.Error("copied twice within the hour")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		second := age()
		if second.Equal(first) {
			t.Error("no copy after an hour")
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if !age().Equal(second) {
			t.Error("copied though nothing changed")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		mustClose(t, s)
	})
}
