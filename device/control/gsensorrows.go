package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"anchord/device"
	"anchord/device/config"
)

// gsensor are the commands about the accelerometer.
func gsensor(p Parts) Table {
	g := p.GSensor
	return Table{
		{Name: "gsensor show", Help: "How the box stands, as far as its G-sensor tells: what it measures, which side is up, what it adds to video rotation, what is wrong with it; and the sensors that the kernel has.", Level: Read,
			Run: func(ctx context.Context, _ Args) (Fields, error) {
				f := sensorFields(g.Status())
				found, err := p.Sensors(ctx)
				if err != nil {
					return nil, err
				}
				ids := []string{}
				for _, d := range found {
					ids = append(ids, d.ID)
				}
				return append(f, Field{"found", ids}), nil
			}},
		{Name: "gsensor mode", Help: "Whether the picture follows the box. disable: never, the sensor is not even opened; auto: by quarters, so that viewers see it upright; fixed180: only a box that hangs upside down is put right. What video rotation says always comes on top.", Level: Operate, Example: "gsensor mode auto",
			Args: []Arg{{Name: "mode", Kind: Enum, Of: device.GSensorModes(), Help: "from now on, and after each start"}},
			Run:  change(p, func(w *config.Config, a Args) error { w.GSensor.Mode = a.Word("mode"); return nil })},
		{Name: "gsensor calibrate", Help: "Learn how the sensor is built in: let the box rest with a side up, and say which. top and then left, or top and then lens, are all there is to learn. config reset gsensor.matrix forgets it.", Level: Operate, Example: "gsensor calibrate top",
			Args: []Arg{{Name: "up", Kind: Enum, Of: device.Sides(), Help: "top or left: of the picture as it comes from the camera, mirrored and turned by nothing; lens: the lens looks up"}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				m, err := g.Calibrate(ctx, a.Word("up"))
				if err != nil {
					return nil, sensorError(err)
				}
				if _, err := p.Device.Change(CallerOf(ctx).Name, func(w *config.Config) error { w.GSensor.Matrix = m.String(); return nil }); err != nil {
					return nil, err
				}
				return Fields{{"matrix", m.String()}}, nil
			}},
		{Name: "gsensor record", Help: "Write down what the sensor measures, ten times a second, along its own axes in m/s²: a job, whose output is lines of CSV. anchorctl gsensor record -o FILE waits and writes it.", Level: Operate, Example: "gsensor record 30s",
			Args: []Arg{{Name: "time", Kind: Duration, Min: 1, Max: 300, Optional: true, Default: "10s", Help: "for how long"}},
			Run: p.Jobs.later(func(ctx context.Context, a Args, w io.Writer) (Fields, error) {
				return nil, sensorError(g.Record(ctx, a.Duration("time"), w))
			})},
	}
}

// sensorError gives what went wrong with the sensor a code.
func sensorError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, device.ErrGSensorOff):
		return Errorf(CodeState, "%v: gsensor mode auto", err)
	}
	return Errorf(CodeState, "%v", err)
}

// sensorFields is what gsensor show says of the sensor.
func sensorFields(s device.GSensorStatus) Fields {
	f := Fields{{"mode", s.Settings.Mode}, {"device", s.Settings.Place.Device}, {"adds", int(s.Adds)}}
	if s.Settings.Mode == device.GSensorDisable {
		return append(f, Field{"state", "off"})
	}
	state := string(s.Posture)
	if s.Fault != nil {
		state = "fault"
	}
	f = append(f, Field{"state", state})
	if s.Fault != nil {
		f = append(f, Field{"fault", s.Fault.Error()})
	}
	if s.Info.ID != "" {
		m := s.Settings.Matrix
		if m.Zero() {
			m = s.Info.Mount
		}
		f = append(f, Field{"sensor", s.Info.ID}, Field{"name", s.Info.Name}, Field{"at", s.Info.Port}, Field{"open", s.Open}, Field{"step", s.Info.Step}, Field{"matrix", m.String()})
	}
	if s.Posture != device.Unknown {
		f = append(f, Field{"raw", s.Raw.String()}, Field{"filtered", s.Level.String()}, Field{"angle", tenth(s.Angle)}, Field{"tilt", tenth(s.Tilt)})
	}
	if s.Known {
		f = append(f, Field{"quadrant", int(s.Turn)})
	}
	return append(f, Field{"reads", s.Reads}, Field{"failures", s.Failures})
}

func tenth(x float64) float64 { return math.Round(10*x) / 10 }

// turned makes a command's function of an edit of the turn by hand: it says what the sensor
// makes of it.
func turned(p Parts, edit func(*config.Config, Args) error) call {
	do := change(p, edit)
	return func(ctx context.Context, a Args) (Fields, error) {
		f, err := do(ctx, a)
		if s := p.GSensor.Status(); err == nil && s.Settings.Mode != device.GSensorDisable {
			f = append(f, Field{"note", fmt.Sprintf("gsensor %s adds %d", s.Settings.Mode, s.Adds)})
		}
		return f, err
	}
}
