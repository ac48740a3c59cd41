package pulse_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/hal/pulse"
	"anchord/hal/pulse/pulsetest"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start opens and starts a microphone that is closed with the test.
func start(t *testing.T, s *pulsetest.Server, name string, channels int) hal.Microphone {
	t.Helper()
	m, err := pulse.New(pulse.Config{Server: s.Address()}).Open(t.Context(), hal.Device{ID: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	want := hal.SoundFormat{Rate: 48000, Channels: channels}
	if got, err := m.Start(t.Context(), want); err != nil || got != want {
		t.Fatalf("granted %+v, %v", got, err)
	}
	return m
}

// read takes n blocks' samples and marks.
func read(t *testing.T, m hal.Microphone, n int) (pcm []int16, marks []media.Marks) {
	t.Helper()
	for i, stuck := 0, 0; i < n; i++ {
		s, err := m.Next()
		if errors.Is(err, hal.ErrStuck) && stuck < 5 { // a busy machine
			stuck++
			i--
			continue
		}
		if err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
		if s.Rate != 48000 || len(s.PCM) != 960*s.Channels {
			t.Fatalf("block %d: %d samples, %d Hz, %d channels", i, len(s.PCM), s.Rate, s.Channels)
		}
		pcm = append(pcm, s.PCM...)
		marks = append(marks, s.Marks)
		s.Release()
	}
	return pcm, marks
}

// failure takes blocks until there is an error.
func failure(t *testing.T, m hal.Microphone) error {
	t.Helper()
	for range 500 {
		s, err := m.Next()
		if err != nil {
			return err
		}
		s.Release()
	}
	t.Fatal("10 s of sound and no error")
	return nil
}

// power is the part of the signal's power that lies at f (Goertzel).
func power(pcm []int16, f float64) float64 {
	c := 2 * math.Cos(2*math.Pi*f/48000)
	var a, b, all float64
	for _, v := range pcm {
		x := float64(v)
		a, b = x+c*a-b, a
		all += x * x
	}
	return 2 * (a*a + b*b - c*a*b) / (all * float64(len(pcm)))
}

func TestListHasTheDefaultFirstAndNoMonitors(t *testing.T) {
	s := pulsetest.Start(t)
	m := pulse.New(pulse.Config{Server: s.Address()})
	for _, first := range []string{pulsetest.Mic, pulsetest.Silent} {
		s.Pactl("set-default-source", first)
		list, err := m.List(within(t, 5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 2 || list[0].ID != first || list[0].Node != first || list[0].Name == "" {
			t.Errorf("default %s: %+v", first, list)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s := pulsetest.Start(t)
	m := pulse.New(pulse.Config{Server: s.Address()})
	for name, want := range map[string]error{
		pulsetest.Monitor:         hal.ErrUnsupported,
		"nobody":                  hal.ErrGone,
		"":                        hal.ErrGone,
		"1":                       hal.ErrGone, // an index, for the server
		"@DEFAULT_SOURCE@":        hal.ErrGone,
		strings.Repeat("x", 5000): hal.ErrGone,
	} {
		mic, err := m.Open(within(t, 5*time.Second), hal.Device{ID: name})
		if !errors.Is(err, want) {
			t.Errorf("open %.20q: %v, want %v", name, err, want)
		}
		if err == nil {
			mic.Close()
		}
	}
}

func TestToneMonoAndStereo(t *testing.T) {
	t.Parallel()
	s := pulsetest.Start(t)
	for channels := 1; channels <= 2; channels++ {
		pcm, _ := read(t, start(t, s, pulsetest.Mic, channels), 50)
		var left []int16
		for i := 0; i < len(pcm); i += channels {
			if pcm[i] != pcm[i+channels-1] {
				t.Fatalf("sample %d differs between channels", i/channels)
			}
			left = append(left, pcm[i])
		}
		if p := power(left, pulsetest.Tone); p < 0.95 {
			t.Errorf("%d channels: %.2f of the power is at %d Hz", channels, p, pulsetest.Tone)
		}
		if p := power(left, 2*pulsetest.Tone); p > 0.05 {
			t.Errorf("%d channels: %.2f of the power is at %d Hz", channels, p, 2*pulsetest.Tone)
		}
	}
}

func TestFormatsAreGrantedAsTheyCan(t *testing.T) {
	s := pulsetest.Start(t)
	for _, c := range []struct{ ask, want hal.SoundFormat }{
		{hal.SoundFormat{}, hal.SoundFormat{Rate: 48000, Channels: 1}},
		{hal.SoundFormat{Rate: 44100, Channels: 8}, hal.SoundFormat{Rate: 48000, Channels: 2}},
		{hal.SoundFormat{Rate: -1, Channels: -1}, hal.SoundFormat{Rate: 48000, Channels: 1}},
	} {
		m, err := pulse.New(pulse.Config{Server: s.Address()}).Open(t.Context(), hal.Device{ID: pulsetest.Mic})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Start(t.Context(), c.ask); err != nil || got != c.want {
			t.Errorf("asked %+v, granted %+v, %v", c.ask, got, err)
		}
		if _, err := m.Start(t.Context(), c.ask); err == nil {
			t.Error("started twice")
		}
		m.Close()
	}
}

func TestSilenceIsMarked(t *testing.T) {
	s := pulsetest.Start(t)
	for name, want := range map[string]bool{pulsetest.Silent: true, pulsetest.Mic: false} {
		b, err := start(t, s, name, 2).Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Silent != want {
			t.Errorf("%s: Silent is %v", name, b.Silent)
		}
		b.Release()
	}
}

// attempts passes when one of a few tries does: what is measured by the clock on the wall
// fails on a machine that is busy with something else, server included.
func attempts(t *testing.T, try func(s *pulsetest.Server) error) {
	t.Helper()
	for i := range 5 {
		err := try(pulsetest.Start(t))
		if err == nil {
			return
		}
		t.Logf("attempt %d: %v", i+1, err)
	}
	t.Error("no attempt passed")
}

func TestTimeStampsAreRegularAndTrue(t *testing.T) {
	attempts(t, func(s *pulsetest.Server) error {
		m := start(t, s, pulsetest.Mic, 1)
		read(t, m, 50) // the first measurements may be bad
		_, marks := read(t, m, 200)
		worst := time.Duration(0)
		for i, m := range marks[1:] {
			d := m[media.Captured].Sub(marks[i][media.Captured])
			worst = max(worst, (d - 20*time.Millisecond).Abs())
			if m[media.Captured] >= m[media.Arrived] {
				return fmt.Errorf("block %d was captured %v after it arrived", i+1, m[media.Captured].Sub(m[media.Arrived]))
			}
		}
		// The youngest of many blocks: others waited in a busy machine.
		first, last := youngest(marks[:50]), youngest(marks[150:])
		t.Logf("worst interval %v off; on arrival sound is %v old, %v after 3 s", worst, first, last)
		switch {
		case worst > time.Millisecond:
			return fmt.Errorf("blocks are up to %v off 20 ms", worst)
		case (last - first).Abs() > 20*time.Millisecond:
			return fmt.Errorf("%v off after 3 s", last-first)
		case last > 100*time.Millisecond:
			return fmt.Errorf("sound is %v old", last)
		}
		return nil
	})
}

func youngest(marks []media.Marks) time.Duration {
	age := time.Hour
	for _, m := range marks {
		age = min(age, m[media.Arrived].Sub(m[media.Captured]))
	}
	return age
}

func TestUnplugEndsTheStreamAndNoOtherIsRecorded(t *testing.T) {
	t.Parallel()
	attempts(t, func(s *pulsetest.Server) error {
		m := start(t, s, pulsetest.Mic, 1)
		read(t, m, 20)
		s.Unplug()
		begun := time.Now()
		for {
			b, err := m.Next()
			if err != nil {
				if !errors.Is(err, hal.ErrGone) {
					t.Errorf("got %v", err)
				}
				break
			}
			if b.Silent {
				t.Fatal("another microphone is recorded")
			}
			b.Release()
		}
		noticed := time.Since(begun)
		if _, err := m.Next(); !errors.Is(err, hal.ErrGone) {
			t.Errorf("again: %v", err)
		}
		s.Plug()
		read(t, start(t, s, pulsetest.Mic, 1), 5)
		if noticed > 500*time.Millisecond {
			return fmt.Errorf("noticed after %v", noticed)
		}
		return nil
	})
}

func TestUnplugBetweenOpenAndStart(t *testing.T) {
	s := pulsetest.Start(t)
	m, err := pulse.New(pulse.Config{Server: s.Address()}).Open(t.Context(), hal.Device{ID: pulsetest.Mic})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s.Unplug()
	if _, err := m.Start(t.Context(), hal.SoundFormat{Rate: 48000, Channels: 1}); !errors.Is(err, hal.ErrGone) {
		t.Errorf("start: %v", err)
	}
	if _, err := m.Next(); err == nil {
		t.Error("sound without a microphone")
	}
}

func TestStreamCannotBeMoved(t *testing.T) {
	s := pulsetest.Start(t)
	m := start(t, s, pulsetest.Mic, 1)
	read(t, m, 5)
	list := s.Streams()
	if len(list) != 1 {
		t.Fatalf("streams %s", list)
	}
	if out, err := s.TryPactl("move-source-output", list[0], pulsetest.Silent); err == nil {
		t.Errorf("moved: %s", out)
	}
	pcm, _ := read(t, m, 50)
	if p := power(pcm, pulsetest.Tone); p < 0.95 {
		t.Errorf("another source is recorded: %.2f of the tone", p)
	}
}

func TestServerDies(t *testing.T) {
	t.Parallel()
	s := pulsetest.Start(t)
	m := start(t, s, pulsetest.Mic, 1)
	read(t, m, 10)
	s.Kill()
	begun := time.Now()
	if err := failure(t, m); !errors.Is(err, hal.ErrGone) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begun); d > 500*time.Millisecond {
		t.Errorf("noticed after %v", d)
	}
	f := pulse.New(pulse.Config{Server: s.Address()})
	if _, err := f.Open(t.Context(), hal.Device{ID: pulsetest.Mic}); !errors.Is(err, hal.ErrGone) || !strings.Contains(err.Error(), s.Socket) {
		t.Errorf("without a server: %v", err)
	}
	s.Start()
	read(t, start(t, s, pulsetest.Mic, 1), 5)
}

func TestServerHangs(t *testing.T) {
	t.Parallel()
	s := pulsetest.Start(t)
	m := start(t, s, pulsetest.Mic, 1)
	read(t, m, 10)
	s.Hang(true)
	defer s.Hang(false)
	if err := failure(t, m); !errors.Is(err, hal.ErrStuck) {
		t.Errorf("got %v", err)
	}
	begun := time.Now()
	_, err := pulse.New(pulse.Config{Server: s.Address()}).List(t.Context())
	if !errors.Is(err, hal.ErrNoServer) || !strings.Contains(err.Error(), "does not answer") || time.Since(begun) > 3*time.Second {
		t.Errorf("list: %v after %v", err, time.Since(begun))
	}
	begun = time.Now()
	m.Close()
	if d := time.Since(begun); d > 200*time.Millisecond {
		t.Errorf("close took %v", d)
	}
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	s := pulsetest.Start(t)
	m := start(t, s, pulsetest.Mic, 1)
	_, before := read(t, m, 10)
	s.Suspend(pulsetest.Mic, true)
	var begun time.Time
	for {
		begun = time.Now()
		b, err := m.Next()
		if err == nil {
			b.Release()
			continue
		}
		if !errors.Is(err, hal.ErrStuck) || !strings.Contains(err.Error(), "suspended") {
			t.Errorf("got %v", err)
		}
		break
	}
	if d := time.Since(begun); d < 450*time.Millisecond || d > time.Second {
		t.Errorf("stuck after %v", d)
	}
	s.Suspend(pulsetest.Mic, false)
	_, after := read(t, m, 50)
	gap := after[0][media.Captured].Sub(before[len(before)-1][media.Captured])
	if gap < 500*time.Millisecond {
		t.Errorf("the pause is %v in time stamps", gap)
	}
	if age := after[0][media.Arrived].Sub(after[0][media.Captured]); age < 0 || age > 500*time.Millisecond {
		t.Errorf("sound is %v old after the pause", age)
	}
}

func TestContextEndsTheStream(t *testing.T) {
	s := pulsetest.Start(t)
	m, err := pulse.New(pulse.Config{Server: s.Address()}).Open(t.Context(), hal.Device{ID: pulsetest.Mic})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := m.Start(ctx, hal.SoundFormat{Rate: 48000, Channels: 1}); err != nil {
		t.Fatal(err)
	}
	read(t, m, 5)
	cancel()
	if err := failure(t, m); !errors.Is(err, hal.ErrStopped) {
		t.Errorf("got %v", err)
	}
	// The microphone is free at once, before Close.
	deadline := time.Now().Add(2 * time.Second)
	for len(s.Streams()) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("still recording")
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Next(); !errors.Is(err, hal.ErrStopped) {
		t.Errorf("after close: %v", err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	s := pulsetest.Start(t)
	s.Hang(true)
	defer s.Hang(false)
	begun := time.Now()
	_, err := pulse.New(pulse.Config{Server: s.Address()}).Open(within(t, 100*time.Millisecond), hal.Device{ID: pulsetest.Mic})
	if !errors.Is(err, hal.ErrStopped) || time.Since(begun) > 500*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestNothingIsLeft(t *testing.T) {
	s := pulsetest.Start(t)
	f := pulse.New(pulse.Config{Server: s.Address()})
	round := func(i int) {
		m, err := f.Open(t.Context(), hal.Device{ID: pulsetest.Mic})
		if err != nil {
			t.Fatal(err)
		}
		if i%5 != 0 {
			if _, err := m.Start(t.Context(), hal.SoundFormat{Rate: 48000, Channels: 1 + i%2}); err != nil {
				t.Fatal(err)
			}
			if i%3 != 0 {
				read(t, m, i%4)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	round(1)
	files, gos := openFiles(t), runtime.NumGoroutine()
	for i := range 50 {
		round(i)
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d open files, %d before", n, files)
	}
	deadline := time.Now().Add(time.Second)
	for runtime.NumGoroutine() > gos {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), gos)
		}
		runtime.Gosched()
	}
	if list := s.Streams(); len(list) != 0 {
		t.Errorf("the server still has streams %s", list)
	}
}

func TestSlowReaderFindsTheNewest(t *testing.T) {
	t.Parallel()
	attempts(t, func(s *pulsetest.Server) error {
		m := start(t, s, pulsetest.Mic, 1)
		_, before := read(t, m, 2)
		for media.Now().Sub(before[1][media.Captured]) < 1500*time.Millisecond {
			time.Sleep(10 * time.Millisecond) // the reader does something else
		}
		_, after := read(t, m, 1)
		if age := media.Now().Sub(after[0][media.Captured]); age > 800*time.Millisecond {
			return fmt.Errorf("the next block is %v old", age)
		}
		return nil
	})
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	s := pulsetest.Start(t)
	m := start(t, s, pulsetest.Mic, 2)
	read(t, m, 60) // all blocks of the pool are made, the clock's measurements are rare
	var a, b runtime.MemStats
	const n = 100
	var per []float64
	for range 2 {
		runtime.ReadMemStats(&a)
		for range n {
			if s, err := m.Next(); err == nil {
				s.Release()
			} else if !errors.Is(err, hal.ErrStuck) {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&b)
		per = append(per, float64(b.Mallocs-a.Mallocs)/n)
	}
	t.Logf("%.2f allocations a block, measurements included", per)
	if slices.Min(per) > 1 {
		t.Errorf("%.2f allocations a block", per)
	}
}
