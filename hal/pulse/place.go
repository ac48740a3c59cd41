package pulse

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// place is an address at which a server may listen.
type place struct{ network, address string }

func (p place) String() string { return p.network + ":" + p.address }

// places gives the addresses to try, in order.
func places(c Config) ([]place, error) {
	if c.Server != "" {
		return parseServer(c.Server, true)
	}
	if s := os.Getenv("PULSE_SERVER"); s != "" {
		p, err := parseServer(s, false)
		if err != nil {
			err = fmt.Errorf("$PULSE_SERVER: %w", err)
		}
		return p, err
	}
	var list []place
	add := func(dir, file string) {
		if filepath.IsAbs(dir) {
			p := place{"unix", filepath.Join(dir, file)}
			for _, o := range list {
				if o == p {
					return
				}
			}
			list = append(list, p)
		}
	}
	add(os.Getenv("PULSE_RUNTIME_PATH"), "native")
	add(os.Getenv("XDG_RUNTIME_DIR"), "pulse/native")
	add("/run/user/"+strconv.Itoa(os.Getuid()), "pulse/native")
	add("/run/pulse", "native")
	add("/var/run/pulse", "native")
	if id := machineID(); id != "" {
		add(os.Getenv("HOME"), ".config/pulse/"+id+"-runtime/native")
	}
	return list, nil
}

// parseServer reads a server string: addresses with spaces between them, each with an
// optional {host} in front that says on which machine it is meant.
func parseServer(s string, tcp bool) ([]place, error) {
	var list []place
	for _, w := range strings.Fields(s) {
		full := w
		if strings.HasPrefix(w, "{") {
			host, rest, ok := strings.Cut(w[1:], "}")
			if !ok {
				return nil, fmt.Errorf("server %q: no } after {", full)
			}
			if name, _ := os.Hostname(); host != name && host != machineID() {
				continue
			}
			w = rest
		}
		network, address, ok := strings.Cut(w, ":")
		switch {
		case strings.HasPrefix(w, "/"):
			network, address = "unix", w
		case ok && network == "unix" && strings.HasPrefix(address, "/"):
		case ok && (network == "tcp" || network == "tcp4" || network == "tcp6") && address != "":
			if !tcp {
				return nil, fmt.Errorf("server %q: sound over TCP is not encrypted; write the address into the configuration if it is wanted", full)
			}
			if i := strings.LastIndexByte(address, ':'); i < 0 || strings.HasSuffix(address, "]") {
				address += ":4713" // PA_NATIVE_DEFAULT_PORT
			}
		default:
			return nil, fmt.Errorf("server %q: want unix:/path or tcp:host:port", full)
		}
		if len(address) > 255 || strings.ContainsRune(address, 0) {
			return nil, fmt.Errorf("server %q: address is not usable", full)
		}
		list = append(list, place{network, address})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("server %q: no address for this machine", s)
	}
	return list, nil
}

// machineID is what libpulse calls this machine by
// (https://www.freedesktop.org/software/systemd/man/latest/machine-id.html).
func machineID() string {
	for _, f := range [...]string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(f); err == nil {
			if id := strings.TrimSpace(string(b)); id != "" && !strings.ContainsAny(id, "/\x00") {
				return id
			}
		}
	}
	return ""
}

// cookieSize is PA_NATIVE_COOKIE_LENGTH; a server hangs up on any other length.
const cookieSize = 256

// cookie reads the server's key. Without one it gives zeros, which is what a server that
// knows us by our user does not look at.
func cookie(c Config) ([]byte, error) {
	if c.Cookie != "" {
		return readCookie(c.Cookie)
	}
	if f := os.Getenv("PULSE_COOKIE"); f != "" {
		return readCookie(f)
	}
	if home := os.Getenv("HOME"); home != "" {
		for _, f := range [...]string{".config/pulse/cookie", ".pulse-cookie"} {
			if b, err := readCookie(filepath.Join(home, f)); err == nil {
				return b, nil
			}
		}
	}
	return make([]byte, cookieSize), nil
}

func readCookie(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read sound server's cookie: %w", denied(err))
	case err != nil:
		return nil, fmt.Errorf("read sound server's cookie: %w", err)
	case len(b) != cookieSize:
		return nil, fmt.Errorf("read sound server's cookie %s: %d bytes, want %d; copy it again from the server's user", file, len(b), cookieSize)
	}
	return b, nil
}
