package capture

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"os"
	"sync"
	"time"

	"anchord/internal/media"
)

// StillConfig is what a Still needs.
type StillConfig struct {
	Log *slog.Logger
	// Camera is in whose place it speaks.
	Camera *Camera
	// Out takes its pictures, in the format Pixel.
	Out    *media.Tap[*media.Frame]
	Pixel  media.PixelFormat
	Demand *media.Demand
	// Why gives the lines of the slate while the camera gives nothing: a title, and what to
	// do. It may be nil.
	Why func() []string
}

// StillSettings are what a user chooses.
type StillSettings struct {
	Image string // JPEG or PNG file that is sent while the camera is muted; "" sends nothing
	FPS   int    // of it, 5 to 10 (TRTC's setVideoMuteImage)
	Slate bool   // a picture with words is sent while the camera gives nothing
}

// Still sends a picture that does not move in the camera's place: the mute picture while
// the camera is muted, a slate while it gives nothing though it should. It keeps the size
// of the camera's last picture, so that nothing behind it starts again: viewers see at
// once that the box is well and the camera is not.
type Still struct {
	c StillConfig

	mu    sync.Mutex
	set   StillSettings
	shows string // what is shown; "" is nothing
	err   error  // why the mute picture cannot be shown
	again chan struct{}
}

// Times of a Still.
const (
	slateFPS   = 2
	slateAfter = 1500 * time.Millisecond // that the camera gave nothing
	stillLook  = time.Second             // between looks while there is nothing to do
)

// NewStill makes a Still; nothing is read before Run.
func NewStill(c StillConfig, s StillSettings) *Still {
	return &Still{c: c, set: s, again: make(chan struct{}, 1)}
}

// Set changes the settings.
func (s *Still) Set(n StillSettings) {
	s.mu.Lock()
	s.set = n
	s.mu.Unlock()
	s.Poke()
}

// Poke says that the camera's state may have changed: it is looked at now.
func (s *Still) Poke() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Shows says what is sent in the camera's place: "mute picture", "slate", or "" for nothing;
// and why the mute picture cannot be, if it cannot.
func (s *Still) Shows() (what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shows, s.err
}

// Run sends what has to be sent until ctx ends.
func (s *Still) Run(ctx context.Context) error {
	var r roll
	defer r.close()
	defer s.show("")
	changed, remove := s.c.Demand.Changed()
	defer remove()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.again:
		case <-changed:
		case <-t.C:
		}
		t.Reset(s.step(&r, time.Now()))
	}
}

// roll is what Run keeps from picture to picture.
type roll struct {
	key    string // what the picture is of
	format media.Format
	frame  *media.Frame
	pool   *media.Pool[*media.Frame]
	seq    uint32
	file   image.Image // of the mute picture
	name   string
	frames uint64    // the camera's, when last looked at
	since  time.Time // it has given none more, and somebody wanted them
}

func (r *roll) close() {
	if r.frame != nil {
		r.frame.Release()
		r.frame = nil
	}
}

// step sends a picture if one is due, and says when to look again.
func (s *Still) step(r *roll, now time.Time) time.Duration {
	s.mu.Lock()
	set := s.set
	s.mu.Unlock()
	cam := s.c.Camera.Settings()
	status := s.c.Camera.Status()
	wanted := s.c.Demand.Wish().Subscribed
	if status.Frames != r.frames || !wanted || cam.Off || cam.Muted {
		r.frames, r.since = status.Frames, now
	}
	switch {
	case wanted && cam.Muted && !cam.Off && set.Image != "":
		if img := s.muteImage(r, set.Image); img != nil {
			s.show("mute picture")
			s.send(r, "mute "+set.Image, func(size media.Size) *image.RGBA { return fit(img, size) })
			return time.Second / time.Duration(max(set.FPS, 1))
		}
	case wanted && set.Slate && now.Sub(r.since) >= max(slateAfter, 4*cam.Want.Rate.Interval()):
		var lines []string
		if s.c.Why != nil {
			lines = s.c.Why()
		}
		s.show("slate")
		s.send(r, fmt.Sprintf("slate %q", lines), func(size media.Size) *image.RGBA { return slate(lines, size) })
		return time.Second / slateFPS
	}
	s.show("")
	r.close()
	r.key = ""
	if wanted && set.Slate && !cam.Off && !cam.Muted {
		return stillLook / 2
	}
	return stillLook
}

func (s *Still) show(what string) {
	s.mu.Lock()
	was := s.shows
	s.shows = what
	s.mu.Unlock()
	if was != what {
		s.c.Log.Info("in the camera's place", "sent", what)
	}
}

// muteImage reads the file once; nil says that it cannot be used.
func (s *Still) muteImage(r *roll, name string) image.Image {
	if r.name == name {
		return r.file
	}
	img, err := readImage(name)
	r.name, r.file = name, img
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	if err != nil {
		s.c.Log.Warn("nothing is sent while the camera is muted", "err", err)
	}
	return img
}

// send hands on one picture; paint is called when another one is due than last time.
func (s *Still) send(r *roll, key string, paint func(media.Size) *image.RGBA) {
	f := s.format()
	if r.frame == nil || r.key != key || r.format != f {
		r.close()
		one := media.NewFrames(f, 1).Get()
		toYUV(one, paint(f.Size))
		if r.pool == nil || r.format != f {
			r.pool = media.NewFrames(f, pictures)
		}
		r.frame, r.key, r.format = one, key, f
	}
	g := r.pool.Get()
	if g == nil {
		return // the encoder is behind: the next one will do
	}
	for i, p := range r.frame.Planes {
		copy(g.Planes[i], p)
	}
	r.seq++
	g.Seq = r.seq
	at := media.Now()
	g.Marks[media.Captured], g.Marks[media.Arrived], g.Marks[media.Converted] = at, at, at
	s.c.Out.Put(g)
}

// pictures is how many stills may be with readers at once.
const pictures = 4

// format is that of the camera's last picture, so that encoders notice nothing; else what is
// wanted, upright, and even as chroma needs.
func (s *Still) format() media.Format {
	if f := s.c.Camera.Status().Out; f.Size.W >= 16 && f.Size.H >= 16 && f.Pixel == s.c.Pixel {
		f.Size = media.Size{W: f.Size.W &^ 1, H: f.Size.H &^ 1}
		return f
	}
	cam := s.c.Camera.Settings()
	size := cam.Want.Size.Turned(cam.Turn.Rotation)
	if size.Area() == 0 {
		size = media.Size{W: 640, H: 360}
	}
	f := media.Format{Pixel: s.c.Pixel, Size: media.Size{W: max(size.W&^1, 16), H: max(size.H&^1, 16)}}
	f.Colour = f.Colour.Guess(f.Size)
	return f
}

// Bounds of the mute picture's file.
const (
	maxImageFile = 16 << 20
	maxImageSide = 8192
)

// readImage reads a JPEG or PNG file.
func readImage(name string) (image.Image, error) {
	fi, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the mute picture: %w", err)
	case !fi.Mode().IsRegular() || fi.Size() > maxImageFile:
		return nil, fmt.Errorf("read the mute picture %s: it is no file of at most %d MB", name, maxImageFile>>20)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the mute picture: %w", err)
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	if err == nil && (c.Width > maxImageSide || c.Height > maxImageSide || c.Width < 1 || c.Height < 1) {
		err = fmt.Errorf("it is %dx%d, more than %d on a side", c.Width, c.Height, maxImageSide)
	}
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	var img image.Image
	if err == nil {
		img, _, err = image.Decode(f)
	}
	if errors.Is(err, image.ErrFormat) {
		err = errors.New("it is neither JPEG nor PNG")
	}
	if err != nil {
		return nil, fmt.Errorf("read the mute picture %s: %w", name, err)
	}
	return img, nil
}
