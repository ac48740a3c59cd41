package media

import (
	"math"
	"testing"
)

func TestMatrix(t *testing.T) {
	quarter := Matrix{0, -1, 0, 1, 0, 0, 0, 0, 1} // about z
	for _, c := range []struct {
		text string
		want Matrix // zero: an error
	}{
		{"1, 0, 0; 0, 1, 0; 0, 0, 1", Identity()},
		{"0, -1, 0; 1, 0, 0; 0, 0, 1\n", quarter}, // as sysfs has it
		{"[0, -1, 0; 1, 0, 0; 0, 0, 1]", quarter},
		{"0 -1 0 1 0 0 0 0 1", quarter},
		{"1, 0, 0; 0, 0.866, 0.5; 0, -0.5, 0.866", Matrix{1, 0, 0, 0, .866, .5, 0, -.5, .866}},
		{"-1, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{-1, 0, 0, 0, 1, 0, 0, 0, 1}}, // mirrors: a screen's frame is not a lens's
		{"", Matrix{}},
		{"1, 0, 0; 0, 1, 0; 0, 0", Matrix{}},
		{"1, 0, 0; 0, 1, 0; 0, 0, 1, 0", Matrix{}},
		{"0, 0, 0; 0, 0, 0; 0, 0, 0", Matrix{}},
		{"1, 0, 0; 1, 0, 0; 0, 0, 1", Matrix{}},
		{"2, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{}},
		{"NaN, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{}},
		{"Inf, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{}},
		{"x, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{}},
		{"[1, 0, 0; 0, 1, 0; 0, 0, 1", Matrix{}},
	} {
		got, err := ParseMatrix(c.text)
		if got != c.want || (err == nil) == c.want.Zero() {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
	if v := quarter.Apply(Vector{1, 2, 3}); v != (Vector{-2, 1, 3}) {
		t.Errorf("turned: %v", v)
	}
	half := quarter.After(quarter)
	if half.String() != "-1, 0, 0; 0, -1, 0; 0, 0, 1" {
		t.Errorf("twice: %v", half)
	}
	if m := (Matrix{.70710678, -1e-9}).Rounded(); m.String() != "0.7071, 0, 0; 0, 0, 0; 0, 0, 0" {
		t.Errorf("rounded: %v", m)
	}
	pitch := Matrix{1, 0, 0, 0, 0, -1, 0, 1, 0}
	v := Vector{1, 2, 3}
	if got, want := pitch.After(quarter).Apply(v), pitch.Apply(quarter.Apply(v)); got != want {
		t.Errorf("one after the other: %v, want %v", got, want)
	}
	if c := (Vector{X: 1}).Cross(Vector{Y: 1}); c != (Vector{Z: 1}) || math.Abs((Vector{2, 3, 6}).Length()-7) > 1e-12 {
		t.Errorf("x × y = %v", c)
	}
}

func FuzzMatrix(f *testing.F) {
	for _, s := range []string{"1, 0, 0; 0, 1, 0; 0, 0, 1", "[0 -1 0;1 0 0;0 0 1]", "1e400 0 0 0 1 0 0 0 1", "-0, 0, 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMatrix(s)
		if err != nil {
			return
		}
		again, err := ParseMatrix(m.String())
		if err != nil {
			t.Fatalf("%q gives %v, which is not read: %v", s, m, err)
		}
		if again != m {
			t.Fatalf("%q: %v, then %v", s, m, again)
		}
	})
}
