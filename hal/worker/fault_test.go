package worker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// left is what a process has that can be left behind.
type left struct{ goroutines, files, mappings, children int }

func now(t *testing.T) (l left) {
	t.Helper()
	l.goroutines = runtime.NumGoroutine()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + d.Name()); err == nil && !strings.Contains(to, "anon_inode") {
			l.files++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	l.mappings = bytes.Count(maps, []byte("anchord-"))
	all, _ := os.ReadDir("/proc")
	for _, d := range all {
		if stat, err := os.ReadFile("/proc/" + d.Name() + "/stat"); err == nil {
			f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
				l.children++
			}
		}
	}
	return l
}

// nothingLeft fails the test if at its end there is more than now.
func nothingLeft(t *testing.T) {
	t.Helper()
	before := now(t)
	t.Cleanup(func() {
		var after left
		until(t, "nothing is left", func() bool {
			after = now(t)
			return after.goroutines <= before.goroutines && after.files <= before.files &&
				after.mappings <= before.mappings && after.children <= before.children
		})
		if t.Failed() {
			t.Logf("before %+v, after %+v", before, after)
		}
	})
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("after 10 s not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Every fault ends with an error that says what it was, within its time, and with
// nothing left; the packets that are out stay what they were, and the next encoder works.
func TestFaults(t *testing.T) {
	nothingLeft(t)
	t.Run("at a picture", faults) // which go side by side: what is left is looked at afterwards
}

func faults(t *testing.T) {
	const at = 4
	for _, c := range []struct {
		fault string
		want  error
		text  string
	}{
		{"hang", hal.ErrStuck, "no answer for 300ms"},
		{"die", hal.ErrGone, "it ended with status 3"},
		{"crash", hal.ErrGone, "it was killed by a signal that we did not send (killed)"},
		{"panic", hal.ErrGone, "it ended with status 2"},
		{"garbage", errProtocol, "a message of 7 bytes, the header alone has 16"},
		{"half", errProtocol, "of 20 bytes that says it has 32"},
		{"huge", errProtocol, "a message of 100000 bytes"},
		{"long", errProtocol, "too few or too many bytes"},
		{"serial", errProtocol, "an answer to message"},
		{"type", errProtocol, "a message rate answer (0x106) instead of encode answer (0x105)"},
		{"reserved", errProtocol, "reserved word"},
		{"length", errProtocol, "values that cannot be"},
		{"future", errProtocol, "a packet of picture 5, which was not sent"},
		{"past", errProtocol, "a packet of picture 3, which was not sent, or long ago, or came already"},
		{"read-ahead", errProtocol, "values that cannot be"},
		{"keeps", errProtocol, "values that cannot be"},
		{"closes", hal.ErrGone, "it closed its socket"},
		{"orphan", hal.ErrGone, "it ended with status 0"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			m := workers(t, c.fault+" "+strconv.Itoa(at))
			m.c.Limits.Picture = 300 * time.Millisecond
			e, g, err := m.Open(t.Context(), small())
			if err != nil {
				t.Fatal(err)
			}
			pid := e.(*encoder).proc.pid
			pool := media.NewFrames(g.Input, 3)
			var out []*media.Packet
			var were [][]byte
			begun := time.Now()
			for n := 1; err == nil && n < 20; n++ {
				f := pool.Get()
				begun = time.Now()
				var p *media.Packet
				if p, err = e.Encode(f, false); p != nil {
					out = append(out, p)
					were = append(were, bytes.Clone(p.Data))
				}
				f.Release()
			}
			took := time.Since(begun)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || took > 3*time.Second {
				t.Errorf("after %v: %v, want %v with %q", took, err, c.want, c.text)
			}
			if _, again := e.Encode(pool.Get(), true); !errors.Is(again, c.want) {
				t.Errorf("then: %v", again)
			}
			if _, again := e.SetRate(5e5, media.FPS(30)); !errors.Is(again, c.want) {
				t.Errorf("then the rate: %v", again)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if pool.Out() != 1 {
				t.Errorf("%d frames are kept", pool.Out()-1)
			}
			if s := m.Status(); s.Started != 1 || s.Failed != 1 || !errors.Is(s.Last, c.want) || s.Left != 0 {
				t.Errorf("status %+v", s)
			}
			if len(out) < at-1 {
				t.Errorf("%d packets before the fault", len(out))
			}
			for i, p := range out {
				if !bytes.Equal(p.Data, were[i]) {
					t.Errorf("packet %d changed", i)
				}
				p.Release()
			}
			if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("process %d is there: %v", pid, err)
			}
		})
	}
}

func TestFaultsAtTheStart(t *testing.T) {
	nothingLeft(t)
	for _, c := range []struct {
		fault string
		want  error
		text  string
	}{
		{"exit", hal.ErrGone, "it ended with status 7"},
		{"silent", hal.ErrStuck, "no answer for 300ms"},
		{"version", hal.ErrUnsupported, "it speaks version 2 of the protocol, and here it is 1"},
		{"garbage", errProtocol, "a message"},
		{"nameless", errProtocol, "hello answer"},
		{"hello-twice", errProtocol, "an answer to message 1 when 2 was sent"},
		{"busy 0", hal.ErrBusy, "open the device"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			m := workers(t, c.fault)
			m.c.Limits.Start = 300 * time.Millisecond
			if c.fault == "busy 0" {
				m.c.Limits.Start = 3 * time.Second
			}
			_, _, err := m.Open(t.Context(), small())
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.want, c.text)
			}
			if in := m.Inputs(); c.fault != "busy 0" && c.fault != "hello-twice" && in != nil {
				t.Errorf("inputs %v", in)
			}
		})
	}
	t.Run("no program", func(t *testing.T) {
		for _, cmd := range [][]string{nil, {"/nonexistent"}, {"/dev/null"}} {
			if _, _, err := New(Config{Name: "none", Command: cmd}).Open(t.Context(), small()); err == nil || !strings.HasPrefix(err.Error(), "start worker none: ") {
				t.Errorf("%v: %v", cmd, err)
			}
		}
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, _, err := workers(t, "silent").Open(ctx, small()); !errors.Is(err, hal.ErrStopped) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, _, err := workers(t, "silent").Open(ctx, small()); !errors.Is(err, hal.ErrStopped) {
			t.Error(err)
		}
	})
}

// encodeAll codes n pictures and gives what came.
func encodeAll(t *testing.T, e hal.VideoEncoder, f media.Format, n int) (packets, keys int) {
	t.Helper()
	pool := media.NewFrames(f, 2)
	for i := range n {
		p := pool.Get()
		p.Marks[media.Captured] = media.Time(i+1) * 1e7
		k, err := e.Encode(p, false)
		p.Release()
		if err != nil {
			t.Fatalf("picture %d: %v", i+1, err)
		}
		if k != nil {
			packets++
			if k.Key {
				keys++
			}
			k.Release()
		}
	}
	if pool.Out() > 0 {
		t.Errorf("%d pictures are kept", pool.Out())
	}
	return packets, keys
}

// What is no fault, or one that is survived.
func TestOddities(t *testing.T) {
	nothingLeft(t)
	for _, c := range []struct {
		how           string
		packets, keys int
	}{
		{"slow 3", 8, 1},
		{"truncate 3", 8, 1},
		{"late 1", 5, 1},
		{"scribble 3", 2, 1}, // what is no picture is not handed on
		{"flood", 8, 1},
	} {
		t.Run(c.how, func(t *testing.T) {
			m := workers(t, c.how)
			e, g, err := m.Open(t.Context(), small())
			if err != nil {
				t.Fatal(err)
			}
			if n, keys := encodeAll(t, e, g.Input, 8); n != c.packets || keys != c.keys {
				t.Errorf("%d packets, %d keys", n, keys)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if s := m.Status(); s.Failed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("refuse", func(t *testing.T) { // its own word leaves it alive
		m := workers(t, "refuse 2")
		e, g, err := m.Open(t.Context(), small())
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		encodeAll(t, e, g.Input, 1)
		for range 3 {
			f := media.NewFrames(g.Input, 1).Get()
			if _, err := e.Encode(f, false); !errors.Is(err, hal.ErrGone) || !strings.HasSuffix(err.Error(), "no bits today: device is gone") {
				t.Error(err)
			}
			f.Release()
		}
		if got, err := e.SetRate(4e5, media.FPS(30)); err != nil || got != 4e5 {
			t.Error(got, err)
		}
		if s := m.Status(); s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("nothing comes out", func(t *testing.T) {
		m := workers(t, "nothing 3")
		m.c.Limits.First = 50 * time.Millisecond
		e, g, err := m.Open(t.Context(), small())
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		pool := media.NewFrames(g.Input, 1)
		for n := 0; err == nil; n++ {
			if n > 10000 {
				t.Fatal("nobody noticed")
			}
			f := pool.Get()
			var p *media.Packet
			if p, err = e.Encode(f, false); p != nil {
				p.Release()
			}
			f.Release()
			time.Sleep(time.Millisecond)
		}
		if !errors.Is(err, hal.ErrStuck) || !strings.Contains(err.Error(), "gave nothing") {
			t.Error(err)
		}
	})
	t.Run("stubborn", func(t *testing.T) {
		m := workers(t, "stubborn")
		m.c.Limits.Close = 100 * time.Millisecond
		e, _, err := m.Open(t.Context(), small())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); !errors.Is(err, hal.ErrStuck) || !strings.Contains(err.Error(), "it did not end within 100ms") {
			t.Error(err)
		}
	})
}

// Descriptors that come with an answer are closed, not kept.
func TestDescriptorsAreNotTaken(t *testing.T) {
	nothingLeft(t)
	e, g, err := workers(t, "descriptors 2").Open(t.Context(), small())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	encodeAll(t, e, g.Input, 1)
	before := now(t).files
	encodeAll(t, e, g.Input, 1)                  // its answer says that nothing came
	if after := now(t).files; after > before+1 { // the memory of the test's own pool
		t.Errorf("%d files before, %d after", before, after)
	}
}

// A worker that hangs in the kernel cannot be killed. It is one that is stopped, here, and
// whose kill is lost.
func TestWorkerThatCannotBeKilled(t *testing.T) {
	nothingLeft(t)
	m := workers(t, "hang 2")
	m.c.Limits.Picture, m.c.Limits.Close = 100*time.Millisecond, 100*time.Millisecond
	m.c.signal = func(pid int, s unix.Signal) error { return unix.Kill(pid, unix.SIGSTOP) }
	e, g, err := m.Open(t.Context(), small())
	if err != nil {
		t.Fatal(err)
	}
	pid := e.(*encoder).proc.pid
	defer unix.Kill(pid, unix.SIGKILL)
	pool := media.NewFrames(g.Input, 1)
	encodeAll(t, e, g.Input, 1)
	f := pool.Get()
	if _, err := e.Encode(f, false); !errors.Is(err, hal.ErrStuck) {
		t.Error(err)
	}
	f.Release()
	begun := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("closed after %v", d)
	}
	if pool.Out() != 0 {
		t.Error("the frame is kept")
	}
	if s := m.Status(); s.Left != 1 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
	for range 3 {
		begun := time.Now()
		_, _, err := m.Open(t.Context(), small())
		if !errors.Is(err, hal.ErrBusy) || !strings.Contains(err.Error(), "process "+strconv.Itoa(pid)+", was killed and hangs in the kernel") {
			t.Error(err)
		}
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("refused after %v", d)
		}
	}
	if s := m.Status(); s.Started != 1 {
		t.Errorf("%+v", s)
	}
	_ = unix.Kill(pid, unix.SIGKILL) // the kernel lets it go
	until(t, "it is gone", func() bool { return m.Status().Left == 0 })
	m.c.signal = unix.Kill
	if e, _, err = m.Open(t.Context(), small()); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
