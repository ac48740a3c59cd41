package media

import "testing"

func TestFitLevel(t *testing.T) {
	for _, x := range []struct {
		s       Size
		fps     float64
		bitrate int
		want    int
	}{
		{Size{176, 144}, 15, 60e3, 10},
		{Size{320, 240}, 30, 500e3, 13},
		{Size{640, 480}, 30, 2e6, 30}, // with level 2.2 bcm2835 says ESRCH to STREAMON
		{Size{1280, 720}, 30, 3e6, 31},
		{Size{1280, 720}, 60, 3e6, 32},
		{Size{720, 1280}, 30, 3e6, 31},
		{Size{1920, 1080}, 30, 8e6, 40},
		{Size{1920, 1080}, 30, 25e6, 41},
		{Size{1920, 1080}, 60, 8e6, 42},
		{Size{3840, 2160}, 30, 20e6, 51},
		{Size{3840, 2160}, 60, 20e6, 52},
		{Size{3840, 2160}, 120, 20e6, 52}, // none is high enough
	} {
		if l := FitLevel(x.s, x.fps, x.bitrate); l.IDC != x.want {
			t.Errorf("%v at %v, %d bit/s: level_idc %d, want %d", x.s, x.fps, x.bitrate, l.IDC, x.want)
		}
	}
	for _, s := range []Size{{}, {16384, 16}, {1 << 30, 1 << 30}, {-640, -360}} {
		if TopLevel().Holds(s) {
			t.Errorf("%v is within a level", s)
		}
	}
}
