package store

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewerAndOlder(t *testing.T) {
	one, err := migrations(schemaFiles)
	if err != nil {
		t.Fatal(err)
	}
	two := append(one[:1:1], migration{2, "ALTER TABLE setting ADD COLUMN by TEXT NOT NULL DEFAULT ''"})
	c := Config{Path: filepath.Join(t.TempDir(), "anchord.db")}
	values := map[string]string{"room.id": "101"}
	run := func(all []migration) (Found, error) {
		s, found, err := open(t.Context(), c, all)
		if err != nil {
			return found, err
		}
		if found.Source != FromNothing && !maps.Equal(s.Load(), values) {
			t.Errorf("values %v", s.Load())
		}
		return found, errors.Join(s.Save(values), s.Close())
	}
	if _, err := run(one); err != nil {
		t.Fatal(err)
	}
	if found, err := run(two); err != nil || found.Source != FromDatabase || len(found.Problems) > 0 {
		t.Fatal(found, err)
	}
	before, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = run(one)
	if !errors.Is(err, ErrNewer) {
		t.Fatal(err)
	}
	t.Log(err)
	if after, err := os.ReadFile(c.Path); err != nil || string(after) != string(before) {
		t.Error("a newer file was touched", err)
	}
	if found, err := run(two); err != nil || len(found.Problems) > 0 {
		t.Fatal(found, err)
	}
}

func TestMigrationNumbers(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "schema"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"0001.sql", "0003.sql"} {
		if err := os.WriteFile(filepath.Join(dir, "schema", n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrations(os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), "want number 2") {
		t.Error(err)
	}
}

// TestStrangers: triggers and views that we did not make are not run.
func TestStrangers(t *testing.T) {
	all, err := migrations(schemaFiles)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "anchord.db")
	s, _, err := open(t.Context(), Config{Path: path}, all)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.conn.ExecContext(context.Background(), "CREATE TRIGGER t AFTER INSERT ON setting BEGIN DELETE FROM setting; END"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, found, err := open(t.Context(), Config{Path: path}, all)
	if err != nil || len(found.Problems) == 0 || found.Problems[0].Code != CodeCorrupt {
		t.Fatal(found, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzRoomFile(f *testing.F) {
	good, err := encodeRoom(7, map[string]string{"room.id": "101", "video.fps": "30"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("{}\nsha256 \n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRoom(data)
		if err != nil {
			return
		}
		again, err := encodeRoom(r.Seq, r.Values)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRoom(again); err != nil || back.Seq != r.Seq || !maps.Equal(back.Values, r.Values) {
			t.Errorf("%v %v", back, err)
		}
	})
}
