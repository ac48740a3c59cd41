package store_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anchord/device/store"
)

func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// TestFull: no file may grow beyond 64 KiB. Saves fail with ErrFull and what was saved
// before is there, also after the process.
func TestFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, lines := start(t, "limited", dir)
	var out []string
	for lines.Scan() {
		out = append(out, lines.Text())
	}
	if err := cmd.Wait(); err != nil || len(out) != 2 || !strings.HasPrefix(out[0], "true ") {
		t.Fatal(err, out)
	}
	t.Log(out)
	s, found := mustOpen(t, nil, dir)
	defer mustClose(t, s)
	mustSave(t, s, map[string]string{"room.id": "1"})
	if len(found.Problems) > 0 {
		t.Error(found.Problems)
	}
}

// TestRights runs as nobody, whom modes stop: the store starts, reads what it may, and
// says at Save that it cannot.
func TestRights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		dir, file os.FileMode
		wal       bool
		want      string
	}{
		{"read-only directory", 0o555, 0o644, false, "101 false"},
		{"read-only directory, log not written back", 0o555, 0o644, true, "101 false"},
		{"files of mode 000", 0o755, 0, false, " false"},
		{"directory of mode 000", 0, 0o644, false, " false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "store-rights-") // t.TempDir's parents may be closed to others
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			s, _ := mustOpen(t, nil, dir)
			if c.wal {
				// The files as they are before the close: the value is in the log alone.
				mustSave(t, s, map[string]string{"room.id": "101"})
				kept := t.TempDir()
				copyAll(t, dir, kept)
				mustClose(t, s)
				copyAll(t, kept, dir)
				for _, n := range []string{"anchord.db.good", "room.json"} {
					if err := os.Remove(filepath.Join(dir, n)); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				mustSave(t, s, map[string]string{"room.id": "101"})
				mustClose(t, s)
			}
			names, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				if err := os.Chmod(n, c.file); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, c.dir); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o755) //nolint:errcheck // for RemoveAll
			cmd, lines := start(t, "nobody", dir)
			var out []string
			for lines.Scan() {
				out = append(out, strings.ReplaceAll(lines.Text(), dir, "…"))
			}
			if err := cmd.Wait(); err != nil || len(out) != 2 {
				t.Fatal(err, out)
			}
			if !strings.HasPrefix(out[0], c.want) || !strings.Contains(out[1], "may not be written") {
				t.Error(out)
			}
			t.Log(strings.Join(out, "\n"))
		})
	}
}

func copyAll(t testing.TB, from, to string) {
	t.Helper()
	names, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(from, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, n.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPathIsADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(pathIn(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s, found := mustOpen(t, nil, dir)
	defer mustClose(t, s)
	if trouble := s.Trouble(); trouble.Err == nil || trouble.Refused {
		t.Errorf("at the start: %+v", trouble)
	}
	err := s.Save(map[string]string{"a": "b"})
	if trouble := s.Trouble(); !errors.Is(trouble.Err, err) || !trouble.Refused {
		t.Errorf("after %v: %+v", err, trouble)
	}
	if found.Storing || err == nil || len(s.Load()) != 0 {
		t.Errorf("%+v %v", found, err)
	}
	t.Log(err, found.Problems)
	// Put right, it stores without a restart.
	if err := os.Remove(pathIn(dir)); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, map[string]string{"a": "b"})
	if trouble := s.Trouble(); trouble != (store.Trouble{}) {
		t.Errorf("put right: %+v", trouble)
	}
	if n := s.Stats(); n != (store.Stats{Writes: 1, Failed: 1, Copies: 1}) {
		t.Errorf("%+v", n)
	}
	// The room's file cannot be written: the change is stored all the same.
	if err := os.Mkdir(filepath.Join(dir, "room.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, map[string]string{"room.id": "1"})
	if n := s.Stats(); n != (store.Stats{Writes: 2, Failed: 1, Copies: 1, Stale: 1}) {
		t.Errorf("%+v", n)
	}
	if err := os.Remove(filepath.Join(dir, "room.json")); err != nil {
		t.Fatal(err)
	}
}

// TestRot spoils the database and its log at every 64th byte in turn: by one bit, by zeros
// to the next sector, by an end there. It proves that no start is refused and that the
// values are those that were saved, from the file or from its copies: none is invented.
func TestRot(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	s, _ := mustOpen(t, nil, src)
	mustSave(t, s, map[string]string{"room.id": "101", "video.fps": "30"})
	mustSave(t, s, map[string]string{"mic.volume": "80"})
	old := map[string]string{"room.id": "101", "video.fps": "30"} // what the backup has
	want := s.Load()
	live := t.TempDir()
	copyAll(t, src, live) // database and log
	mustClose(t, s)       // database alone
	disk := newDisk(t)
	for _, c := range []struct {
		dir, file string
		may       []map[string]string
	}{
		{src, "anchord.db", []map[string]string{want}},
		{live, "anchord.db", []map[string]string{want, old}},
		{live, "anchord.db-wal", []map[string]string{want, old}},
	} {
		good, err := os.ReadFile(filepath.Join(c.dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		points := 0
		for at := 0; at < len(good); at += 64 {
			for kind := range 3 {
				bad := append([]byte(nil), good...)
				switch kind {
				case 0:
					bad[at] ^= 1 << (at / 32 % 8)
				case 1:
					clear(bad[at:min(len(bad), at|511+1)])
				case 2:
					bad = bad[:at]
				}
				if kind > 0 && at%512 != 0 {
					continue
				}
				points++
				dir := memoryDir(t)
				copyAll(t, c.dir, dir)
				if err := os.WriteFile(filepath.Join(dir, c.file), bad, 0o600); err != nil {
					t.Fatal(err)
				}
				s, found := mustOpen(t, disk, dir)
				if got := s.Load(); !oneOf(got, c.may...) {
					t.Fatalf("%s at %d kind %d: %s: got %v want %v", c.file, at, kind, codes(found), got, want)
				}
				mustSave(t, s, map[string]string{"a": "b"})
				mustClose(t, s)
			}
		}
		t.Logf("%s of %d bytes: %d points", c.file, len(good), points)
	}
}

// FuzzDatabase opens any bytes as a database, with any bytes as its log.
func FuzzDatabase(f *testing.F) {
	dir, _ := set(f)
	good, err := os.ReadFile(pathIn(dir))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, []byte{})
	f.Add(good, []byte{})
	f.Add(good[:100], []byte("x"))
	f.Add(good[:4096], good)
	f.Add([]byte("SQLite format 3\x00"), []byte{0x37, 0x7f, 6, 0x82})
	f.Add(make([]byte, 8192), make([]byte, 32))
	disk := newDisk(f)
	f.Fuzz(func(t *testing.T, db, wal []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(pathIn(dir), db, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pathIn(dir)+"-wal", wal, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := store.Open(t.Context(), store.Config{Path: pathIn(dir), FS: disk})
		if errors.Is(err, store.ErrNewer) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		before := s.Load()
		mustSave(t, s, map[string]string{"room.id": "7"})
		maps.Copy(before, map[string]string{"room.id": "7"})
		wantValues(t, s, before)
		mustClose(t, s)
	})
}
