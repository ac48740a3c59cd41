package store_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"anchord/device/store"
	"anchord/device/store/powercut"

	"go.uber.org/goleak"
)

// TestMain is also the programs that some tests start: this one with a word for it.
func TestMain(m *testing.M) {
	if word := os.Getenv("STORE_CHILD"); word != "" {
		os.Exit(child(word))
	}
	goleak.VerifyTestMain(m)
}

// start runs this program as a child that does word in dir.
func start(t *testing.T, word, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_CHILD="+word, "STORE_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func newDisk(t testing.TB) *powercut.Disk {
	t.Helper()
	d, err := powercut.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// memoryDir is a directory where a test lays out thousands of little disks.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func pathIn(dir string) string { return filepath.Join(dir, "anchord.db") }

func mustOpen(t testing.TB, fs store.FS, dir string) (*store.Store, store.Found) {
	t.Helper()
	s, found, err := store.Open(t.Context(), store.Config{Path: pathIn(dir), FS: fs})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s, found
}

func mustClose(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func mustSave(t testing.TB, s *store.Store, values map[string]string) {
	t.Helper()
	if err := s.Save(values); err != nil {
		t.Fatalf("save: %v", err)
	}
}

func wantValues(t testing.TB, s *store.Store, want map[string]string) {
	t.Helper()
	if got := s.Load(); !maps.Equal(got, want) {
		t.Fatalf("values:\n got %.300v\nwant %.300v", got, want)
	}
}

func codes(f store.Found) string {
	out := ""
	for _, p := range f.Problems {
		out += " " + p.Code
	}
	return fmt.Sprint(f.Source, out)
}
