package v4l2

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// The multicast groups of NETLINK_KOBJECT_UEVENT: what the kernel says at once, and what
// udev says when it has made links and permissions.
const (
	groupKernel uint32 = 1
	groupUdev   uint32 = 2
)

// uevent is what matters of a kobject event
// (https://docs.kernel.org/core-api/kobject.html#uevents).
type uevent struct{ action, subsystem, devname string }

// udevMagic stands, in network order, behind "libudev\0"
// (https://github.com/systemd/systemd/blob/main/src/libsystemd/sd-device/device-monitor.c).
const udevMagic = 0xfeedcafe

// parseUevent reads one message of a group; ok is false for anything that is not one.
// The data come from a socket that other programs may write to.
func parseUevent(b []byte, group uint32) (e uevent, ok bool) {
	if group == groupUdev {
		// char prefix[8]; be32 magic; u32 header_size, properties_off, properties_len; …
		if len(b) < 24 || !bytes.HasPrefix(b, []byte("libudev\x00")) || binary.BigEndian.Uint32(b[8:]) != udevMagic {
			return uevent{}, false
		}
		off, n := uint64(binary.NativeEndian.Uint32(b[16:])), uint64(binary.NativeEndian.Uint32(b[20:]))
		if off < 24 || off+n > uint64(len(b)) {
			return uevent{}, false
		}
		b = b[off : off+n]
	} else {
		// "add@/devices/…\0" and then the same properties
		head, rest, found := bytes.Cut(b, []byte{0})
		if !found || !bytes.Contains(head, []byte("@/")) {
			return uevent{}, false
		}
		b = rest
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{0})
		key, value, _ := strings.Cut(string(line), "=")
		switch key {
		case "ACTION":
			e.action = value
		case "SUBSYSTEM":
			e.subsystem = value
		case "DEVNAME":
			e.devname = value
		}
	}
	return e, e.action != "" && e.subsystem != ""
}

// camera tells whether a camera came or went.
func (e uevent) camera() bool {
	return e.subsystem == "video4linux" && (e.action == "add" || e.action == "remove")
}
