package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"anchord/test/browser"
)

// What `make run` shows in Chromium: the picture at its rate, frames that only go
// forward, the right colours, the right tone, and sound that fits the picture.
//
// Chromium's own buffers settle differently from run to run, and a busy machine spoils
// any of them, so the best of three counts.
func TestChromium(t *testing.T) {
	var faults []string
	for range 3 {
		if faults = chromium(t); len(faults) == 0 {
			return
		}
		t.Logf("not yet: %s", strings.Join(faults, "; "))
	}
	t.Error(strings.Join(faults, "; "))
}

// chromium watches once and says what was not as it should be.
func chromium(t *testing.T) (faults []string) {
	bad := func(format string, a ...any) { faults = append(faults, fmt.Sprintf(format, a...)) }
	d := start(t, strings.Replace(box, "640x360", "1280x720", 1))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w, err := browser.Watch(ctx, d.http+"/rooms/101", 32, "--settle", "10")
	t.Logf("%dx%d, first picture after %.0f ms; frames/s: least %.1f, mean %.1f; longest gap %.0f ms", w.Width, w.Height, w.FirstFrameMs, w.FPS.Min, w.FPS.Mean, w.LongestGapMs)
	t.Logf("counter: %d readings, steps %d…%d, backwards %d; corners %v", w.Counter.Samples, w.Counter.Min, w.Counter.Max, w.Counter.Backwards, w.Corners)
	t.Logf("tone %.2f Hz at %.1f dB, beep %.2f Hz at %.1f dB", w.Sound.ToneHz, w.Sound.ToneDb, w.Sound.BeepHz, w.Sound.BeepDb)
	t.Logf("sound after picture: median %.1f ms of %d (%.1f…%.1f), by Chromium's own figures %.1f", w.Skew.MedianMs, w.Skew.N, w.Skew.MinMs, w.Skew.MaxMs, w.Skew.ByStatsMs)
	if w.LatencyMs != nil {
		t.Logf("captured → shown: median %.0f ms, p95 %.0f ms", w.LatencyMs.Median, w.LatencyMs.P95)
	}
	if err != nil {
		bad("%v", err)
	}
	if w.Width != 1280 || w.Height != 720 || w.FPS.Mean < 25 {
		bad("%dx%d at %.1f frames/s", w.Width, w.Height, w.FPS.Mean)
	}
	if w.Counter.Backwards > 0 || w.Counter.Samples < 50 || !w.CornersOK {
		bad("counter %+v, corners %v", w.Counter, w.Corners)
	}
	if math.Abs(w.Sound.ToneHz-440) > 10 || math.Abs(w.Sound.BeepHz-1000) > 10 {
		bad("tone %.1f Hz, beep %.1f Hz", w.Sound.ToneHz, w.Sound.BeepHz)
	}
	if w.Skew.N < 20 || math.Abs(w.Skew.MedianMs) > 60 {
		bad("sound is %.1f ms from the picture, by %d beeps", w.Skew.MedianMs, w.Skew.N)
	}
	d.stop()
	return faults
}
