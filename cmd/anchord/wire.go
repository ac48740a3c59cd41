package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"anchord/capture"
	"anchord/device"
	"anchord/device/config"
	"anchord/device/control"
	"anchord/encoder"
	"anchord/hal"
	"anchord/hal/accel"
	"anchord/hal/fake"
	"anchord/hal/openh264"
	"anchord/hal/pulse"
	"anchord/hal/v4l2"
	"anchord/internal/logfile"
	"anchord/internal/media"
	"anchord/internal/run"
	"anchord/internal/secret"
	"anchord/rtc"
	"anchord/rtc/room"
	"anchord/rtc/whip"
	"anchord/systemd"
)

// daemon is every part, made and tied.
type daemon struct {
	c    config.Config // as it was at the start: what the parts are made of
	log  *slog.Logger
	sink *systemd.Log
	mask *secret.Mask

	logFile *logfile.File // nil: none
	whipLog *slog.Logger

	device *device.Device
	events *device.Events
	health *device.Health
	doctor *doctor
	kept   *kept
	tokens control.Tokens
	gate   control.Gate
	jobs   *control.Jobs
	said   control.Tally // commands, by transport and result
	served control.Tally // HTTP requests, by path and status
	begun  time.Time
	demand media.Demand

	cameras, testCameras hal.Cameras
	mics, testMics       hal.Microphones
	sensors              hal.Accelerometers

	frames  media.Tap[*media.Frame]
	sounds  media.Tap[*media.Sound]
	video   media.Tap[*media.Packet]
	audio   media.Tap[*media.Packet]
	camera  *capture.Camera
	gsensor *device.GSensor
	aim     aim            // what the camera was told
	still   *capture.Still // speaks in the camera's place
	mic     *capture.Microphone
	roster  *encoder.Roster
	encoder *encoder.Video
	opus    *encoder.Audio
	session *rtc.Session
	rooms   *room.Server // nil: not enabled
	watch   watch
	latency device.Latency

	group                run.Group
	cameraPart, micPart  *run.Part
	encoderPart, opuPart *run.Part
	gsensorPart          *run.Part
	closed               atomic.Int32  // listeners that are not open yet
	open                 chan struct{} // closed with the last of them
	hosting              chan struct{} // closed when the embedded rooms are open, or there are none
}

// wire makes the parts, top to bottom, and opens nothing.
func wire(dev *device.Device, log *slog.Logger, sink *systemd.Log, mask *secret.Mask) (*daemon, error) {
	c := dev.Wanted()
	d := &daemon{c: c, begun: time.Now(), log: log, sink: sink, mask: mask, whipLog: log.With("part", "whip"), device: dev, events: device.NewEvents(), open: make(chan struct{}), hosting: make(chan struct{})}
	part := func(name string) *slog.Logger { return log.With("part", name) }
	d.events.Hide = mask.Hide
	d.health, d.doctor = device.NewHealth(d.events, part("health")), newDoctor(d)
	d.watch.log = log
	if len(c.Rooms.Advertise) > 0 {
		d.watch.host = c.Rooms.Advertise[0]
	}

	// Hardware.
	d.cameras, d.testCameras = v4l2.New(v4l2.Config{Log: part("v4l2")}), fake.NewCameras(fake.TestPicture)
	d.mics, d.testMics = pulse.New(pulse.Config{Server: c.Mic.Server, Log: part("pulse")}), fake.NewMicrophones(fake.TestTone)
	d.sensors = accel.New(accel.Config{Log: part("gsensor"), Test: fake.TestTilt()})
	d.roster = encoder.NewRoster(openh264.New(openh264.Config{Log: part("openh264"), Threads: c.Encoder.Threads}))
	d.roster.Order(c.Encoder.Order)

	// Camera → encoder → room.
	d.gsensor = device.NewGSensor(device.GSensorConfig{Log: part("gsensor"), Sensors: d.sensors, Events: d.events, Health: d.health, Turned: d.turned}, gsensorSettings(c))
	d.aim.wanted = cameraSettings(c)
	d.camera = capture.NewCamera(capture.CameraConfig{Log: part("camera"), Cameras: d.cameras, Test: d.testCameras,
		Out: &d.frames, Pixel: media.YU12, Demand: &d.demand, Ready: d.cameraReady}, cameraSettings(c))
	d.still = capture.NewStill(capture.StillConfig{Log: part("still"), Camera: d.camera, Out: &d.frames, Pixel: media.YU12, Demand: &d.demand, Why: d.noCamera}, stillSettings(c))
	d.mic = capture.NewMicrophone(capture.MicrophoneConfig{Log: part("mic"), Microphones: d.mics, Test: d.testMics, Out: &d.sounds, Ready: d.micReady}, micSettings(c))
	latest, sounds := media.NewLatest(), media.NewMailbox[*media.Sound](4)
	d.frames.Add(latest.Put)
	d.sounds.Add(sounds.Put)
	d.encoder = encoder.NewVideo(encoder.VideoConfig{Log: part("encoder"), Roster: d.roster, Roomy: roomy, In: latest, Out: &d.video, Demand: &d.demand}, videoSettings(c))
	d.opus = encoder.NewAudio(encoder.AudioConfig{Log: part("opus"), In: sounds, Out: &d.audio, Demand: &d.demand}, audioSettings(c))
	d.session = rtc.New(rtc.Config{Log: part("room"), Mask: d.mask, Dial: d.dial, Demand: &d.demand, OnSent: d.sent, OnEvent: d.event,
		ICE: func() []rtc.ICEServer { return iceServers(d.device.Wanted().ICE.Servers) }})
	d.video.Add(d.session.PutVideo)
	d.audio.Add(d.session.PutAudio)

	// Rooms and control.
	if c.Rooms.Enabled {
		d.rooms = room.New(room.Config{Log: part("rooms"), UDPListen: c.Rooms.UDP, Advertise: c.Rooms.Advertise, Open: true, MaxViewers: c.Rooms.Viewers, MaxWatches: maxStreams,
			Started: sync.OnceFunc(func() { close(d.hosting) })})
	} else {
		close(d.hosting)
	}
	d.gate.Auth, d.gate.Log = &d.tokens, part("http")
	d.jobs = control.NewJobs(d.events)
	if err := d.parts(part); err != nil {
		return nil, err
	}
	d.device.OnChange(d.tellChange)
	d.device.OnChange(d.apply)
	return d, nil
}

// parts puts everything that runs into the group: it starts in this order and stops in
// reverse.
func (d *daemon) parts(part func(string) *slog.Logger) error {
	d.group.Log = d.log
	table := control.Commands(d.commands())
	mux := http.NewServeMux()
	d.group.Must("jobs", d.jobs.Run)
	if d.rooms != nil {
		d.group.Must("rooms", d.rooms.Run)
	}
	if d.c.Control.HTTP.Listen != "" {
		file := d.c.Control.HTTP.TokenFile
		if file == "" {
			file = filepath.Join(filepath.Dir(d.c.Control.Socket), "http.token")
		}
		d.closed.Add(1)
		d.group.Must("http", after(d.hosting, func(ctx context.Context) error {
			token, err := control.FirstToken(file)
			if err != nil {
				return err
			}
			d.mask.Add(token)
			d.tokens.First(token)
			h := control.HTTP{Table: table, Gate: &d.gate, Tally: &d.said, Events: d.events, Snapshot: func(r *http.Request) ([]byte, error) {
				b, _, err := d.snapshot(r.Context(), 85)
				return b, err
			}}
			h.Register(mux)
			mux.Handle("GET /metrics", d.gate.Guard(control.Read, metricsHandler(d.registry())))
			pages := d.rooms != nil && d.c.Rooms.Listen == ""
			if pages {
				d.mountRooms(mux)
			}
			return serve(ctx, d.c.Control.HTTP.Listen, "[control.http] listen", counted(&d.served, control.Local(mux)), part("http"), func(a net.Addr) {
				if pages {
					d.watch.serves(a)
				}
				d.answering()
			})
		}))
	}
	if d.rooms != nil && d.c.Rooms.Listen != "" {
		own := http.NewServeMux()
		d.mountRooms(own)
		var h http.Handler = own
		if !d.c.Rooms.Open {
			h = control.Local(own) // the listener is on loopback
		}
		d.closed.Add(1)
		d.group.Must("rooms-http", after(d.hosting, func(ctx context.Context) error {
			return serve(ctx, d.c.Rooms.Listen, "[rooms] listen", counted(&d.served, h), part("rooms-http"), func(a net.Addr) {
				d.watch.serves(a)
				d.answering()
			})
		}))
	}
	d.closed.Add(1)
	socket := control.Socket{Path: d.c.Control.Socket, Table: table, Log: part("socket"), Tally: &d.said, Ready: d.answering}
	d.group.Must("socket", socket.Run)
	d.group.Must("room", after(d.open, d.session.Run))
	d.encoderPart = d.group.Keep("encoder", d.encoder.Run)
	d.opuPart = d.group.Keep("opus", d.opus.Run)
	d.cameraPart = d.group.Keep("camera", after(d.open, d.camera.Run))
	d.group.Keep("still", after(d.open, d.still.Run))
	d.gsensorPart = d.group.Keep("gsensor", after(d.open, d.gsensor.Run))
	d.micPart = d.group.Keep("mic", after(d.open, d.mic.Run))
	cameras := newPlugs(d.cameras, "camera", typeCamera, d.events, &d.doctor.cameras, d.doctor.look)
	mics := newPlugs(d.mics, "microphone", typeMic, d.events, &d.doctor.mics, d.doctor.look)
	d.group.Keep("camera-plugs", cameras.Run)
	d.group.Keep("mic-plugs", mics.Run)
	d.group.Keep("camera-watch", func(ctx context.Context) error {
		return d.cameras.Watch(ctx, func() { d.camera.Changed(); d.cameraPart.Poke(); cameras.look() })
	})
	d.group.Keep("mic-watch", func(ctx context.Context) error {
		return d.mics.Watch(ctx, func() { d.mic.Changed(); d.micPart.Poke(); mics.look() })
	})
	d.group.Keep("statistics", d.statistics)
	d.group.Keep("health", d.doctor.Run)
	return nil
}

// run runs everything until ctx ends.
func (d *daemon) run(ctx context.Context) error {
	// One or two cores: frames are driven by file descriptors on one thread; a second
	// one only adds wake-ups, which cost more than the work.
	if runtime.NumCPU() <= 2 {
		runtime.GOMAXPROCS(1)
	}
	d.foundAtStart()
	if d.c.Room.AutoEnter {
		if err := d.enter(d.c); err != nil {
			return err
		}
	}
	return d.group.Run(ctx)
}

// after lets a part run only when ready is closed. Parts that take the camera or a place in
// the room wait for all listeners: a second daemon fails there, and must have done neither.
// Listeners wait for what they serve: whoever is let in finds it.
func after(ready <-chan struct{}, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ready:
			return run(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answering notes that one more listener is open; with the last of them systemd is told.
func (d *daemon) answering() {
	if d.closed.Add(-1) > 0 {
		return
	}
	close(d.open)
	if err := systemd.Notify("READY=1"); err != nil {
		d.log.Warn("systemd was not told", "err", err)
	}
}

// apply tells the parts of a change of what is wanted. It is called with each change, one
// at a time. A part whose settings are as they were hears nothing.
func (d *daemon) apply(old, now config.Config, by string) {
	// Values are not logged: an address may hold a secret.
	d.log.Info("settings changed", "keys", slices.Sorted(maps.Keys(config.Diff(old, now))), "by", by)
	if s := gsensorSettings(now); s != gsensorSettings(old) {
		d.gsensor.Set(s) // before the camera: what it adds counts from now on
		d.gsensorPart.Poke()
	}
	d.want(cameraSettings(now))
	if s := stillSettings(now); s != stillSettings(old) {
		d.still.Set(s)
	}
	if s := micSettings(now); s != micSettings(old) {
		d.mic.Set(s)
		d.micPart.Poke()
	}
	if s := audioSettings(now); s != audioSettings(old) {
		d.opus.Set(s)
	}
	if s := videoSettings(now); s != videoSettings(old) {
		d.encoder.Set(s)
		d.encoderPart.Poke()
	}
	if !slices.Equal(now.Encoder.Order, old.Encoder.Order) {
		d.roster.Order(now.Encoder.Order)
		d.encoderPart.Poke()
	}
	if now.Log.Level != old.Log.Level {
		if _, err := d.sink.SetLevel("", now.Log.Level); err != nil {
			d.log.Error("set the log's level", "err", err)
		}
	}
	switch {
	case reflect.DeepEqual(old.Room, now.Room) && slices.Equal(old.ICE.Servers, now.ICE.Servers):
	case !now.Room.AutoEnter:
		d.session.Exit()
	default:
		if err := d.enter(now); err != nil {
			d.log.Error("enter", "err", err)
		}
	}
}

func (d *daemon) enter(c config.Config) error {
	a, err := rtc.ParseAddress(c.Room.URL)
	if err != nil {
		return err
	}
	return d.session.Enter(rtc.Target{Address: a, Room: c.Room.ID, User: c.Room.User})
}

// dial gives the way to a room.
func (d *daemon) dial(t rtc.Target) (rtc.Signaller, error) {
	if t.Address.Scheme == rtc.Embedded {
		if d.rooms == nil {
			return nil, errors.New("the room address is embedded: and the embedded rooms are off: set [rooms] enabled = true")
		}
		return d.rooms.Signaller(t.Room, t.User), nil
	}
	return whip.New(whip.Config{Log: d.whipLog, URL: t.Address.Endpoint(t.Room, t.User),
		Mask: d.mask,
		Token: func(context.Context) (secret.Value, error) {
			file := d.device.Wanted().Room.TokenFile
			if file == "" {
				return secret.Value{}, nil
			}
			t, err := secret.ReadOwn(file)
			if err != nil {
				return secret.Value{}, fmt.Errorf("room.token_file: %w", err)
			}
			return t, nil
		}})
}

// sent measures each picture.
func (d *daemon) sent(p *media.Packet, m media.Marks) {
	if p.Samples == 0 {
		d.latency.Observe(&m)
	}
}

func (d *daemon) mountRooms(mux *http.ServeMux) {
	h := d.rooms.Handler()
	for _, p := range []string{"/whip/", "/whep/", "/rooms/"} {
		mux.Handle(p, h)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		id := d.device.Wanted().Room.ID
		if id == "" {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, pagePath(id), http.StatusSeeOther)
	})
}
