package accel

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

// lis3dh are the files of st_accel, as on a board.
var lis3dh = map[string]string{"name": "lis3dh", "in_accel_x_raw": "0", "in_accel_y_raw": "0", "in_accel_z_raw": "1024",
	"in_accel_x_scale": "0.009806", "in_accel_y_scale": "0.009806", "in_accel_z_scale": "0.009806"}

// tree makes /sys/bus/iio/devices with devices in it.
func tree(t *testing.T, devices ...map[string]string) *Sensors {
	s := New(Config{})
	s.root = t.TempDir()
	for i, d := range devices {
		for file, text := range d {
			put(t, s, i, file, text)
		}
	}
	return s
}

func put(t *testing.T, s *Sensors, device int, file, text string) {
	t.Helper()
	dir := filepath.Join(s.root, fmt.Sprintf("iio:device%d", device))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// more adds files to a device's.
func more(d map[string]string, with ...string) map[string]string {
	out := map[string]string{}
	for k, v := range d {
		out[k] = v
	}
	for i := 0; i < len(with); i += 2 {
		if with[i+1] == "" {
			delete(out, with[i])
			continue
		}
		out[with[i]] = with[i+1]
	}
	return out
}

func TestIIOConforms(t *testing.T) {
	s := tree(t, lis3dh)
	haltest.Accelerometer(t, haltest.AccelerometerRig{
		Open: func(t *testing.T) (hal.Accelerometer, error) {
			return s.Open(t.Context(), hal.SensorPlace{Device: Auto})
		},
		Tilt: func(v media.Vector) {
			for i, x := range []float64{v.X, v.Y, v.Z} {
				put(t, s, 0, "in_accel_"+letters[i:i+1]+"_raw", fmt.Sprint(math.Round(x/0.009806)))
			}
		},
	})
}

// TestIIOFiles: what drivers of the kernel call their files differs.
func TestIIOFiles(t *testing.T) {
	turned, _ := media.ParseMatrix("0, -1, 0; 1, 0, 0; 0, 0, 1")
	shared := more(lis3dh, "in_accel_x_scale", "", "in_accel_y_scale", "", "in_accel_z_scale", "", "in_accel_scale", "0.01")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  media.Vector
		mount media.Matrix
		words string // of an error
	}{
		{"a scale an axis", lis3dh, media.Vector{Z: 1024 * .009806}, media.Identity(), ""},
		{"different ones", more(lis3dh, "in_accel_x_raw", "-100", "in_accel_x_scale", "0.02"), media.Vector{X: -2, Z: 1024 * .009806}, media.Identity(), ""},
		{"a shared scale", shared, media.Vector{Z: 10.24}, media.Identity(), ""},
		{"a shared offset", more(shared, "in_accel_offset", "-10"), media.Vector{X: -.1, Y: -.1, Z: 10.14}, media.Identity(), ""},
		{"an offset of an axis", more(shared, "in_accel_y_offset", "50.5"), media.Vector{Y: .505, Z: 10.24}, media.Identity(), ""},
		{"the matrix of the kind", more(shared, "in_accel_mount_matrix", "0, -1, 0; 1, 0, 0; 0, 0, 1"), media.Vector{Z: 10.24}, turned, ""},
		{"the matrix of all inputs", more(shared, "in_mount_matrix", "0, -1, 0; 1, 0, 0; 0, 0, 1"), media.Vector{Z: 10.24}, turned, ""},
		{"the matrix of the device", more(shared, "mount_matrix", "0, -1, 0; 1, 0, 0; 0, 0, 1"), media.Vector{Z: 10.24}, turned, ""},
		{"a matrix that is none", more(shared, "mount_matrix", "0, 0, 0; 0, 0, 0; 0, 0, 0"), media.Vector{Z: 10.24}, media.Identity(), ""},
		{"no scale", more(shared, "in_accel_scale", ""), media.Vector{}, media.Matrix{}, "no such file"},
		{"a scale of nothing", more(shared, "in_accel_scale", "0.0"), media.Vector{}, media.Matrix{}, "no scale"},
		{"a scale that is no number", more(shared, "in_accel_scale", "NaN"), media.Vector{}, media.Matrix{}, "no number"},
		{"no third axis", more(shared, "in_accel_z_raw", ""), media.Vector{}, media.Matrix{}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := tree(t, c.files).Open(t.Context(), hal.SensorPlace{Device: "iio:lis3dh"})
			if c.words != "" {
				if err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("error %v, want %q", err, c.words)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			v, err := a.Read(t.Context())
			if d := v.Plus(c.want.Times(-1)); err != nil || d.Length() > 1e-9 {
				t.Errorf("it measures %v, %v, want %v", v, err, c.want)
			}
			if m := a.Info().Mount; m != c.mount {
				t.Errorf("matrix %v", m)
			}
		})
	}
	a, err := tree(t, more(lis3dh, "in_accel_y_raw", "many")).Open(t.Context(), hal.SensorPlace{Device: Auto})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := a.Read(t.Context()); err == nil || !strings.Contains(err.Error(), `"many\n" along y`) {
		t.Errorf("it measures %v, %v", v, err)
	}
	a.Close()
}

// TestIIONames: which of several is meant is never guessed.
func TestIIONames(t *testing.T) {
	light := map[string]string{"name": "als", "in_illuminance_raw": "3"}
	s := tree(t, light, lis3dh, more(lis3dh, "name", "accel_3d", "label", "accel-base"), more(lis3dh, "name", "accel_3d", "label", "accel-display"))
	ds, err := s.List(t.Context())
	var ids []string
	for _, d := range ds {
		ids = append(ids, d.ID+" "+d.Name)
	}
	if d := cmp.Diff([]string{"iio:lis3dh lis3dh", "iio:accel-base accel_3d, accel-base", "iio:accel-display accel_3d, accel-display"}, ids); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	for _, c := range []struct {
		name, is string
		want     error
	}{
		{"iio:lis3dh", "iio:lis3dh", nil}, {"iio:accel-display", "iio:accel-display", nil}, {"iio:device3", "iio:accel-display", nil}, {"iio:device1", "iio:lis3dh", nil},
		{"iio:accel_3d", "", hal.ErrUnsupported}, {"auto", "", hal.ErrUnsupported}, {"iio:mma8452", "", hal.ErrGone}, {"iio:als", "", hal.ErrGone}, {"iio:", "", hal.ErrGone},
	} {
		a, err := s.Open(t.Context(), hal.SensorPlace{Device: c.name})
		if err == nil {
			if c.want != nil || a.Info().ID != c.is {
				t.Errorf("%s opens %s", c.name, a.Info().ID)
			}
			a.Close()
		} else if c.want == nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), "iio:lis3dh, iio:accel-base, iio:accel-display") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	twins := tree(t, lis3dh, lis3dh)
	if ds, err := twins.List(t.Context()); err != nil || len(ds) != 2 || ds[0].ID != "iio:device0" || ds[1].ID != "iio:device1" {
		t.Errorf("twins: %v %v", ds, err)
	}
	for _, none := range []*Sensors{tree(t), tree(t, light)} {
		if _, err := none.Open(t.Context(), hal.SensorPlace{Device: Auto}); !errors.Is(err, hal.ErrGone) {
			t.Errorf("none: %v", err)
		}
	}
	none := New(Config{})
	none.root = "/nowhere"
	if ds, err := none.List(t.Context()); err != nil || len(ds) != 0 {
		t.Errorf("no IIO at all: %v %v", ds, err)
	}
}

// TestIIORate: a driver that measures too seldom is told to do it more often, for as long as
// somebody measures.
func TestIIORate(t *testing.T) {
	for _, c := range []struct{ file, was, available, want string }{
		{"sampling_frequency", "1", "1 10 25 50 100 200 400 1600", "50"},
		{"in_accel_sampling_frequency", "12.500000", "1.560000 6.250000 12.500000 100.000000 800.000000", "100.000000"},
		{"sampling_frequency", "10", "400 200 60 30 10", "60"},
		{"sampling_frequency", "5", "5 10 25", "25"},
		{"sampling_frequency", "1", "[0.1 0.1 200]", "50"},
		{"sampling_frequency", "1", "[0.1 0.1 30]", "30"},
		{"sampling_frequency", "1", "[60 1 100]", "60"},
		{"sampling_frequency", "1", "", "50"},
		{"sampling_frequency", "100", "1 10 100", "100"},
		{"sampling_frequency", "often", "1 10 100", "often"},
	} {
		d := more(lis3dh, c.file, c.was)
		if c.available != "" {
			d = more(d, c.file+"_available", c.available)
		}
		s := tree(t, d)
		now := func() string {
			b, err := os.ReadFile(filepath.Join(s.root, "iio:device0", c.file))
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(b))
		}
		a, err := s.Open(t.Context(), hal.SensorPlace{Device: Auto})
		if err != nil {
			t.Fatal(err)
		}
		if n := now(); n != c.want {
			t.Errorf("%s of %s is set to %s, want %s", c.was, c.available, n, c.want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if n := now(); n != c.was {
			t.Errorf("%s is left at %s", c.was, n)
		}
	}
	_, err := tree(t, more(lis3dh, "sampling_frequency", "1", "sampling_frequency_available", "1 2 4")).Open(t.Context(), hal.SensorPlace{Device: Auto})
	if !errors.Is(err, hal.ErrUnsupported) || !strings.Contains(err.Error(), "let udev set") {
		t.Errorf("too seldom: %v", err)
	}
}
