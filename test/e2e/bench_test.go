package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"anchord/test/viewer"
)

// BenchmarkDaemon720p30 lets the daemon publish 720p30 into its own room, with one viewer
// (who does not decode, so that the processor is the daemon's), for 20 s. It reports
// what a frame costs, how long it takes, and how much memory is in use; "overhead" is the time from
// the camera's time stamp to the wire less the time in the encoder.
func BenchmarkDaemon720p30(b *testing.B) {
	for b.Loop() {
		d := start(b, strings.Replace(box, "640x360", "1280x720", 1))
		until(b, 20*time.Second, "the encoder rests", func() bool { return d.do("video", "show")["resting"] == true })
		time.Sleep(2 * time.Second)
		idleRSS, idleCPU := d.rss(b), d.cpu(b)
		time.Sleep(5 * time.Second)
		idleShare := (d.cpu(b) - idleCPU).Seconds() / 5
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		v, err := viewer.Watch(ctx, d.http, "101", "box", viewer.Options{NoDecode: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.FrameAfter(ctx, time.Now(), nil); err != nil {
			b.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		cpu, frames := d.cpu(b), len(v.Frames())
		time.Sleep(20 * time.Second)
		cpu, frames = d.cpu(b)-cpu, len(v.Frames())-frames
		lat := d.do("stats")["latency_ms"].(map[string]any)
		for _, s := range []string{"overhead", "encode", "total"} {
			l := lat[s].(map[string]any)
			for _, q := range []string{"p50", "p95", "max"} {
				b.ReportMetric(l[q].(float64), fmt.Sprintf("ms-%s-%s", s, q))
			}
		}
		b.ReportMetric(float64(frames)/20, "frames/s")
		b.ReportMetric(cpu.Seconds()*1000/float64(frames), "ms-cpu/frame")
		b.ReportMetric(float64(idleRSS)/(1<<20), "MiB-idle")
		b.ReportMetric(float64(d.rss(b))/(1<<20), "MiB-publishing")
		b.ReportMetric(100*idleShare, "%cpu-idle")
		cancel()
		v.Close()
		d.stop()
	}
}

// rss is the daemon's resident memory in bytes.
func (d *daemon) rss(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n * os.Getpagesize()
}

// cpu is the processor time that the daemon has used.
func (d *daemon) cpu(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}
