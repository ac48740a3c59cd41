package main

import (
	"context"
	"time"

	"anchord/capture"
	"anchord/device/control"
	"anchord/internal/media"
	"anchord/internal/run"
	"anchord/rtc"
)

// commands gives what the commands act on.
func (d *daemon) commands() control.Parts {
	return control.Parts{
		Version: version, Device: d.device,
		Status: d.status, Room: d.roomFields, Camera: d.cameraFields, Mic: d.micFields, Video: d.videoFields, Stats: d.stats,
		GSensor: d.gsensor, Sensors: d.sensors.List, Encoders: d.encoders(), Cameras: d.cameras.List, Mics: d.mics.List, Snapshot: d.snapshot,
		LogLevel: d.logLevel, LogTail: d.logTail, LogParts: d.sink.Parts, Jobs: d.jobs, Tokens: &d.tokens,
		Events: d.events, Health: d.health,
	}
}

// snapshotTime is how long a snapshot may wait for a picture.
const snapshotTime = 3 * time.Second

func (d *daemon) snapshot(ctx context.Context, quality int) ([]byte, media.Size, error) {
	if d.device.Wanted().Camera.Stopped {
		return nil, media.Size{}, control.Errorf(control.CodeState, "the camera is stopped: camera start")
	}
	if d.device.Wanted().Camera.Muted {
		return nil, media.Size{}, control.Errorf(control.CodeState, "the camera is muted: camera mute off")
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotTime)
	defer cancel()
	return capture.Snapshot(ctx, &d.frames, &d.demand, quality)
}

// status is the whole box in a few lines.
func (d *daemon) status() control.Fields {
	w := d.device.Wanted()
	f := control.Fields{{Key: "version", Value: version}}
	room := "none wanted"
	if w.Room.AutoEnter {
		room = w.Room.ID + " as " + w.Room.User + ": " + d.session.State().String()
	}
	f = append(f, control.Field{Key: "room", Value: room},
		control.Field{Key: "camera", Value: d.cameraWord()}, control.Field{Key: "mic", Value: d.micWord()},
		control.Field{Key: "encoder", Value: d.encoderWord()})
	return append(f, control.Problems(d.health)...)
}

func (d *daemon) cameraWord() string {
	w, s := d.device.Wanted().Camera, d.camera.Status()
	return inUse(w.Stopped, w.Muted, s.Device.ID, ", "+s.Mode.Size.String()+" "+s.Mode.Pixel.String()+" "+s.Mode.Rate.String()+" fps")
}

func (d *daemon) micWord() string {
	w, s := d.device.Wanted().Mic, d.mic.Status()
	return inUse(w.Stopped, w.Muted, s.Device.ID, "")
}

// noCamera gives the words of the slate.
func (d *daemon) noCamera() []string {
	lines := []string{"NO CAMERA"}
	if s := d.cameraPart.State(); s.Err != nil && s.Phase != run.Running {
		lines = append(lines, control.Clean(s.Err.Error()))
	}
	return append(lines, "Plug in a camera, or choose one: anchorctl camera list")
}

// inUse says how a device stands; more is added when it gives all it has.
func inUse(off, muted bool, id, more string) string {
	switch {
	case off:
		return "stopped"
	case id == "":
		return "none"
	case muted:
		return id + ", muted"
	}
	return id + more
}

func (d *daemon) encoderWord() string {
	s := d.encoder.Status()
	switch {
	case s.Resting:
		return "rests, nobody subscribes"
	case s.Encoder == "":
		return "closed"
	}
	return s.Encoder + ", " + s.Input.Size.String()
}

func (d *daemon) roomFields() control.Fields {
	s, w := d.session.Stats(), d.device.Wanted().Room
	address := ""
	if a, err := rtc.ParseAddress(w.URL); err == nil {
		address = a.String() // without its query, which may hold a secret
	}
	f := control.Fields{{Key: "wanted", Value: w.AutoEnter}, {Key: "address", Value: address}, {Key: "id", Value: w.ID}, {Key: "user", Value: w.User},
		{Key: "state", Value: s.State.String()}, {Key: "since", Value: s.Since.UTC().Format(time.RFC3339)},
		{Key: "subscribers", Value: s.Subscribers}, {Key: "tries", Value: s.Tries},
		{Key: "lost", Value: s.Lost}, {Key: "reconnects", Value: s.Reconnects}}
	if s.Path != "" {
		f = append(f, control.Field{Key: "path", Value: s.Path})
	}
	if s.Err != nil {
		f = append(f, control.Field{Key: "error", Value: s.Err.Error()}, control.Field{Key: "code", Value: int(s.Code)})
	}
	return f
}

func (d *daemon) cameraFields() control.Fields {
	w, s := d.device.Wanted().Camera, d.camera.Status()
	f := control.Fields{{Key: "match", Value: w.Match}, {Key: "stopped", Value: w.Stopped}, {Key: "muted", Value: w.Muted}, {Key: "id", Value: s.Device.ID}}
	if s.Device.ID != "" {
		f = append(f, control.Field{Key: "name", Value: s.Device.Name}, control.Field{Key: "node", Value: s.Device.Node}, control.Field{Key: "port", Value: s.Device.Port},
			control.Field{Key: "format", Value: s.Mode.Pixel.String()}, control.Field{Key: "size", Value: s.Mode.Size.String()}, control.Field{Key: "fps", Value: s.Mode.Rate.Float()})
	}
	what, err := d.still.Shows()
	if what != "" {
		f = append(f, control.Field{Key: "in_its_place", Value: what})
	}
	if err != nil {
		f = append(f, control.Field{Key: "mute_image", Value: err.Error()})
	}
	return append(f, problem(d.cameraPart)...)
}

func (d *daemon) micFields() control.Fields {
	w, s, a := d.device.Wanted().Mic, d.mic.Status(), d.opus.Status()
	f := control.Fields{{Key: "match", Value: w.Match}, {Key: "stopped", Value: w.Stopped}, {Key: "muted", Value: w.Muted}, {Key: "volume", Value: w.Volume}, {Key: "id", Value: s.Device.ID}}
	if s.Device.ID != "" {
		f = append(f, control.Field{Key: "name", Value: s.Device.Name}, control.Field{Key: "channels", Value: s.Format.Channels},
			control.Field{Key: "level", Value: a.Level}, control.Field{Key: "silent_seconds", Value: s.Zeros / 50})
		if percent, muted, err := d.mic.Volume(); err == nil {
			f = append(f, control.Field{Key: "device_volume", Value: percent}, control.Field{Key: "device_muted", Value: muted})
		}
	}
	return append(f, problem(d.micPart)...)
}

func (d *daemon) videoFields() control.Fields {
	w, c, e := d.device.Wanted().Video, d.camera.Status(), d.encoder.Status()
	target, least := w.Bits()
	f := control.Fields{
		{Key: "wanted", Value: control.Fields{{Key: "size", Value: w.Size().String()}, {Key: "fps", Value: w.FPS}, {Key: "bitrate_kbps", Value: target / 1000},
			{Key: "min_bitrate_kbps", Value: least / 1000}, {Key: "rotation", Value: w.Rotation}, {Key: "mirror", Value: w.Mirror}}},
		{Key: "turned", Value: int(d.camera.Settings().Turn.Rotation)}, {Key: "gsensor_adds", Value: int(d.gsensor.Adds())},
		{Key: "captured", Value: c.Mode.Size.String()},
		{Key: "encoder", Value: e.Encoder}, {Key: "coded", Value: e.Input.Size.String()}, {Key: "bitrate_kbps", Value: e.Bitrate / 1000}, {Key: "resting", Value: e.Resting}}
	return append(f, problem(d.encoderPart)...)
}

// problem gives why a part does not run, if it does not.
func problem(p *run.Part) control.Fields {
	s := p.State()
	if s.Phase != run.Waiting && s.Phase != run.Parked {
		return nil
	}
	return control.Fields{{Key: "problem", Value: s.Err.Error()}}
}

func (d *daemon) stats() control.Fields {
	c, e, a, s := d.camera.Status(), d.encoder.Status(), d.opus.Status(), d.session.Stats()
	var lat control.Fields
	ms := func(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
	for _, t := range d.latency.Stages() {
		lat = append(lat, control.Field{Key: t.Stage, Value: control.Fields{{Key: "p50", Value: ms(t.P50)}, {Key: "p95", Value: ms(t.P95)}, {Key: "max", Value: ms(t.Max)}, {Key: "frames", Value: t.Count}}})
	}
	return control.Fields{
		{Key: "camera", Value: control.Fields{{Key: "frames", Value: c.Frames}, {Key: "lost", Value: c.Faults.Lost}, {Key: "broken", Value: c.Faults.Broken},
			{Key: "short", Value: c.Faults.Short}, {Key: "stale", Value: c.Faults.Stale}, {Key: "corrupt", Value: c.Corrupt}, {Key: "late", Value: c.Late}}},
		{Key: "encoder", Value: control.Fields{{Key: "frames", Value: e.Frames}, {Key: "keys", Value: e.Keys}, {Key: "skipped", Value: e.Skipped}, {Key: "late", Value: e.Late},
			{Key: "failed", Value: e.Failed}, {Key: "bytes", Value: e.Bytes}}},
		{Key: "opus", Value: control.Fields{{Key: "packets", Value: a.Packets}, {Key: "bytes", Value: a.Bytes}, {Key: "late", Value: a.Late}, {Key: "failed", Value: a.Failed}, {Key: "level", Value: a.Level}}},
		{Key: "video", Value: sending(s.Video, s.VideoDropped)},
		{Key: "audio", Value: sending(s.Audio, s.AudioDropped)},
		{Key: "latency_ms", Value: lat},
	}
}

func sending(s rtc.Sending, dropped uint64) control.Fields {
	return control.Fields{{Key: "frames", Value: s.Frames}, {Key: "unsent", Value: s.Unsent}, {Key: "dropped", Value: dropped}, {Key: "packets", Value: s.Packets},
		{Key: "bytes", Value: s.Bytes}, {Key: "resent", Value: s.Resent}, {Key: "loss", Value: s.Loss}, {Key: "rtt_ms", Value: float64(s.RTT.Microseconds()) / 1000}, {Key: "keys_asked", Value: s.Keys}}
}
