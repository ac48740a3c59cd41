package rtc

import (
	"testing"
	"time"

	"anchord/internal/media"
)

func TestTimelinePicture(t *testing.T) {
	start := media.Time(1<<62 + 12345) // the product with 90000 would overflow
	l := timeline{rate: 90000, offset: 0xfffffff0}
	first := l.picture(start)
	tests := []struct {
		name  string
		after time.Duration
		want  uint32
	}{
		{"33.333 ms", 33_333_333, 2999},
		{"one second", time.Second, 90000},
		{"again the same", time.Second, 90001},
		{"backwards", 500 * time.Millisecond, 90002},
		{"a day", 24 * time.Hour, 86400 * 90000 % (1 << 32)},
	}
	for _, tt := range tests {
		got := l.picture(start.Add(tt.after)) - first
		if d := int32(got - tt.want); d < -1 || d > 1 {
			t.Errorf("%s: %d ticks, want %d", tt.name, got, tt.want)
		}
	}
}

func TestTimelineSound(t *testing.T) {
	const block = 20 * time.Millisecond
	l := timeline{rate: 48000, offset: 77}
	now := media.Time(1e9)
	last, gap := l.sound(now, 960)
	if !gap {
		t.Error("the first block does not begin a talk spurt")
	}
	step := func(name string, after time.Duration, want uint32, wantGap bool) {
		t.Helper()
		now = now.Add(after)
		ts, gap := l.sound(now, 960)
		if ts-last != want || gap != wantGap {
			t.Fatalf("%s: %d ticks, gap %v; want %d, %v", name, ts-last, gap, want, wantGap)
		}
		last = ts
	}
	for i := range 500 { // 4 ms of jitter must not be heard
		step("jitter", block+time.Duration(i%3-1)*4*time.Millisecond, 960, false)
	}
	step("one block is missing", 2*block, 1920, true)
	step("silence was not sent", 400*time.Millisecond+time.Millisecond, 20*960, true)
	for range 50 * 600 { // a card 100 ppm slow, for ten minutes
		step("drift", block+2*time.Microsecond, 960, false)
	}
	if d := int32(l.at(now) - last); d < -48 || d > 48 { // a millisecond
		t.Errorf("after drifting by 60 ms the reports are wrong by %d ticks", d)
	}
	step("the clock steps back", -time.Second, 960, false)
	if d := int32(l.at(now) - last); d < -1 || d > 1 {
		t.Errorf("after a step of the clock the reports are wrong by %d ticks", d)
	}
}
