package device

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

// sensing is a GSensor that runs, with what it told.
type sensing struct {
	*GSensor
	a      *fake.Accelerometers
	health *Health
	turns  []media.Rotation
	ends   int
	last   error
	stop   func()
}

// sense runs a GSensor as its supervisor does, each try a second after the last.
func sense(set GSensorSettings, script ...fake.Tilt) *sensing {
	events := NewEvents()
	s := &sensing{a: fake.NewAccelerometers(script...), health: NewHealth(events, nil)}
	s.GSensor = NewGSensor(GSensorConfig{Log: slog.New(slog.DiscardHandler), Sensors: s.a, Events: events, Health: s.health,
		Turned: func() { s.turns = append(s.turns, s.Adds()) }}, set)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := s.Run(ctx); ctx.Err() == nil {
				s.ends, s.last = s.ends+1, err
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	s.stop = func() { cancel(); <-done }
	return s
}

// after lets time pass.
func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (s *sensing) stands() string {
	var all []string
	for _, c := range s.health.Standing() {
		all = append(all, c.Slug)
	}
	return strings.Join(all, " ")
}

func at(degrees float64) fake.Tilt { return fake.Tilt{From: degrees, To: degrees, Noise: .02} }

// TestDisableTouchesNothing: not one request to the sensor, whatever it does and however long.
func TestDisableTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorDisable}, at(180))
		defer s.stop()
		s.a.Set(fake.Busy)
		after(time.Hour)
		if open, n := s.a.Counts(); open != 0 || n != 0 || s.Adds() != 0 || s.ends != 0 || s.stands() != "" {
			t.Errorf("%d open, %d requests, adds %v, ended %d times, %q", open, n, s.Adds(), s.ends, s.stands())
		}
		if err := s.Watch(t.Context(), nil); !errors.Is(err, ErrGSensorOff) {
			t.Errorf("watch: %v", err)
		}
		if _, err := s.Calibrate(t.Context(), SideTop); !errors.Is(err, ErrGSensorOff) {
			t.Errorf("calibrate: %v", err)
		}
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto}, at(0))
		defer s.stop()
		play := func(mode string, want ...media.Rotation) {
			t.Helper()
			s.Set(GSensorSettings{Mode: mode})
			s.turns = nil
			for _, d := range []float64{0, 90, 180, 90, 0, 270, 180, 270, 0} {
				s.a.Play(at(d))
				after(3 * time.Second)
			}
			if !slices.Equal(s.turns, want) {
				t.Errorf("%s: %v, want %v", mode, s.turns, want)
			}
		}
		// Degrees that the fake is turned clockwise seen from behind: up is to the left.
		play(GSensorAuto, 90, 180, 90, 0, 270, 180, 270, 0)
		play(GSensorFixed180, 180, 0, 180, 0)
		s.a.Play(at(90))
		after(3 * time.Second)
		if s.Adds() != 0 {
			t.Errorf("on its side: %v", s.Adds())
		}
		s.Set(GSensorSettings{Mode: GSensorAuto})
		after(time.Second)
		if s.Adds() != 90 {
			t.Errorf("on its side, auto: %v", s.Adds())
		}
		s.Set(GSensorSettings{Mode: GSensorFixed180})
		if s.Adds() != 0 {
			t.Errorf("on its side, fixed180: %v", s.Adds())
		}
		s.Set(GSensorSettings{Mode: GSensorAuto})
		after(time.Second)
		s.Set(GSensorSettings{Mode: GSensorDisable})
		if s.Adds() != 0 {
			t.Errorf("off: still %v", s.Adds())
		}
		after(time.Second)
		_, before := s.a.Counts()
		after(time.Minute)
		if open, n := s.a.Counts(); open != 0 || n != before {
			t.Errorf("off: %d open, %d requests more", open, n-before)
		}
	})
}

// TestSensorFaults: whatever the sensor does, the last turn stays, the fault is said, and is over
// when it measures again.
func TestSensorFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto, Place: hal.SensorPlace{Device: "auto"}}, at(180))
		defer s.stop()
		after(2 * time.Second)
		for _, c := range []struct {
			name         string
			begin, end   func()
			within, over time.Duration
			want         string
		}{
			{"requests that fail", func() { s.a.Fail(1e6) }, func() { s.a.Fail(0) }, 600 * time.Millisecond, 3 * time.Second, GSensorFailed},
			{"off its bus", func() { s.a.Unplug(true) }, func() { s.a.Unplug(false) }, 600 * time.Millisecond, 3 * time.Second, GSensorNone},
			{"taken by another", func() { s.a.Set(fake.Busy) }, func() { s.a.Set(fake.Healthy) }, 600 * time.Millisecond, 3 * time.Second, GSensorBusy},
			{"not allowed", func() { s.a.Set(fake.Denied) }, func() { s.a.Set(fake.Healthy) }, 600 * time.Millisecond, 3 * time.Second, GSensorDenied},
			{"stuck", func() { s.a.Set(fake.Frozen) }, func() { s.a.Set(fake.Healthy) }, 10500 * time.Millisecond, 3 * time.Second, GSensorStuck},
		} {
			s.turns, s.ends = nil, 0
			c.begin()
			after(c.within)
			if s.stands() != c.want || s.Adds() != 180 || s.Status().Fault == nil {
				t.Errorf("%s: %q, adds %v, %v", c.name, s.stands(), s.Adds(), s.last)
			}
			s.a.Play(at(90)) // which it cannot see
			after(time.Minute)
			if s.stands() != c.want || s.Adds() != 180 || s.ends == 0 {
				t.Errorf("%s, a minute later: %q, adds %v, ended %d times", c.name, s.stands(), s.Adds(), s.ends)
			}
			s.a.Play(at(180))
			c.end()
			after(c.over)
			if s.stands() != "" || len(s.turns) != 0 || s.Adds() != 180 || s.Status().Fault != nil {
				t.Errorf("after %s: %q, %v", c.name, s.stands(), s.turns)
			}
		}
		// Four in a row are no fault.
		s.ends = 0
		for range 20 {
			s.a.Fail(4)
			after(2 * time.Second)
		}
		if s.ends != 0 || s.stands() != "" || s.Status().Failures < 80 {
			t.Errorf("four in a row: ended %d times, %q, %d", s.ends, s.stands(), s.Status().Failures)
		}
		// A fault of what is not wanted any more is none.
		s.a.Unplug(true)
		after(time.Second)
		s.Set(GSensorSettings{Mode: GSensorDisable})
		after(2 * time.Second)
		if s.stands() != "" || s.Adds() != 0 {
			t.Errorf("off: %q, adds %v", s.stands(), s.Adds())
		}
	})
}

// TestMatrix: with another matrix it is found out anew which side is up.
func TestMatrix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto}, at(0))
		defer s.stop()
		after(time.Second)
		m, _ := media.ParseMatrix("-1 0 0 0 -1 0 0 0 1")
		s.Set(GSensorSettings{Mode: GSensorAuto, Matrix: m})
		after(time.Second)
		if s.Adds() != 180 {
			t.Errorf("adds %v", s.Adds())
		}
	})
}

// TestCalibrate: wherever the chip is soldered, two sides tell all, also a chip that measures
// down as up.
func TestCalibrate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ups := map[string]media.Vector{SideTop: {Y: 1}, SideLeft: {X: -1}, SideLens: {Z: -1}}
	for i := range 300 {
		axis := media.Vector{X: r.NormFloat64(), Y: r.NormFloat64(), Z: r.NormFloat64()}
		solder := about(axis.Times(1/axis.Length()), r.Float64()*2*math.Pi)
		if i < 3 {
			solder = []media.Matrix{media.Identity(), {-1, 0, 0, 0, -1, 0, 0, 0, 1}, {0, 0, 1, 1, 0, 0, 0, 1, 0}}[i]
		}
		seen := func(up media.Vector) media.Vector { return solder.Apply(up.Times(media.Gravity)) }
		sign := []float64{1, -1}[i%2]
		for _, sides := range [][]string{{SideTop, SideLeft}, {SideTop, SideLens}, {SideLens, SideTop}} {
			if sign < 0 && slices.Contains(sides, SideLens) {
				continue // top and lens leave left and right open then
			}
			m := media.Identity()
			for _, side := range sides {
				m = calibrated(m, seen(ups[side]).Times(sign), side)
			}
			if _, err := media.ParseMatrix(m.String()); err != nil {
				t.Fatalf("%v: %v", m, err)
			}
			for want := 0.; want < 360; want += 15 {
				if got, _ := angles(m.Apply(seen(leans(want)).Times(sign / media.Gravity))); math.Abs(math.Remainder(got-want, 360)) > .1 {
					t.Fatalf("soldered %v, %v: at %v it says %v", solder, sides, want, got)
				}
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto}, at(90))
		defer s.stop()
		after(time.Second)
		m, err := s.Calibrate(t.Context(), SideTop)
		if err != nil {
			t.Fatal(err)
		}
		s.Set(GSensorSettings{Mode: GSensorAuto, Matrix: m})
		after(time.Second)
		if s.Adds() != 0 {
			t.Errorf("after it adds %v", s.Adds())
		}
		s.a.Play(fake.Tilt{For: time.Second, From: 0, To: 90}, fake.Tilt{For: time.Second, From: 90, To: 0})
		if _, err := s.Calibrate(t.Context(), SideTop); !errors.Is(err, ErrNotStill) {
			t.Errorf("while it moves: %v", err)
		}
		s.a.Play(fake.Tilt{G: .5, Noise: .01})
		if _, err := s.Calibrate(t.Context(), SideTop); err == nil || !strings.Contains(err.Error(), "not gravity's") {
			t.Errorf("half a g: %v", err)
		}
		s.a.Unplug(true)
		after(time.Second)
		if _, err := s.Calibrate(t.Context(), SideTop); !errors.Is(err, hal.ErrGone) {
			t.Errorf("off its bus: %v", err)
		}
	})
}

// TestSensorEventsFit: what it tells is what the table of events says.
func TestSensorEventsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto}, at(180))
		after(time.Second)
		s.a.Unplug(true)
		after(5 * time.Second)
		s.stop()
		events := s.c.Events.Newest(100)
		seen := ""
		for _, e := range events {
			if err := CheckEvent(e); err != nil {
				t.Error(err)
			}
			seen += e.Name + " "
		}
		if seen != "gsensor health " {
			t.Errorf("it told %s", seen)
		}
	})
}

// replay plays what gsensor record wrote, and gives the turns that are found in it.
func replay(r io.Reader) (turns []media.Rotation, err error) {
	var o Orientation
	begun := time.Unix(1e9, 0)
	for s := bufio.NewScanner(r); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") || s.Text() == RecordHead {
			continue
		}
		var at float64
		var v media.Vector
		if _, err := fmt.Sscanf(s.Text(), "%g,%g,%g,%g", &at, &v.X, &v.Y, &v.Z); err != nil {
			return nil, fmt.Errorf("%q: %w", s.Text(), err)
		}
		if o.Measure(begun.Add(time.Duration(at*float64(time.Second))), v, fine) {
			turns = append(turns, o.State().Turn)
		}
	}
	return turns, nil
}

// TestRecord: what is recorded can be played, and finds the same.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sense(GSensorSettings{Mode: GSensorAuto}, fake.Tilt{For: 2 * time.Second, Noise: .05}, fake.Tilt{For: 9 * time.Second, To: 360, Noise: .05}, at(0))
		defer s.stop()
		var out bytes.Buffer
		if err := s.Record(t.Context(), 15*time.Second, &out); err != nil {
			t.Fatal(err)
		}
		turns, err := replay(&out)
		if err != nil || !slices.Equal(turns, []media.Rotation{0, 90, 180, 270, 0}) || !slices.Equal(s.turns, turns[1:]) {
			t.Errorf("%v, %v, and live %v", turns, err, s.turns)
		}
		s.a.Unplug(true)
		after(time.Second)
		if err := s.Record(t.Context(), time.Second, io.Discard); !errors.Is(err, hal.ErrGone) {
			t.Errorf("off its bus: %v", err)
		}
	})
}
