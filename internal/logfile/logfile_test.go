package logfile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a folder with a log in it.
type box struct {
	t    *testing.T
	path string
	said bytes.Buffer
	f    *File
}

func newBox(t *testing.T, most int64) *box {
	b := &box{t: t, path: filepath.Join(t.TempDir(), "log", "anchord.log")}
	b.start(most)
	return b
}

func (b *box) start(most int64) {
	b.f = New(Config{Path: b.path, Max: most, Log: slog.New(slog.NewTextHandler(&b.said, nil))})
	b.t.Cleanup(func() { b.f.Close() })
}

func (b *box) write(lines ...string) {
	b.t.Helper()
	if n, err := b.f.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil || n != len(strings.Join(lines, "\n"))+1 {
		b.t.Fatalf("%d, %v", n, err)
	}
}

// files gives the names in the log's folder and what they take.
func (b *box) files() (names []string, sum int64) {
	b.t.Helper()
	es, err := os.ReadDir(filepath.Dir(b.path))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range es {
		fi, err := e.Info()
		if err != nil {
			b.t.Fatal(err)
		}
		names, sum = append(names, e.Name()), sum+fi.Size()
	}
	return names, sum
}

// lines reads all files, oldest first.
func (b *box) lines() []string {
	b.t.Helper()
	var all []byte
	names, _ := b.files()
	slices.Sort(names[:len(names)-1])
	for _, n := range names {
		if n != "anchord.log" {
			all = append(all, b.read(n)...)
		}
	}
	all = append(all, b.read("anchord.log")...)
	return strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
}

func (b *box) read(name string) []byte {
	b.t.Helper()
	f, err := os.Open(filepath.Join(filepath.Dir(b.path), name))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			b.t.Fatal(name, err)
		}
	}
	all, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(name, err)
	}
	return all
}

// noise gives line n, which gzip cannot make shorter.
func noise(n int) string {
	r := make([]byte, 200)
	for i := range r {
		r[i] = byte('0' + rand.IntN(75))
	}
	return fmt.Sprintf("line %06d %s", n, r)
}

// follow checks that lines are numbered without a gap up to last, and gives the first.
func follow(t *testing.T, lines []string, last int) int {
	t.Helper()
	first := -1
	for i, l := range lines {
		n := -1
		fmt.Sscanf(l, "line %d", &n)
		if first < 0 {
			first = n
		}
		if n != first+i {
			t.Fatalf("after %d lines from %d on there is %.40q", i, first, l)
		}
	}
	if first+len(lines)-1 != last {
		t.Fatalf("the last line is %d, not %d", first+len(lines)-1, last)
	}
	return first
}

// TestCap writes many times what may be kept, of text that shrinks and of text that does
// not: never is there more, and what is there is the newest, whole.
func TestCap(t *testing.T) {
	for name, line := range map[string]func(int) string{
		"noise": noise,
		"text":  func(n int) string { return fmt.Sprintf("line %06d the camera is gone, and comes back", n) },
	} {
		const most = 64 << 10
		b := newBox(t, most)
		n, written := 0, 0
		for ; written < 6*most; n++ {
			l := line(n)
			b.write(l)
			written += len(l) + 1
			if _, sum := b.files(); sum > most {
				t.Fatalf("%s: after %d bytes there are %d", name, written, sum)
			}
		}
		first := follow(t, b.lines(), n-1)
		kept := written * (n - first) / n
		t.Logf("%s: %d bytes written, the newest %d can be read", name, written, kept)
		if least := map[string]int{"noise": most / 2, "text": 2 * most}[name]; kept < least {
			t.Errorf("%s: only %d bytes are kept", name, kept)
		}
		names, _ := b.files()
		for _, n := range names {
			if strings.Contains(n, "_R_") || strings.HasSuffix(n, ".tmp") {
				t.Errorf("%s: %s was left", name, n)
			}
			if fi, err := os.Stat(filepath.Join(filepath.Dir(b.path), n)); err != nil || fi.Mode() != mode {
				t.Errorf("%s: %s: %v %v", name, n, fi.Mode(), err)
			}
		}
		// A lower cap holds from the first line on.
		b.f.Close()
		b.start(most / 4)
		b.write(line(n))
		if _, sum := b.files(); sum > most/4 {
			t.Errorf("%s: %d bytes under a lower cap", name, sum)
		}
	}
}

func TestABatchIsWrittenInParts(t *testing.T) {
	b := newBox(t, 400<<10)
	var all []string
	for n := range 4000 {
		all = append(all, noise(n))
	}
	all = append(all[:3000], append([]string{"line 003000 " + strings.Repeat("x", 2*chunk)}, all[3001:]...)...)
	b.write(all...)
	follow(t, b.lines(), 3999)
}

// TestPowerCuts starts on what a cut leaves.
func TestPowerCuts(t *testing.T) {
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.String()
	}
	const name = "anchord.log"
	for _, c := range []struct {
		what  string
		files map[string]string
		want  []string
	}{
		{"half a line", map[string]string{name: "line 1\nline 2 ha"}, []string{"line 1", "line 2 ha", "new"}},
		{"zeros", map[string]string{name: "line 1\n" + strings.Repeat("\x00", 100<<10)}, []string{"line 1", "new"}},
		{"half a line and zeros", map[string]string{name: "line 1\nline" + strings.Repeat("\x00", chunk)}, []string{"line 1", "line", "new"}},
		{"only zeros", map[string]string{name: "\x00\x00"}, []string{"new"}},
		{"moved, and no new file", map[string]string{"anchord_R_000003.log": "line 1\n"}, []string{"line 1", "new"}},
		{"half compressed", map[string]string{"anchord_R_000003.log": "line 1\n", ".anchord_C_3.tmp": zip("line 1\n")[:9], name: ""}, []string{"line 1", "new"}},
		{"compressed, not removed", map[string]string{"anchord_R_000003.log": "line 1\n", "anchord_C_000003.log.gz": zip("line 1\n"), name: "line 2\n"}, []string{"line 1", "line 2", "new"}},
		{"two that wait", map[string]string{"anchord_R_000009.log": "line 1\n", "anchord_R_000010.log": "line 2\n", name: "line 3\n"}, []string{"line 1", "line 2", "line 3", "new"}},
	} {
		b := newBox(t, 64<<10)
		if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
			t.Fatal(err)
		}
		for n, s := range c.files {
			if err := os.WriteFile(filepath.Join(filepath.Dir(b.path), n), []byte(s), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		b.write("new")
		if got := b.lines(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.what, got)
		}
		for names, _ := b.files(); len(names) > 0; names = names[1:] {
			if strings.HasSuffix(names[0], ".tmp") || strings.Contains(names[0], "_R_") {
				t.Errorf("%s: %s is left", c.what, names[0])
			}
		}
	}
}

// TestMovedAndDeleted is what others do with the file.
func TestMovedAndDeleted(t *testing.T) {
	for what, do := range map[string]func(dir, path string) error{
		"moved":   func(_, path string) error { return os.Rename(path, path+".1") },
		"deleted": func(_, path string) error { return os.Remove(path) },
		"replaced": func(_, path string) error {
			return os.Rename(path+".other", path)
		},
		"folder deleted":  func(dir, _ string) error { return os.RemoveAll(dir) },
		"folder replaced": func(dir, _ string) error { return errorsOf(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBox(t, 64<<10)
			b.write("before")
			if err := os.WriteFile(b.path+".other", nil, 0o640); err != nil {
				t.Fatal(err)
			}
			if err := do(filepath.Dir(b.path), b.path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lookEvery)
			b.write("after")
			if got := string(b.read("anchord.log")); got != "after\n" {
				t.Errorf("%s: %q", what, got)
			}
			if b.said.Len() > 0 || b.f.State().Err != nil {
				t.Errorf("%s: %s %v", what, b.said.String(), b.f.State())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, 64<<10)
		for n := range 100 {
			b.write(noise(n))
			if n == 50 {
				time.Sleep(lookEvery)
				if err := os.Truncate(b.path, 0); err != nil { // logrotate's copytruncate
					t.Fatal(err)
				}
			}
		}
		if got := b.lines(); got[len(got)-1][:11] != "line 000099" {
			t.Errorf("%.40q", got[len(got)-1])
		}
	})
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestFullDisk fills the disk: older files go first, then lines are dropped and counted,
// it is said once, and all goes on when there is room.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, 64<<10)
		n := 0
		for ; n < 1000; n++ {
			b.write(noise(n))
		}
		names, _ := b.files()
		older := len(names) - 1
		cutShort := 0
		b.f.put = func(f *os.File, p []byte) (int, error) {
			m, err := f.Write(p[:min(len(p), 10)]) // the last block had some room
			cutShort += m
			return m, errorsOf(err, syscall.ENOSPC)
		}
		if older < 3 {
			t.Fatal(names)
		}
		for range 100 {
			if _, err := b.f.Write([]byte("lost\nlost\n")); err == nil || !strings.Contains(err.Error(), "no space left on device: make room on its disk, or lower log.max_mb") {
				t.Fatal(err)
			}
			time.Sleep(lookEvery / 2)
		}
		if names, _ = b.files(); len(names) != 1 {
			t.Errorf("older files were kept: %v", names)
		}
		if s := b.said.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "level=ERROR msg=\"the log's file cannot be written: lines are dropped until it can\"") {
			t.Error(s)
		}
		st := b.f.State()
		if st.Err == nil || st.Since.IsZero() || st.Lost < 100 || st.Lost > 200 || st.Path != b.path {
			t.Errorf("%+v", st)
		}
		b.f.put = (*os.File).Write
		b.said.Reset()
		b.write("back")
		if s := b.said.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "is written again") || !strings.Contains(s, fmt.Sprintf("lost=%d", st.Lost)) {
			t.Error(s)
		}
		if got := b.lines(); got[len(got)-1] != "back" || got[len(got)-2] == "" {
			t.Errorf("%q", got[len(got)-2:])
		}
		if st := b.f.State(); st.Err != nil || !st.Since.IsZero() {
			t.Errorf("%+v", st)
		}
	})
}

// TestReserve keeps its hands off the last of the disk.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, 64<<10)
		for n := range 1000 {
			b.write(noise(n))
		}
		const all = 100 << 20
		free := uint64(all/20 + 1)
		b.f.statfs = func(*os.File) (uint64, uint64, error) { return free, all, nil }
		time.Sleep(lookEvery)
		b.write("still")
		names, _ := b.files()
		free--
		b.f.statfs = func(*os.File) (uint64, uint64, error) { // one older file fewer is enough
			now, _ := b.files()
			return free + uint64(len(names)-len(now)), all, nil
		}
		time.Sleep(lookEvery)
		b.write("one file fewer")
		if now, _ := b.files(); len(now) != len(names)-1 {
			t.Errorf("%v became %v", names, now)
		}
		b.f.statfs = func(*os.File) (uint64, uint64, error) { return free, all, nil }
		time.Sleep(lookEvery)
		if _, err := b.f.Write([]byte("lost\n")); err == nil || !strings.Contains(err.Error(), "the disk is nearly full: make room") {
			t.Error(err)
		}
		time.Sleep(lookEvery)
		free += 100
		if _, err := b.f.Write([]byte("lost\n")); err == nil {
			t.Error("it comes back for a moment")
		}
		free += all / 80
		time.Sleep(lookEvery)
		b.write("back")
		if got := b.lines(); got[len(got)-1] != "back" {
			t.Errorf("%q", got)
		}
		if st := b.f.State(); st.Lost != 2 || st.Err != nil {
			t.Errorf("%+v", st)
		}
	})
}

// TestWrongPlaces is told what is there in the file's place.
func TestWrongPlaces(t *testing.T) {
	dir := t.TempDir()
	if err := errorsOf(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Symlink("/etc/passwd", filepath.Join(dir, "link")),
		os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "fifo"):          "it is not an ordinary file: move it away, or name another in log.file",
		filepath.Join(dir, "link"):          "it is not an ordinary file",
		dir:                                 "it is not an ordinary file",
		"/dev/null":                         "it is not an ordinary file",
		filepath.Join(dir, "file", "x.log"): "not a directory",
	} {
		f := New(Config{Path: path, Max: 1 << 20})
		if _, err := f.Write([]byte("x\n")); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if st := f.State(); st.Lost != 1 || st.Err == nil {
			t.Errorf("%s: %+v", path, st)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenedIsCalledForEachFile(t *testing.T) {
	b := newBox(t, 64<<10)
	opened := 0
	b.f.cfg.Opened = func(f *os.File) {
		if f.Name() != b.path {
			t.Error(f.Name())
		}
		opened++
	}
	for n := range 100 {
		b.write(noise(n))
	}
	if names, _ := b.files(); opened != len(names) {
		t.Errorf("%d of %v", opened, names)
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"anchord_C_000001.log.gz", "anchord_R_000001.log", "anchord_C_1.log.gz", "anchord_C_9999999999.log.gz", "anchord_R_.log", "anchord_C_-00001.log.gz"} {
		f.Add(s)
	}
	l := New(Config{Path: "/x/anchord.log"})
	f.Fuzz(func(t *testing.T, s string) {
		if n, raw, ok := l.number(s); ok && (l.name(n, raw) != s || n < 1 || n > mostNumber) {
			t.Fatal(s, n, raw)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	f := New(Config{Path: filepath.Join(b.TempDir(), "x.log"), Max: 10 << 20})
	defer f.Close()
	line := []byte(`time=2026-01-02T03:04:05.678Z level=INFO msg="the room refused" part=room err="the room refused (401): go away" tries=3` + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}
