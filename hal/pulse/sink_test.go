package pulse

import (
	"testing"
	"time"

	"anchord/internal/media"
)

// A source that runs and takes its time (a headset that is still connecting) is measured
// before there is any sound. That says nothing of the sound.
func TestMeasuredBeforeThereIsSound(t *testing.T) {
	var s sink
	s.init()
	s.prepare(1)
	defer s.clear()
	const start = media.Time(1e15)
	s.answered = start.Add(time.Millisecond)
	if !s.measured(start, 20*time.Millisecond) {
		t.Error("it is not measured again soon")
	}
	block := make([]byte, blockSamples*2)
	now := start.Add(700 * time.Millisecond)
	s.sound(block, now)
	s.answered, s.atAnswer = now.Add(time.Millisecond), s.bytes
	s.measured(now, 30*time.Millisecond)
	select {
	case b := <-s.blocks:
		if d := b.Marks[media.Captured].Sub(now); d < -60*time.Millisecond || d > 0 {
			t.Errorf("captured %v from its arrival", d)
		}
		b.Release()
	default:
		t.Fatal("the block is kept")
	}
}
