package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"anchord/device"
)

// machine looks at what all parts stand on: disk, memory, clock.
type machine struct{ looked time.Time }

// Limits of the machine.
const (
	leastDisk   = 4 << 20  // bytes free, where the store is
	leastMemory = 24 << 20 // bytes available …
	leastShare  = 0.04     // … or of all there are
)

// due tells whether it is time to look.
func (b *machine) due(now time.Time) bool {
	if now.Sub(b.looked) < boxEvery && !now.Before(b.looked) {
		return false
	}
	b.looked = now
	return true
}

// facts gives what is wrong. store is the store's path, "" for none.
func (b *machine) facts(now time.Time, store string) []device.Fact {
	var out []device.Fact
	if f, err := os.Open("/proc/meminfo"); err == nil {
		m := readMemory(f)
		f.Close()
		if m.total > 0 && (m.available < leastMemory || float64(m.available) < leastShare*float64(m.total)) {
			out = append(out, device.Fact{Slug: device.MemoryShort, Cause: fmt.Sprintf("%d of %d MB are left", m.available>>20, m.total>>20)})
		}
	}
	if store != "" {
		dir := filepath.Dir(store)
		var s syscall.Statfs_t
		if syscall.Statfs(dir, &s) == nil {
			if cause := fullDisk(dir, uint64(s.Bavail)*uint64(s.Bsize), s.Blocks*uint64(s.Bsize), s.Ffree, s.Files); cause != "" {
				out = append(out, device.Fact{Slug: device.DiskFull, Cause: cause})
			}
		}
	}
	if now.Year() < firstYear {
		out = append(out, device.Fact{Slug: device.ClockWrong, Cause: "it says " + now.UTC().Format(time.DateTime)})
	}
	return out
}

// firstYear: anchord did not exist before it.
const firstYear = 2025

// full says what is full about a disk, "" if nothing is.
func fullDisk(dir string, free, all, nodes, allNodes uint64) string {
	switch {
	case all > 0 && free < leastDisk && free < all/10:
		return fmt.Sprintf("%s has %.1f of %.0f MB free", dir, float64(free)/1e6, float64(all)/1e6)
	case allNodes > 0 && nodes == 0:
		return dir + " can hold no more files"
	}
	return ""
}

// memory is what the machine has, in bytes.
type memory struct{ total, available uint64 }

// readMemory reads /proc/meminfo.
func readMemory(r io.Reader) (m memory) {
	for s := bufio.NewScanner(r); s.Scan(); {
		key, rest, _ := strings.Cut(s.Text(), ":")
		kB, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.ParseUint(kB, 10, 54)
		switch {
		case err != nil:
		case key == "MemTotal":
			m.total = n << 10
		case key == "MemAvailable":
			m.available = n << 10
		}
	}
	return m
}

// load is time that processors worked, since some time ago.
type load struct {
	at   time.Time
	own  time.Duration // by this process
	all  uint64        // by all, in ticks
	idle uint64
}

func readLoad() load {
	l := load{at: time.Now()}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		l.own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	if f, err := os.Open("/proc/stat"); err == nil {
		defer f.Close()
		l.all, l.idle = readTicks(f)
	}
	return l
}

// readTicks reads the first line of /proc/stat: user, nice, system, idle, iowait …
// (https://man7.org/linux/man-pages/man5/proc_stat.5.html).
func readTicks(r io.Reader) (all, idle uint64) {
	line, _ := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	for i, w := range strings.Fields(strings.TrimPrefix(line, "cpu ")) {
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil || i > 7 { // guests are in user already
			break
		}
		if all += n; i == 3 || i == 4 {
			idle += n
		}
	}
	return all, idle
}

// since gives the load between then and now in percent of all processors.
func (l load) since(then load) (own, all int) {
	if took := l.at.Sub(then.at); took > 0 {
		own = int(100 * float64(l.own-then.own) / float64(took) / float64(runtime.NumCPU()))
	}
	if l.all > then.all && l.idle >= then.idle {
		all = 100 - int(100*(l.idle-then.idle)/(l.all-then.all))
	}
	return own, min(max(all, 0), 100)
}

// resident is the memory that this process has, in bytes.
func resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(f[1], 10, 40)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
