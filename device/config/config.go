// Package config reads the daemon's TOML file. Every fault in it is reported, all at
// once, with its place, its value and what is allowed.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"anchord/internal/media"
	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// Config is the whole file. Its tables follow the words that users know from the
// commands, not the daemon's parts: one table can serve several parts.
type Config struct {
	Room    Room    `toml:"room"`
	ICE     ICE     `toml:"ice"`
	Camera  Camera  `toml:"camera"`
	Mic     Mic     `toml:"mic"`
	Video   Video   `toml:"video"`
	Encoder Encoder `toml:"encoder"`
	GSensor GSensor `toml:"gsensor"`
	Control Control `toml:"control"`
	Rooms   Rooms   `toml:"rooms"`
	Store   Store   `toml:"store"`
	Log     Log     `toml:"log"`
}

// Room is the room to be in.
type Room struct {
	URL       string `toml:"url"`
	ID        string `toml:"id"`
	User      string `toml:"user"`
	TokenFile string `toml:"token_file"`
	AutoEnter bool   `toml:"auto_enter"`
}

// ICE says how the network is crossed.
type ICE struct {
	Servers []string `toml:"servers"`
}

// Camera says which camera is used.
type Camera struct {
	Match     string `toml:"match"`
	Format    string `toml:"format"`
	Stopped   bool   `toml:"stopped"`
	Muted     bool   `toml:"muted"`
	MuteImage string `toml:"mute_image"`
	MuteFPS   int    `toml:"mute_fps"`
	Slate     bool   `toml:"slate"`
}

// Mic says which microphone is used, and how it sounds.
type Mic struct {
	Match   string `toml:"match"`
	Volume  int    `toml:"volume"`
	Device  int    `toml:"device_volume"`
	Quality string `toml:"quality"`
	Server  string `toml:"server"`
	Stopped bool   `toml:"stopped"`
	Muted   bool   `toml:"muted"`
}

// Video says what the picture is like.
type Video struct {
	Resolution string `toml:"resolution"`
	FPS        int    `toml:"fps"`
	Bitrate    int    `toml:"bitrate"`
	MinBitrate int    `toml:"min_bitrate"`
	Rotation   int    `toml:"rotation"`
	Mirror     bool   `toml:"mirror"`
}

// Encoder says which encoders may be used.
type Encoder struct {
	Order   []string `toml:"order"`
	Threads int      `toml:"threads"`
}

// GSensor says whether the picture follows the box, and by which accelerometer.
type GSensor struct {
	Mode    string `toml:"mode"`
	Device  string `toml:"device"`
	Address string `toml:"address"`
	Matrix  string `toml:"matrix"`
}

// Control says how the daemon is told what to do.
type Control struct {
	Socket string `toml:"socket"`
	HTTP   HTTP   `toml:"http"`
}

// HTTP is the port on TCP.
type HTTP struct {
	Listen    string `toml:"listen"`
	TokenFile string `toml:"token_file"`
}

// Rooms is the embedded room server.
type Rooms struct {
	Enabled   bool     `toml:"enabled"`
	Listen    string   `toml:"listen"`
	UDP       string   `toml:"udp"`
	Advertise []string `toml:"advertise"`
	Open      bool     `toml:"open"`
	Viewers   int      `toml:"viewers"`
}

// Store is where what commands change is kept.
type Store struct {
	Path string `toml:"path"`
}

// Log says how much is logged, and where besides stderr.
type Log struct {
	Level string `toml:"level"`
	File  string `toml:"file"`
	MaxMB int    `toml:"max_mb"`
}

// Default gives the values that hold when the file says nothing. Where TRTC has a
// default it is TRTC's.
func Default() Config {
	return Config{
		Room:    Room{URL: "embedded:", ID: "", User: ""},
		ICE:     ICE{Servers: []string{}},
		Camera:  Camera{Match: "any", Format: "auto", MuteFPS: 5, Slate: true},
		Mic:     Mic{Match: "any", Volume: 100, Device: -1, Quality: "default"},
		Video:   Video{Resolution: "640x360", FPS: trtc.DefaultFPS},
		Encoder: Encoder{Order: []string{"openh264"}},
		GSensor: GSensor{Mode: "disable", Device: "auto"},
		Control: Control{Socket: "/run/anchord/control.sock", HTTP: HTTP{TokenFile: ""}},
		Rooms:   Rooms{UDP: "127.0.0.1:0", Advertise: []string{}, Viewers: 50},
		Store:   Store{Path: "auto"},
		Log:     Log{Level: "info", MaxMB: 10},
	}
}

// Qualities of sound, as TRTCAudioQuality has them, in bits a second and channels.
func (m Mic) Sound() (bitrate, channels int, music bool) {
	switch m.Quality {
	case "speech":
		return 18000, 1, false
	case "music":
		return 128000, 2, true
	}
	return 50000, 1, false
}

// Size gives the resolution; valid after Validate.
func (v Video) Size() media.Size {
	r, err := trtc.ParseResolution(v.Resolution)
	if err != nil {
		return media.Size{W: 640, H: 360}
	}
	return media.Size{W: r.W, H: r.H}
}

// Bits gives the bit rates in bits a second: what the file says, else what is recommended
// for the size.
func (v Video) Bits() (target, least int) {
	target, least = recommend(v.Size(), v.FPS)
	if v.Bitrate != 0 {
		target, least = 1000*v.Bitrate, 250*v.Bitrate
	}
	if v.MinBitrate != 0 {
		least = 1000 * v.MinBitrate
	}
	return target, min(least, target)
}

// recommend gives the bit rates for a size, in bits a second: TRTC's recommendation for
// live rooms, which is made for 15 frames a second and grows with the rate beyond it,
// half as fast; and a quarter of it as the least.
func recommend(s media.Size, fps int) (target, least int) {
	target = 1000 * trtc.Nearest(s.W, s.H).LiveKbps
	if fps > 15 {
		target = target * (15 + fps) / 30
	}
	return target, target / 4
}

// Pixel gives the capture format asked for; 0 for the best.
func (c Camera) Pixel() media.PixelFormat {
	switch c.Format {
	case "yuyv":
		return media.YUYV
	case "mjpeg":
		return media.MJPG
	case "nv12":
		return media.NV12
	case "yu12":
		return media.YU12
	}
	return 0
}

// Fault is one thing that is wrong with the file.
type Fault struct {
	Key     string // dotted; "" for the file as a whole
	Value   string
	Problem string // what is wrong and what is allowed
	Line    int    // from 1; 0 when not known
	Column  int
	Code    trtc.Code // TRTC's, where it has one for this
}

// Validate gives everything that is wrong with the values.
func (c *Config) Validate() []Fault {
	var f []Fault
	bad := func(key string, value any, format string, a ...any) {
		f = append(f, Fault{Key: key, Value: Shown(key, fmt.Sprint(value)), Problem: fmt.Sprintf(format, a...)})
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad(key, value, "allowed: %s", strings.Join(allowed, ", "))
		}
	}
	within := func(key string, value, low, high int, unit string) {
		if value < low || value > high {
			bad(key, value, "allowed: %d to %d%s", low, high, unit)
		}
	}
	listen := func(key, value string) {
		if value == "" {
			return
		}
		if _, port, err := net.SplitHostPort(value); err != nil || !isPort(port) {
			bad(key, value, "allowed: host:port, for instance 127.0.0.1:8080")
		}
	}
	id := func(key, value string, err error) {
		if err != nil {
			bad(key, value, "%v", err)
			if e := (*trtc.IDError)(nil); errors.As(err, &e) {
				f[len(f)-1].Code = e.Code
			}
		}
	}
	if err := CheckRoomURL(c.Room.URL); err != nil {
		bad("room.url", c.Room.URL, "%v", err)
	}
	if t := c.Room.TokenFile; strings.HasPrefix(t, "credential:") && !secret.IsCredential(t) {
		bad("room.token_file", t, "allowed: a file's path, or credential:NAME for a credential of systemd's, of letters, digits, - _ and .")
	}
	if c.Room.ID != "" {
		id("room.id", c.Room.ID, trtc.CheckRoom(c.Room.ID))
	}
	if c.Room.User != "" {
		id("room.user", c.Room.User, trtc.CheckUser(c.Room.User))
	}
	if c.Room.AutoEnter && (c.Room.ID == "" || c.Room.User == "") {
		bad("room.auto_enter", true, "needs room.id and room.user")
	}
	if c.Room.AutoEnter && c.Room.URL == "embedded:" && !c.Rooms.Enabled {
		bad("room.url", c.Room.URL, "the room is in this daemon: set rooms.enabled = true, or name another address")
	}
	for _, s := range c.ICE.Servers {
		if !isSTUN(s) {
			bad("ice.servers", s, "allowed: stun:host, stun:host:port; a TURN server needs a password, which comes from the room's server")
		}
	}
	oneOf("camera.format", c.Camera.Format, "auto", "mjpeg", "yuyv", "nv12", "yu12")
	within("camera.mute_fps", c.Camera.MuteFPS, 5, 10, " frames a second")
	if i := c.Camera.MuteImage; i != "" && !filepath.IsAbs(i) {
		bad("camera.mute_image", i, "allowed: a file's whole path, a JPEG or PNG; empty: no picture is sent")
	}
	within("mic.volume", c.Mic.Volume, 0, 150, " percent")
	within("mic.device_volume", c.Mic.Device, -1, 100, " percent; -1 leaves the device as it is")
	oneOf("mic.quality", c.Mic.Quality, "speech", "default", "music")
	if _, err := trtc.ParseResolution(c.Video.Resolution); err != nil {
		bad("video.resolution", c.Video.Resolution, "%v", err)
	}
	within("video.fps", c.Video.FPS, 1, 60, " frames a second")
	if c.Video.Bitrate != 0 {
		within("video.bitrate", c.Video.Bitrate, 50, 20000, " kbit/s, or 0 for TRTC's recommendation")
	}
	if c.Video.MinBitrate < 0 || c.Video.MinBitrate > 20000 || c.Video.Bitrate != 0 && c.Video.MinBitrate > c.Video.Bitrate {
		bad("video.min_bitrate", c.Video.MinBitrate, "allowed: 0 (automatic) up to video.bitrate, in kbit/s")
	}
	if !media.Rotation(c.Video.Rotation).Valid() {
		bad("video.rotation", c.Video.Rotation, "allowed: 0, 90, 180, 270 (degrees clockwise)")
	}
	if len(c.Encoder.Order) == 0 {
		bad("encoder.order", "[]", "needs at least one of: openh264")
	}
	for _, e := range c.Encoder.Order {
		oneOf("encoder.order", e, "openh264")
	}
	within("encoder.threads", c.Encoder.Threads, 0, 16, " (0: by the board)")
	f = append(f, c.GSensor.check()...)
	switch s := c.Control.Socket; {
	case s == "" || s[0] == '@':
		// Both would be sockets without a file, which have no mode.
		bad("control.socket", s, "needs a path, for instance /run/anchord/control.sock")
	case len(s) > longestSocket:
		bad("control.socket", s, "a socket's path has at most %d bytes", longestSocket)
	}
	listen("control.http.listen", c.Control.HTTP.Listen)
	if h, _, err := net.SplitHostPort(c.Control.HTTP.Listen); err == nil && !loopback(h) {
		bad("control.http.listen", c.Control.HTTP.Listen, "the control port has no TLS: allowed are 127.0.0.1, [::1] and localhost")
	}
	listen("rooms.listen", c.Rooms.Listen)
	listen("rooms.udp", c.Rooms.UDP)
	if h, _, err := net.SplitHostPort(c.Rooms.Listen); err == nil && !loopback(h) && !c.Rooms.Open {
		bad("rooms.listen", c.Rooms.Listen, "anybody who reaches this address could watch: set rooms.open = true to allow that")
	}
	for _, a := range c.Rooms.Advertise {
		if _, err := netip.ParseAddr(a); err != nil {
			bad("rooms.advertise", a, "allowed: IP addresses")
		}
	}
	within("rooms.viewers", c.Rooms.Viewers, 1, 1000, "")
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	if f := c.Log.File; f != "" && (!filepath.IsAbs(f) || filepath.Clean(f) != f || f == "/") {
		bad("log.file", f, "allowed: a file's whole path, for instance /var/log/anchord/anchord.log; empty: no file")
	}
	within("log.max_mb", c.Log.MaxMB, 1, 1000, " MB")
	return f
}

// CheckRoomURL says what is wrong with a room address.
func CheckRoomURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Errorf("not a URL; allowed: embedded:, whip+https://host/path, whip+http://host/path")
	case s == "embedded:":
		return nil
	case u.Scheme == "whip+https" || u.Scheme == "whip+http":
		if p := u.Port(); u.Hostname() == "" || p != "" && !isPort(p) {
			return fmt.Errorf("no host, or not a port; for instance whip+https://example.org/whip/101")
		}
		if strings.Contains(s, secret.Shown) {
			return fmt.Errorf("%s is shown in place of a secret: give the address itself", secret.Shown)
		}
		if u.Fragment != "" {
			return fmt.Errorf("nothing may follow a #; write %%23 for it")
		}
		if u.User != nil {
			return fmt.Errorf("secrets do not belong in the address: put the token into room.token_file")
		}
		return nil
	}
	return fmt.Errorf("allowed: embedded:, whip+https://host/path, whip+http://host/path")
}

// longestSocket is what fits into sockaddr_un with its final zero
// (https://man7.org/linux/man-pages/man7/unix.7.html).
const longestSocket = 107

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// isSTUN tells whether s is a STUN server's address
// (https://www.rfc-editor.org/rfc/rfc7064).
func isSTUN(s string) bool {
	scheme, rest, _ := strings.Cut(s, ":")
	if scheme != "stun" && scheme != "stuns" {
		return false
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port, err = net.SplitHostPort(rest + ":3478")
	}
	return err == nil && host != "" && isPort(port) && !strings.ContainsAny(host, "/?@ ")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
