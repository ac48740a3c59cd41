package v4l2

import "anchord/internal/media"

// quirk is what is known of a driver and cannot be asked of it. What can be found out while
// it runs (no forced key pictures, parameter sets only once, bit rates that it ignores, …)
// is found out for every driver, and stands here only where knowing it at once saves
// a viewer from a bad second.
type quirk struct {
	driver string // its name in VIDIOC_QUERYCAP
	why    string // what happens without, and where it is said

	leastBits func(media.Size) int // bit rates below hang it, or it cannot keep them
	mostBits  int                  // bit rates above are refused or not kept
	leastFPS  int                  // nominal rates below hang it
	leastSize uint32               // bytes of a buffer for the stream
	minQP     int32                // 0 is 12: the driver's own lower bound keeps quality down
	deaf      bool                 // takes a new bit rate while it streams and ignores it
}

// quirks has a row a driver; what has no row is ordinary.
var quirks = [...]quirk{
	{
		driver: "bcm2835-codec",
		why: `Raspberry Pi 0 to 4. The firmware hangs at low bit rates, also while it closes
			(https://github.com/raspberrypi/rpicam-apps/issues/664,
			https://github.com/raspberrypi/rpicam-apps/pull/682), refuses 25 Mbit/s below level 4.1
			(https://github.com/raspberrypi/linux/issues/4938) and hangs its users below 9 pictures a
			second (https://github.com/raspberrypi/linux/issues/4739). Its default buffers of 512 KiB
			overflow and come back in pieces, and a lower bound of QP 20 makes 2.4 Mbit/s of 20
			(https://github.com/raspberrypi/rpicam-apps/issues/687); what a client does about it:
			https://github.com/pikvm/ustreamer/blob/master/src/ustreamer/m2m.c.`,
		leastBits: func(s media.Size) int {
			if s.Area() <= 720*576 {
				return 300e3
			}
			return 600e3
		},
		mostBits:  20e6,
		leastFPS:  9,
		leastSize: 1536 << 10,
		minQP:     16,
	},
	{
		driver: "wave5-enc",
		why: `TI J721S2, AM62A and their kin. s_ctrl only stores a bit rate, which is read once
			when the encoder is opened
			(https://github.com/torvalds/linux/blob/master/drivers/media/platform/chips-media/wave5/wave5-vpu-enc.c).`,
		deaf: true,
	},
	{
		driver: "s5p-mfc",
		why: `Samsung Exynos. How large a buffer for the stream is is the user's to choose, whatever the
			picture, and what does not fit is lost
			(https://github.com/torvalds/linux/blob/master/drivers/media/platform/samsung/s5p-mfc/s5p_mfc_enc.c).`,
		leastSize: 1 << 20,
	},
}

// quirkOf gives the row of a driver.
func quirkOf(driver string) quirk {
	for _, q := range quirks {
		if q.driver == driver {
			return q
		}
	}
	return quirk{driver: driver}
}

// bits brings a bit rate into what the driver survives at that size.
func (q *quirk) bits(bitrate int, s media.Size) int {
	if q.mostBits > 0 {
		bitrate = min(bitrate, q.mostBits)
	}
	if q.leastBits != nil {
		bitrate = max(bitrate, q.leastBits(s))
	}
	return bitrate
}

// rate brings a nominal frame rate into what the driver survives.
func (q *quirk) rate(r media.Rate) media.Rate {
	if r.Float() < float64(q.leastFPS) {
		return media.FPS(q.leastFPS)
	}
	return r
}
