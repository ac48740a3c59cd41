package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"anchord/capture"
	"anchord/device"
	"anchord/device/config"
	"anchord/hal"
	"anchord/internal/trtc"
	"anchord/rtc"
)

// notice tells what the session says.
func (d *daemon) notice(n rtc.Notice) {
	var out []device.Detail
	say := func(key string, value any) { out = append(out, device.Detail{Key: key, Value: value}) }
	switch n.Name {
	case trtc.OnError:
		d.health.Note(device.Fact{Slug: device.RoomGaveUp, Cause: n.Text})
		return
	case trtc.OnEnterRoom:
		say("result", n.Result)
	case trtc.OnExitRoom:
		say("reason", n.Result)
	case trtc.OnRemoteUserEnterRoom:
		say("userId", n.User)
	case trtc.OnRemoteUserLeaveRoom:
		say("userId", n.User)
		say("reason", n.Result)
	case trtc.OnSendFirstLocalVideoFrame:
		say("streamType", int(trtc.Big))
	}
	if n.Text != "" {
		say("text", n.Text)
	}
	d.events.Publish(n.Name, out...)
	d.doctor.look()
}

// cameraReady hears that a camera streams, or is lost.
func (d *daemon) cameraReady(s capture.CameraStatus, err error) {
	if err != nil {
		d.doctor.camera.failed(err)
	} else {
		d.events.Publish(trtc.OnCameraDidReady, device.Detail{Key: "deviceId", Value: s.Device.ID},
			device.Detail{Key: "width", Value: s.Mode.Size.W}, device.Detail{Key: "height", Value: s.Mode.Size.H},
			device.Detail{Key: "frameRate", Value: s.Mode.Rate.Float()}, device.Detail{Key: "format", Value: s.Mode.Pixel.String()})
	}
	d.doctor.look()
}

// micReady hears that a microphone records, or is lost.
func (d *daemon) micReady(s capture.MicrophoneStatus, err error) {
	if err != nil {
		d.doctor.mic.failed(err)
	} else {
		d.events.Publish(trtc.OnMicDidReady, device.Detail{Key: "deviceId", Value: s.Device.ID},
			device.Detail{Key: "audioSampleRate", Value: s.Format.Rate}, device.Detail{Key: "channels", Value: s.Format.Channels})
	}
	d.doctor.look()
}

// tellChange tells which values are wanted from now on. It is called with each change.
func (d *daemon) tellChange(old, now config.Config, by string) {
	diff := config.Diff(old, now)
	for _, k := range slices.Sorted(maps.Keys(diff)) {
		d.events.Publish(device.ConfigEvent, device.Detail{Key: "key", Value: k}, device.Detail{Key: "value", Value: diff[k]}, device.Detail{Key: "by", Value: by})
	}
	d.doctor.look()
}

// plugs tells what is plugged in and out, of one kind.
type plugs struct {
	finder  hal.Finder
	kind    string // "camera", "microphone"
	number  int    // TRTC's for the kind
	events  *device.Events
	count   *atomic.Int32
	changed chan struct{}
	after   func()
}

// TRTC's numbers of kinds of devices, and of what happens to them (TRTCDeviceType,
// TRTCDeviceState: https://trtc.io/document).
const (
	typeMic, typeCamera    = 0, 2
	stateAdded, stateTaken = 0, 1
)

// listTime is how long a look at what is plugged in may take: a device that hangs must not
// keep others from being seen.
const listTime = 10 * time.Second

func newPlugs(f hal.Finder, kind string, number int, events *device.Events, count *atomic.Int32, after func()) *plugs {
	return &plugs{finder: f, kind: kind, number: number, events: events, count: count, changed: make(chan struct{}, 1), after: after}
}

// look has them looked at.
func (p *plugs) look() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run tells until ctx ends. What is there at the first look is not told: it is no change.
func (p *plugs) Run(ctx context.Context) error {
	var known map[string]hal.Device
	for {
		select {
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		lctx, cancel := context.WithTimeout(ctx, listTime)
		list, err := p.finder.List(lctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, hal.ErrNoServer):
			continue // the part that uses them says it
		}
		now := map[string]hal.Device{}
		for _, d := range list {
			now[d.ID] = d
		}
		if known != nil {
			p.tell(known, now, stateTaken, "plugged out")
			p.tell(now, known, stateAdded, "plugged in")
		}
		known = now
		p.count.Store(int32(len(now)))
		p.after()
	}
}

// tell tells of the devices that are in one and not in the other.
func (p *plugs) tell(in, not map[string]hal.Device, state int, word string) {
	for _, id := range slices.Sorted(maps.Keys(in)) {
		if _, ok := not[id]; !ok {
			p.events.Publish(trtc.OnDeviceChange, device.Detail{Key: "deviceId", Value: id}, device.Detail{Key: "type", Value: p.number},
				device.Detail{Key: "state", Value: state}, device.Detail{Key: "text", Value: p.kind + " " + words(in[id]) + " was " + word})
		}
	}
}

// statistics tells onStatistics every 2 s while somebody listens for it, and measures
// nothing otherwise.
func (d *daemon) statistics(ctx context.Context) error {
	t := time.NewTicker(trtc.StatisticEvery * time.Second)
	defer t.Stop()
	var before reading
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !d.events.Asked(trtc.OnStatistics) {
			before = reading{}
			continue
		}
		now := d.reading()
		if !before.load.at.IsZero() {
			d.events.Publish(trtc.OnStatistics, now.since(before)...)
		}
		before = now
	}
}

// reading is what statistics are the difference of.
type reading struct {
	load   load
	memory memory
	own    uint64 // bytes of memory
	room   rtc.Stats
	width  int
	height int
	zeros  time.Duration
}

func (d *daemon) reading() reading {
	e := d.encoder.Status().Input.Size
	s := reading{load: readLoad(), own: resident(), room: d.session.Stats(), width: e.W, height: e.H, zeros: time.Duration(d.mic.Status().Zeros) * blockTime}
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		s.memory = readMemory(f)
	}
	return s
}

// since gives the details of onStatistics.
func (s reading) since(before reading) []device.Detail {
	seconds := max(s.load.at.Sub(before.load.at).Seconds(), 1e-3)
	own, all := s.load.since(before.load)
	kbps := func(now, then rtc.Sending) int { return int(float64(now.Bytes-then.Bytes) * 8 / 1000 / seconds) }
	silent := 0
	if s.zeros >= zerosLast {
		silent = 1
	}
	v, a := s.room.Video, s.room.Audio
	return []device.Detail{
		{Key: "appCpu", Value: own}, {Key: "systemCpu", Value: all},
		{Key: "appMemoryUsageInMB", Value: int(s.own >> 20)}, {Key: "systemMemoryInMB", Value: int(s.memory.total >> 20)},
		{Key: "systemMemoryUsageInMB", Value: int((s.memory.total - s.memory.available) >> 20)},
		{Key: "upLoss", Value: int(100*max(v.Loss, a.Loss) + .5)}, {Key: "rtt", Value: int(max(v.RTT, a.RTT).Milliseconds())},
		{Key: "sentBytes", Value: v.Bytes + a.Bytes}, {Key: "streamType", Value: int(trtc.Big)},
		{Key: "width", Value: s.width}, {Key: "height", Value: s.height},
		{Key: "frameRate", Value: float64(int(10*float64(v.Frames-before.room.Video.Frames)/seconds+.5)) / 10},
		{Key: "videoBitrate", Value: kbps(v, before.room.Video)},
		{Key: "audioSampleRate", Value: 48000}, {Key: "audioBitrate", Value: kbps(a, before.room.Audio)}, {Key: "audioCaptureState", Value: silent},
	}
}
