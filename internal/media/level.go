package media

// Level is a line of H.264's table A-1.
type Level struct {
	IDC     int // level_idc: ten times the level
	Rate    int // macroblocks a second
	Blocks  int // macroblocks a picture
	Bitrate int // bits a second, baseline profile
}

var levels = [...]Level{
	{10, 1485, 99, 64e3}, {11, 3000, 396, 192e3}, {12, 6000, 396, 384e3}, {13, 11880, 396, 768e3},
	{20, 11880, 396, 2e6}, {21, 19800, 792, 4e6}, {22, 20250, 1620, 4e6},
	{30, 40500, 1620, 10e6}, {31, 108000, 3600, 14e6}, {32, 216000, 5120, 20e6},
	{40, 245760, 8192, 20e6}, {41, 245760, 8192, 50e6}, {42, 522240, 8704, 50e6},
	{50, 589824, 22080, 135e6}, {51, 983040, 36864, 240e6}, {52, 2073600, 36864, 240e6},
}

// TopLevel gives the highest level, 5.2.
func TopLevel() Level { return levels[len(levels)-1] }

// FitLevel gives the lowest level that allows a picture size, a frame rate and a bit rate;
// the highest if none does.
func FitLevel(s Size, fps float64, bitrate int) Level {
	for _, l := range levels {
		if l.Holds(s) && float64(blocks(s))*fps <= float64(l.Rate) && bitrate <= l.Bitrate {
			return l
		}
	}
	return levels[len(levels)-1]
}

// Holds tells whether pictures of that size are within the level.
func (l Level) Holds(s Size) bool {
	// A side is at most √(8 · blocks) macroblocks long (H.264 A.3.1).
	w, h := (s.W+15)/16, (s.H+15)/16
	return w > 0 && h > 0 && w <= l.Blocks && h <= l.Blocks && w*h <= l.Blocks && max(w*w, h*h) <= 8*l.Blocks
}

func blocks(s Size) int { return (s.W + 15) / 16 * ((s.H + 15) / 16) }
