package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"anchord/capture"
	"anchord/device"
	"anchord/internal/run"
)

// doctor looks once a second at what the parts say of themselves, and at once when one of
// them calls, and reports what is wrong.
type doctor struct {
	d    *daemon
	call chan struct{}

	camera, mic, encoder, opus trouble
	hadCamera, hadMic          last
	coded                      string // the encoder that was used last
	pace                       pace
	box                        machine
	cameras, mics              atomic.Int32 // plugged in; -1: nobody knows
}

// Times of the doctor.
const (
	lookEvery = time.Second
	boxEvery  = 10 * time.Second // the disk and the memory
	zerosLast = 10 * time.Second // of a microphone, before they are a fault
)

func newDoctor(d *daemon) *doctor {
	doc := &doctor{d: d, call: make(chan struct{}, 1)}
	doc.cameras.Store(-1)
	doc.mics.Store(-1)
	return doc
}

// look has the doctor look now.
func (doc *doctor) look() {
	select {
	case doc.call <- struct{}{}:
	default:
	}
}

// Run looks until ctx ends.
func (doc *doctor) Run(ctx context.Context) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		doc.round(time.Now())
		select {
		case <-t.C:
		case <-doc.call:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round looks at everything.
func (doc *doctor) round(now time.Time) {
	h := doc.d.health
	h.Report("camera", doc.cameraFacts(now)...)
	h.Report("mic", doc.micFacts()...)
	h.Report("encoder", doc.encoderFacts()...)
	var room []device.Fact
	if doc.d.device.Wanted().Room.AutoEnter {
		room = roomFacts(doc.d.session.Stats())
	}
	h.Report("room", room...)
	h.Report("parts", doc.partFacts()...)
	h.Report("settings", doc.settingFacts()...)
	if doc.box.due(now) {
		h.Report("box", doc.box.facts(now, doc.d.kept.path)...)
	}
}

func (doc *doctor) cameraFacts(now time.Time) []device.Fact {
	d := doc.d
	s, w := d.camera.Status(), d.device.Wanted()
	var out []device.Fact
	if _, err := d.still.Shows(); err != nil {
		out = append(out, device.Fact{Slug: device.MutePicture, Cause: err.Error()})
	}
	err := doc.camera.look(d.cameraPart.State(), s.Arrived, w.Camera.Stopped)
	switch {
	case w.Camera.Stopped:
		doc.pace = pace{}
		return out
	case err != nil:
		doc.pace = pace{}
		return append(out, cameraFact(err, doc.hadCamera.by(w.Camera.Match), int(doc.cameras.Load())))
	case s.Device.ID == "":
		doc.pace = pace{}
		return out // it is being opened
	}
	if s.Arrived > 0 {
		doc.hadCamera = last{s.Device, w.Camera.Match}
	}
	return append(out, doc.pace.facts(now, s, cameraSettings(w).Want)...)
}

func (doc *doctor) micFacts() []device.Fact {
	d := doc.d
	s, w := d.mic.Status(), d.device.Wanted().Mic
	err := doc.mic.look(d.micPart.State(), s.Blocks, w.Stopped)
	switch {
	case w.Stopped:
		return nil
	case err != nil:
		return []device.Fact{micFact(err, doc.hadMic.by(w.Match), int(doc.mics.Load()))}
	case s.Device.ID == "":
		return nil
	}
	doc.hadMic = last{s.Device, w.Match}
	if z := time.Duration(s.Zeros) * blockTime; z >= zerosLast {
		return []device.Fact{{Slug: device.MicSilent, Cause: fmt.Sprintf("%s, for %v", words(s.Device), z.Round(time.Second))}}
	}
	return nil
}

// blockTime is the length of one block of sound.
const blockTime = 20 * time.Millisecond

func (doc *doctor) encoderFacts() []device.Fact {
	d := doc.d
	var out []device.Fact
	v, a, w := d.encoder.Status(), d.opus.Status(), d.device.Wanted()
	if err := doc.encoder.look(d.encoderPart.State(), v.Frames, v.Resting || w.Camera.Stopped || w.Camera.Muted); err != nil {
		out = append(out, device.Fact{Slug: device.EncoderFailed, Cause: err.Error()})
	}
	if err := doc.opus.look(d.opuPart.State(), a.Packets, w.Mic.Stopped); err != nil {
		out = append(out, device.Fact{Slug: device.SoundEncoderFailed, Cause: err.Error()})
	}
	if v.Encoder == "" {
		return out
	}
	if doc.coded != "" && doc.coded != v.Encoder {
		d.health.Note(device.Fact{Slug: device.EncoderChanged, Cause: doc.coded + " before, " + v.Encoder + " now"})
	}
	doc.coded = v.Encoder
	if first := w.Encoder.Order[0]; v.Encoder != first {
		out = append(out, device.Fact{Slug: device.EncoderFallback, Cause: first + " does not work, " + v.Encoder + " is used"})
	}
	return out
}

// partFacts are the parts that are started again and have no words of their own.
func (doc *doctor) partFacts() []device.Fact {
	var out []device.Fact
	for _, s := range doc.d.group.States() {
		if s.Err != nil && (s.Phase == run.Waiting || s.Phase == run.Parked) && !slices.Contains([]string{"camera", "mic", "encoder", "opus", "gsensor"}, s.Name) {
			out = append(out, device.Fact{Slug: device.PartFailed, Of: s.Name, Cause: s.Err.Error()})
		}
	}
	return out
}

// settingFacts are about what is set and stored.
func (doc *doctor) settingFacts() []device.Fact {
	d := doc.d
	var out []device.Fact
	for _, v := range d.device.Values("all") {
		if v.Waits {
			out = append(out, device.Fact{Slug: device.ConfigWaits, Of: v.Key, Cause: v.Key})
		}
	}
	if d.kept.store == nil {
		return append(out, device.Fact{Slug: device.StoreOff, Cause: "[store] path is empty"})
	}
	switch t := d.kept.store.Trouble(); {
	case t.Err == nil:
	case t.Refused:
		out = append(out, device.Fact{Slug: device.StoreFailed, Cause: t.Err.Error()})
	default:
		out = append(out, device.Fact{Slug: device.StoreMemory, Cause: t.Err.Error()})
	}
	return out
}

// foundAtStart tells of what the store had to mend, which is over.
func (d *daemon) foundAtStart() {
	for _, p := range d.kept.found.Problems {
		if p.Code != device.StoreMemory { // it stands as long as it is so
			d.health.Note(device.Fact{Slug: p.Code, Cause: p.Cause, Do: p.Hint + "; then errors clear"})
		}
	}
	for i, err := range d.kept.bad {
		d.health.Note(device.Fact{Slug: device.ConfigValue, Of: fmt.Sprint(i + 1), Cause: err.Error()})
	}
}

// pace measures how many pictures a camera gives, and how many of them are damaged, over
// a few seconds at a time.
type pace struct {
	begun            time.Time
	arrived, damaged uint64
	device           string

	fps    float64 // measured last; 0: not yet
	broken float64 // share
}

const (
	paceTime   = 3 * time.Second
	slowPace   = 0.75 // of what was promised: less is a fault
	muchBroken = 0.1
)

// facts gives what is bad about the pictures of a camera that streams.
func (p *pace) facts(now time.Time, s capture.CameraStatus, want capture.Want) []device.Fact {
	damaged := s.Faults.Broken + s.Faults.Short + s.Corrupt
	begin := pace{begun: now, arrived: s.Arrived, damaged: damaged, device: s.Device.ID + s.Mode.Size.String()}
	switch took := now.Sub(p.begun); {
	case p.device != begin.device:
		*p = begin
	case took >= paceTime:
		all := s.Arrived - p.arrived + s.Faults.Broken + s.Faults.Short + s.Corrupt - p.damaged
		begin.fps = float64(s.Arrived-p.arrived) / took.Seconds()
		begin.broken = float64(damaged-p.damaged) / float64(max(all, 1))
		*p = begin
	}
	var out []device.Fact
	promised := s.Mode.Rate.Float()
	if w := want.Rate.Float(); w > 0 && (promised == 0 || w < promised) {
		promised = w
	}
	if p.fps > 0 && promised > 0 && p.fps < slowPace*promised {
		out = append(out, device.Fact{Slug: device.CameraSlow, Cause: fmt.Sprintf("%s: %.1f a second instead of %.4g", words(s.Device), p.fps, promised)})
	}
	if p.broken > muchBroken {
		out = append(out, device.Fact{Slug: device.CameraDamaged, Cause: fmt.Sprintf("%s: %.0f %% of the last %v", words(s.Device), 100*p.broken, paceTime)})
	}
	size, rate := s.Mode.Size, s.Mode.Rate.Float()
	if size.W*size.H < want.Size.W*want.Size.H*9/10 || rate > 0 && rate < slowPace*want.Rate.Float() {
		out = append(out, device.Fact{Slug: device.CameraSmall, Cause: fmt.Sprintf("%s: %v at %v a second, wanted are %v at %v", words(s.Device), size, s.Mode.Rate, want.Size, want.Rate)})
	}
	return out
}
