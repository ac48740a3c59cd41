package main

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"anchord/capture"
	"anchord/device"
	"anchord/hal"
	"anchord/internal/run"
	"anchord/internal/trtc"
	"anchord/rtc"
)

// trouble follows one part: why it does not do its work, from a failure until it is seen
// to work again. That it runs again says nothing: it may just be about to fail once more.
type trouble struct {
	mu    sync.Mutex
	err   error
	fresh bool      // err came between two looks
	at    uint64    // what was done when it failed
	since time.Time // of the supervisor's state, at the last look
}

// failed notes a failure between two looks.
func (t *trouble) failed(err error) {
	t.mu.Lock()
	t.err, t.fresh = err, true
	t.mu.Unlock()
}

// look gives why the part does not work, nil when it does. done counts what it has done;
// rests says that it has nothing to do.
func (t *trouble) look(s run.State, done uint64, rests bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	began := s.Since != t.since
	t.since = s.Since
	switch {
	case rests:
		t.err = nil
	case s.Err != nil && (s.Phase == run.Waiting || s.Phase == run.Parked), s.Err != nil && s.Tries > 0 && began && !t.fresh:
		t.err, t.at = s.Err, done
	case t.fresh:
		t.at = done
	case done != t.at:
		t.err = nil
	}
	t.fresh = false
	return t.err
}

// last is the device that worked last, and what named it.
type last struct {
	device hal.Device
	match  string
}

// by gives it if it was named so.
func (l last) by(match string) hal.Device {
	if l.match != match {
		return hal.Device{}
	}
	return l.device
}

// words gives a device's name and where it was.
func words(d hal.Device) string {
	s := d.ID
	if d.Name != "" && d.Name != d.ID {
		s = d.Name + " (" + d.ID + ")"
	}
	if d.Port != "" {
		s += " at " + d.Port
	}
	return s
}

// cameraFact says why no camera streams. had is the one that streamed before, if it is
// still the one that is wanted; there is how many are plugged in, below 0 if nobody knows.
func cameraFact(err error, had hal.Device, there int) device.Fact {
	f := device.Fact{Slug: device.CameraStartFailed, Cause: err.Error()}
	switch {
	case errors.Is(err, capture.ErrAmbiguous):
		f.Slug = device.CameraAmbiguous
	case errors.Is(err, hal.ErrGone) && had.ID != "":
		f.Slug, f.Cause = device.CameraGone, words(had)+": "+err.Error()
	case errors.Is(err, capture.ErrNoMatch) && there > 0:
		f.Slug = device.CameraNoMatch
	case errors.Is(err, hal.ErrGone):
		f.Slug = device.CameraNone
	case errors.Is(err, hal.ErrDenied):
		f.Slug = device.CameraDenied
	case errors.Is(err, hal.ErrBusy):
		f.Slug = device.CameraBusy
	case errors.Is(err, hal.ErrStuck):
		f.Slug = device.CameraStuck
	case errors.Is(err, hal.ErrUnsupported):
		f.Slug = device.CameraParameters
	}
	return f
}

// micFact says why no microphone records, as cameraFact does.
func micFact(err error, had hal.Device, there int) device.Fact {
	f := device.Fact{Slug: device.MicStartFailed, Cause: err.Error()}
	switch {
	case errors.Is(err, capture.ErrAmbiguous):
		f.Slug = device.MicAmbiguous
	case errors.Is(err, hal.ErrNoServer):
		f.Slug = device.SoundServerGone
	case errors.Is(err, hal.ErrGone) && had.ID != "":
		f.Slug, f.Cause = device.MicGone, words(had)+": "+err.Error()
	case errors.Is(err, capture.ErrNoMatch) && there > 0:
		f.Slug = device.MicNoMatch
	case errors.Is(err, hal.ErrGone):
		f.Slug = device.MicNone
	case errors.Is(err, hal.ErrDenied):
		f.Slug = device.MicDenied
	case errors.Is(err, hal.ErrBusy):
		f.Slug = device.MicBusy
	case errors.Is(err, hal.ErrStuck):
		f.Slug = device.MicStuck
	case errors.Is(err, hal.ErrUnsupported):
		f.Slug = device.MicParameters
	}
	return f
}

// roomFacts says why the box is not in the room that is wanted, or what is bad there.
func roomFacts(s rtc.Stats) []device.Fact {
	switch {
	case s.State == rtc.Idle && !s.Wanted && s.Err != nil:
		return []device.Fact{{Slug: device.RoomThrownOut, Cause: s.Err.Error()}}
	case s.State == rtc.Entering && s.Err != nil:
		return []device.Fact{entryFact(s)}
	case s.State == rtc.Recovering:
		f := []device.Fact{{Slug: device.RoomLost, Cause: "since " + s.Since.UTC().Format(time.RFC3339)}}
		if s.Err != nil && s.Tries > 0 {
			f = append(f, entryFact(s)) // why it does not come back
		} else if s.Err != nil {
			f[0].Cause += ": " + s.Err.Error()
		}
		return f
	case s.State == rtc.In:
		if l := max(s.Video.Loss, s.Audio.Loss); l >= muchLoss {
			return []device.Fact{{Slug: device.RoomLoss, Cause: fmt.Sprintf("%.0f %% do not arrive", 100*l)}}
		}
	}
	return nil
}

// muchLoss is the share of packets that retransmission and FEC do not hide any more.
const muchLoss = 0.1

// entryFact says why the last attempt to enter failed.
func entryFact(s rtc.Stats) device.Fact {
	f := device.Fact{Slug: device.RoomRefused, Cause: s.Err.Error()}
	var no *rtc.Refused
	if errors.As(s.Err, &no) {
		f.Do = no.Hint
	}
	switch c := s.Code; {
	case c == trtc.ServerUnreachable && noNetwork(s.Err):
		f.Slug = device.RoomNoNetwork
	case c == trtc.ServerUnreachable:
		f.Slug = device.RoomUnreachable
	case c == trtc.EnterRoomTimeout, c == trtc.TokenTimeout:
		f.Slug = device.RoomTimeout
	case c == trtc.UserSigCheckFailed, c == trtc.InvalidUserSig, c <= trtc.SigExpired && c > -71000:
		f.Slug = device.RoomToken
	case c == trtc.NoRightToEnter, c == trtc.InvalidPrivateMapKey, c == trtc.NoRightToCreate:
		f.Slug = device.RoomRight
	case c == trtc.RoomNotExist:
		f.Slug = device.RoomMissing
	case c == trtc.EnterRoomRefused:
		f.Slug = device.RoomConflict
	}
	return f
}

// noNetwork tells whether it is the box that has no way out.
func noNetwork(err error) bool {
	for _, e := range []error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
