package v4l2

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"anchord/hal"
)

// tree is where sysfs and device nodes are.
type tree struct{ dev, sys string }

// treeAt gives the tree at dev and sys, or where a real machine has it.
func treeAt(dev, sys string) tree { return tree{cmp.Or(dev, "/dev"), cmp.Or(sys, "/sys")} }

// videoMajor is VIDEO_MAJOR in include/media/v4l2-dev.h.
const videoMajor = 81

// place is what sysfs knows about a video node, without opening it.
type place struct {
	name  string // video0
	label string // the driver's name for the node
	index int    // 0 is the device's main node
	rdev  uint64

	id, made         string // by udev's link, and as made here by its rules
	port, madePort   string
	parent, usbEntry string // directories of the device and of its USB device, if it is one
}

// is tells whether p may have been listed as id.
func (p *place) is(id string) bool {
	for _, own := range []string{p.id, p.made} {
		if rest, ok := strings.CutPrefix(id, own); ok && (rest == "" || strings.HasPrefix(rest, atPort) || strings.HasPrefix(rest, atCount)) {
			return true
		}
	}
	return false
}

// at tells whether p may have been listed at port.
func (p *place) at(port string) bool { return port == p.port || port == p.madePort }

// places reads /sys/class/video4linux, in the order of the nodes' numbers.
func (s *tree) places() ([]place, error) {
	class := filepath.Join(s.sys, "class/video4linux")
	entries, err := os.ReadDir(class)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no driver is loaded
	}
	if err != nil {
		return nil, err
	}
	ids, ports := links(filepath.Join(s.dev, "v4l/by-id")), links(filepath.Join(s.dev, "v4l/by-path"))
	var out []place
	for _, e := range entries {
		if _, ok := number(e.Name()); !ok {
			continue // radio, VBI, sub-devices
		}
		p, err := s.place(filepath.Join(class, e.Name()))
		if err != nil {
			continue // it went away while we looked
		}
		p.id, p.port = cmp.Or(ids[p.name], p.made), cmp.Or(ports[p.name], p.madePort)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b place) int {
		x, _ := number(a.name)
		y, _ := number(b.name)
		return x - y
	})
	return out, nil
}

// byNumber finds the video node with a device number.
func (s *tree) byNumber(rdev uint64) (place, error) {
	all, err := s.places()
	if err != nil {
		return place{}, err
	}
	for _, p := range all {
		if p.rdev == rdev {
			return p, nil
		}
	}
	if unix.Major(rdev) == videoMajor {
		return place{}, fmt.Errorf("%w: nothing is behind its node any more", hal.ErrGone)
	}
	return place{}, fmt.Errorf("%w: device %d:%d is not a video device", hal.ErrUnsupported, unix.Major(rdev), unix.Minor(rdev))
}

// number gives the 3 of video3.
func number(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "video")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

func (s *tree) place(dir string) (place, error) {
	p := place{name: filepath.Base(dir), label: attr(dir, "name")}
	major, minor, ok := strings.Cut(attr(dir, "dev"), ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return place{}, fmt.Errorf("%s has no device number", dir)
	}
	p.rdev = unix.Mkdev(uint32(ma), uint32(mi))
	p.index, _ = strconv.Atoi(attr(dir, "index")) // 0 where old kernels have none
	var err error
	if p.parent, err = filepath.EvalSymlinks(filepath.Join(dir, "device")); err != nil {
		return place{}, err
	}
	p.usbEntry = s.above(p.parent, "idVendor")
	tail := "-video-index" + strconv.Itoa(p.index)
	if p.usbEntry != "" {
		p.made, p.madePort = usbID(p.usbEntry)+tail, s.usbPort(p.parent, p.usbEntry)+tail
	} else {
		at := subsystem(p.parent) + "-" + clean(filepath.Base(p.parent))
		p.made, p.madePort = at+"-"+clean(p.label)+tail, at+tail
	}
	return p, nil
}

// above finds the nearest directory from dir upwards that has a file of that name.
func (s *tree) above(dir, file string) string {
	for ; len(dir) > len(s.sys) && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir
		}
	}
	return ""
}

// usbID makes the name that udev's rules give a link in /dev/v4l/by-id, for machines
// without udev (usb_id and 60-persistent-v4l.rules,
// https://github.com/systemd/systemd/blob/main/src/udev/udev-builtin-usb_id.c).
func usbID(dir string) string {
	id := "usb-" + clean(cmp.Or(attr(dir, "manufacturer"), attr(dir, "idVendor"))) +
		"_" + clean(cmp.Or(attr(dir, "product"), attr(dir, "idProduct")))
	serial := attr(dir, "serial")
	strange := func(r rune) bool { return r < ' ' || r > '~' || r == ',' }
	if serial == "" || strings.ContainsFunc(serial, strange) {
		return id
	}
	return id + "_" + clean(serial)
}

// usbPort names the socket: the controller, the way through the hubs, the interface.
// The bus's number, which changes with the order in which controllers are found, is
// left out (udev's path_id does the same).
func (s *tree) usbPort(parent, usb string) string {
	for dir := usb; len(dir) > len(s.sys) && dir != "/"; dir = filepath.Dir(dir) {
		bus, ok := strings.CutPrefix(filepath.Base(dir), "usb")
		if _, err := strconv.Atoi(bus); !ok || err != nil {
			continue
		}
		controller := filepath.Dir(dir)
		way := strings.TrimPrefix(filepath.Base(parent), bus+"-")
		return subsystem(controller) + "-" + clean(filepath.Base(controller)) + "-usb-0:" + clean(way)
	}
	return "usb-" + clean(filepath.Base(parent))
}

// attr reads a sysfs attribute; "" when there is none.
func attr(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

func subsystem(dir string) string {
	to, err := os.Readlink(filepath.Join(dir, "subsystem"))
	if err != nil {
		return "device"
	}
	return clean(filepath.Base(to))
}

// clean keeps what udev keeps in names (util_replace_chars, with runs of white space
// made one underscore).
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z',
			strings.ContainsRune("#+-.:=@_", r), r > 0x7f && r != 0xfffd:
			return r
		}
		return '_'
	}, strings.Join(strings.Fields(s), "_"))
}

// links maps the nodes that the links in dir point to to the links' names.
func links(dir string) map[string]string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := make(map[string]string, len(entries))
	for _, e := range entries { // sorted, so that of two links it is always the same one
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if node := filepath.Base(to); out[node] == "" {
			out[node] = e.Name()
		}
	}
	return out
}
