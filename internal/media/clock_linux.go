package media

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_MONOTONIC. The call is made raw: the ordinary system call path
// wakes the runtime's monitor thread, which costs more than the call.
func Now() Time {
	var ts unix.Timespec
	_, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ts)), 0)
	if e != 0 {
		panic("clock_gettime(CLOCK_MONOTONIC): " + e.Error()) // cannot happen on Linux
	}
	return Time(ts.Nano())
}
