package control

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"anchord/device"
	"anchord/hal"
	"anchord/hal/fake"
)

// TestGSensorCommands: what they say in each state, with a box that is turned by a quarter.
func TestGSensorCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := parts()
		a := fake.NewAccelerometers(fake.Tilt{From: 90, To: 90, Noise: .02})
		p.GSensor = device.NewGSensor(device.GSensorConfig{Log: slog.New(slog.DiscardHandler), Sensors: a}, device.GSensorSettings{Mode: device.GSensorDisable})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.GSensor.Run(ctx) }()
		go func() { done <- p.Jobs.Run(ctx) }()
		table := Commands(p)
		says := func(line string, want ...string) {
			t.Helper()
			got := string(table.answer(ctx, root, []byte(line)))
			for _, w := range want {
				if strings.Contains(got, strings.TrimPrefix(w, "!")) == strings.HasPrefix(w, "!") {
					t.Errorf("%s: want %q in\n%s", line, w, got)
				}
			}
		}
		synctest.Wait()
		says("gsensor show", "mode: disable", "adds: 0", "state: off", "found: iio:lis3dh", "!raw")
		says("video rotation 180", "OK", "!note")
		says("gsensor calibrate top", "ERR 110 bad-state", "gsensor mode auto")
		says("gsensor mode", "ERR 102")
		says("gsensor mode on", "ERR 102", "disable, auto, fixed180")
		says("gsensor calibrate bottom", "ERR 102", "top, left, lens")
		says("gsensor record 1h", "ERR 102")
		p.GSensor.Set(device.GSensorSettings{Mode: device.GSensorAuto, Place: hal.SensorPlace{Device: "auto"}})
		time.Sleep(2 * time.Second)
		says("gsensor show", "mode: auto", "adds: 90", "state: steady", "sensor: test", "quadrant: 90", "raw: -9.", "filtered: -9.", "failures: 0")
		says("video rotation 90", "note: gsensor auto adds 90", "OK")
		says("gsensor calibrate top", "matrix: ", "OK")
		if m := p.Device.Wanted().GSensor.Matrix; !strings.HasPrefix(m, "0.00") && !strings.HasPrefix(m, "-0.00") {
			t.Errorf("matrix %q", m)
		}
		says("config reset gsensor.matrix", "reset: gsensor.matrix")
		says("gsensor record 2s", "job: 1")
		says("job wait 1", "state: done", "result.bytes: ")
		a.Unplug(true)
		time.Sleep(time.Second)
		says("gsensor show", "state: fault", "fault: ", "adds: 90")
		says("gsensor calibrate top", "ERR 110", "gives nothing")
		cancel()
		<-done
		<-done
	})
}
