// Package hal says what hardware must be able to do: cameras, microphones, video
// encoders and accelerometers, and how they are found. The packages below it do it; package haltest
// proves it, with the same suite for every one.
//
// Hardware is never trusted: what was asked for and what was granted are two things,
// every call can fail at any time, and a device can go away between two calls.
package hal

import (
	"context"
	"errors"

	"anchord/internal/media"
)

// Errors that somebody acts on. Implementations wrap them.
var (
	// ErrGone says that the device was unplugged, or its server ended. It may return.
	ErrGone = errors.New("device is gone")
	// ErrNoServer says that the server behind the devices does not answer, so that nothing
	// is known of them. It is an ErrGone as well.
	ErrNoServer error = noServer{}
	// ErrBusy says that another program has the device.
	ErrBusy = errors.New("device is in use")
	// ErrDenied says that the daemon may not open the device.
	ErrDenied = errors.New("no permission")
	// ErrUnsupported says that the device cannot do what was asked, ever.
	ErrUnsupported = errors.New("not supported by the device")
	// ErrStuck says that the device is there and gives nothing.
	ErrStuck = errors.New("device gives no data")
	// ErrStopped says that the stream was ended by its context or by Close.
	ErrStopped = errors.New("stopped")
)

type noServer struct{}

func (noServer) Error() string        { return "nobody answers" }
func (noServer) Is(target error) bool { return target == ErrGone }

// Device is a camera or microphone that is plugged in now.
type Device struct {
	ID   string // stable across reboots and replugs where the device allows (by-id name, PulseAudio source name)
	Name string // what the maker calls it
	Node string // what is opened now, for instance /dev/video0; may change at each plug
	Port string // the socket it is plugged into (by-path name); "" when not known
}

// Finder lists the devices of one kind.
type Finder interface {
	// List gives what is plugged in now, in a stable order.
	List(ctx context.Context) ([]Device, error)
	// Watch blocks until ctx ends and calls changed, on its own goroutine, after each
	// plug or unplug (at least once after Watch has begun to listen, so that nothing is
	// missed between List and Watch). It does not poll. What it returns after ctx has ended
	// means nothing.
	Watch(ctx context.Context, changed func()) error
}

// Cameras finds and opens cameras.
type Cameras interface {
	Finder
	// Open opens the device by its Node. Errors: ErrGone, ErrBusy, ErrDenied,
	// ErrUnsupported (not a capture device).
	Open(ctx context.Context, d Device) (Camera, error)
}

// Mode is a way in which a camera can stream.
type Mode struct {
	Pixel media.PixelFormat
	Size  media.Size
	Rate  media.Rate // the most it does in this format and size
}

// Camera is one opened camera.
type Camera interface {
	// Modes lists what the camera offers, compressed formats that nobody here can use
	// left out.
	Modes() ([]Mode, error)
	// Start begins to stream, once, and says what the driver really gave. The stream
	// lives as long as ctx: when it ends Next gives ErrStopped.
	Start(ctx context.Context, m Mode) (granted Mode, err error)
	// Next waits for a frame; the caller owns one reference. Planes are lent from the
	// driver: a reader that keeps frames makes the camera run dry, so it keeps none
	// longer than it takes to convert or encode them. Frames that the driver marks as
	// broken, or that are too short, are counted and not delivered. Errors: ErrGone
	// when unplugged, ErrStuck when no frame came for the time that Start allows
	// (2 s or 4 intervals, whichever is longer), ErrStopped.
	Next() (*media.Frame, error)
	// Faults counts frames that were not delivered, by reason.
	Faults() Faults
	// Close stops the stream, waits until all frames are home, and gives everything back.
	// It may be called at any time, also after ErrGone, once, but not while Next runs.
	Close() error
}

// Faults counts a camera's frames that were not delivered, and those whose time could not
// be believed.
type Faults struct {
	Lost   uint64 // gaps in the device's sequence numbers
	Broken uint64 // marked as broken by the driver
	Short  uint64 // fewer bytes than the format needs
	Stale  uint64 // delivered with a time of our own: the stamp went back, lies in the future or is far off
}

// Microphones finds and opens microphones.
type Microphones interface {
	Finder
	// Open opens d and nothing else: when d goes away the stream ends, it never moves to
	// another microphone. Errors: ErrGone, ErrBusy, ErrDenied, ErrUnsupported (a monitor of
	// a loudspeaker), ErrStopped.
	Open(ctx context.Context, d Device) (Microphone, error)
}

// SoundFormat is samples a second and channels.
type SoundFormat struct{ Rate, Channels int }

// Microphone is one opened microphone.
type Microphone interface {
	// Start begins to record, once, in blocks of 20 ms, and says what was granted. The
	// stream lives as long as ctx. Errors: those of Open.
	Start(ctx context.Context, f SoundFormat) (granted SoundFormat, err error)
	// Next waits for the next 20 ms; the caller owns one reference. Marks[Captured] is the
	// time of the first sample. Errors: ErrGone, ErrStuck when nothing came for 500 ms (the
	// stream may still go on, so Next may be called again), ErrStopped.
	Next() (*media.Sound, error)
	// Close ends the stream and gives everything back, once, but not while Next runs.
	Close() error
}

// Volumed is an extra of a Microphone, found by assertion: the device's own volume, which is
// another thing than a gain in software, and its own mute switch. Its methods may be called
// from any goroutine between Start and Close, also while Next runs, and take as long as the
// sound server does.
type Volumed interface {
	// Volume gives the device's volume in percent of what it calls full, and whether it is
	// muted there: at the device, by its server or by somebody's mixer.
	Volume() (percent int, muted bool, err error)
	// SetVolume sets it, 0 to 100, and gives what was read back. It leaves the mute as it is.
	SetVolume(percent int) (granted int, err error)
}

// VideoEncoders opens encoders of one make.
type VideoEncoders interface {
	// Name is a short word for commands and logs, for instance "openh264".
	Name() string
	// Inputs lists the pixel formats that it takes, best first.
	Inputs() []media.PixelFormat
	// Open makes an encoder and says what was granted.
	Open(ctx context.Context, c VideoConfig) (VideoEncoder, VideoConfig, error)
}

// Software is an extra of a VideoEncoders: it codes on the processor, so that it is always
// there, never hangs, and is the last that is tried.
type Software interface{ Software() }

// VideoConfig is what an encoder is asked for.
type VideoConfig struct {
	Input      media.Format // pictures come in this format, size and colour
	Rate       media.Rate   // nominal; time stamps rule
	Bitrate    int          // bits a second
	MinBitrate int          // the lowest that SetRate will ask for; 0 is unknown
	Threads    int          // 0: the encoder decides

	// Where pictures will lie, as far as it is known (see media.Frame), so that an encoder
	// that can read them there need not copy them. Others are taken too.
	Memory media.Memory
	Stride [3]int
}

// EncoderFaults counts what an encoder did beside giving a picture for a picture, and how
// it got at them. An encoder that counts has a method Faults() EncoderFaults, which may be
// called at any time from any goroutine.
type EncoderFaults struct {
	Copied   uint64 // pictures that were copied into the encoder's memory
	Imported uint64 // pictures that it read where they lay
	Skipped  uint64 // pictures that it gave nothing for
	Late     uint64 // pictures that were left out to catch up with it
	Damaged  uint64 // pieces of stream that it marked as damaged or that are none
	Stamps   uint64 // pieces of stream whose time stamp it had changed
	Resets   uint64 // key pictures that were made by starting its stream anew
	Reopened uint64 // times that it was opened anew, for whatever reason
	Ignored  uint64 // bit rates that it took and did not keep
}

// VideoEncoder is one opened H.264 encoder. Its stream is constrained baseline without
// B pictures: each picture can be decoded when it arrives. It is used by one goroutine
// at a time.
type VideoEncoder interface {
	// Encode codes one picture, as an IDR picture with parameter sets when key is set, and
	// gives one access unit; the caller owns one reference of it. A nil packet without an
	// error means that the encoder skipped the picture to keep its bit rate, or wants more.
	// It returns within half a second (2 s for the first picture), with an error that wraps
	// ErrStuck when the hardware does not answer; then nothing but Close is called, which
	// returns within a second whatever the hardware does.
	// The frame must have the format the encoder was opened for and may be retained while
	// the hardware reads it.
	Encode(f *media.Frame, key bool) (*media.Packet, error)
	// SetRate changes bit rate and frame rate from the next picture on and says what was
	// granted.
	SetRate(bitrate int, r media.Rate) (granted int, err error)
	// Close gives everything back. Packets that are still out stay valid.
	Close() error
}

// Accelerometers opens accelerometers. They are soldered in, so nobody watches for new ones:
// who misses one tries again.
type Accelerometers interface {
	// List gives those that the kernel has a driver for. Nothing is measured for it, and no
	// bus is touched.
	List(ctx context.Context) ([]Device, error)
	// Open makes the one at that place ready to measure, and touches no other. It takes a few
	// seconds at most. Errors: ErrGone (there is none, or nobody answers), ErrBusy (another
	// program or a driver of the kernel has it), ErrDenied, ErrUnsupported (another chip is
	// there, or the place names none or several), ErrStuck (the bus hangs).
	Open(ctx context.Context, p SensorPlace) (Accelerometer, error)
}

// SensorPlace says where an accelerometer is.
type SensorPlace struct {
	// Device is "auto", the only one that the kernel has a driver for; "iio:NAME", one of
	// them by its name, label or number; "i2c:BUS:CHIP", a chip without a driver at Address;
	// "test", one that only exists in memory.
	Device  string
	Address int // 7 bits; of i2c alone
}

// SensorInfo says what an accelerometer is.
type SensorInfo struct {
	Device
	// Mount turns what it measures into the box's frame, as far as the board's description
	// tells; else it is the identity.
	Mount media.Matrix
	// Step is the smallest difference that it can measure, in m/s².
	Step float64
}

// Accelerometer is one opened accelerometer. It is used by one goroutine at a time.
type Accelerometer interface {
	// Info says what it is.
	Info() SensorInfo
	// Read gives the newest measurement, along the chip's own axes, in m/s². At rest it points
	// up, as long as Gravity is: that is what keeps the chip from falling. It returns within
	// two seconds. One that fails may be followed by one that does not. Errors: ErrGone (no
	// answer), ErrBusy, ErrStuck (the bus hangs: then nothing but Close is called), ctx's.
	Read(ctx context.Context) (media.Vector, error)
	// Close lets the chip rest and gives everything back, once, within two seconds.
	Close() error
}
