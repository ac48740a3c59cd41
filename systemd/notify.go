// Package systemd speaks with systemd: readiness and state by sd_notify, priorities of
// log lines for the journal.
package systemd

import (
	"fmt"
	"net"
	"os"
)

// Notify sends a state such as "READY=1" to the service manager
// (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without one
// it does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
