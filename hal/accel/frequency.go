package accel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"anchord/hal"
)

// Some drivers begin at one measurement a second, and then switch the chip on and wait two of
// them for each number that is read: six seconds for three axes
// (https://github.com/torvalds/linux/blob/master/drivers/iio/common/st_sensors/st_sensors_core.c,
// st_sensors_read_info_raw).
const (
	wantedRate = 50. // a second, or the next that the driver has
	leastRate  = 20.
)

// rate is how often a driver lets its chip measure.
type rate struct {
	file string // "" if there is none to set
	was  string // to be put back; "" if it was not changed
}

// quicken lets the chip measure often enough.
func quicken(dir string) (rate, error) {
	var r rate
	var was string
	for _, name := range []string{"in_accel_sampling_frequency", "sampling_frequency"} {
		file := filepath.Join(dir, name)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return rate{}, cause(err)
		}
		r.file, was = file, string(bytes.TrimSpace(b))
		break
	}
	now, err := strconv.ParseFloat(was, 64)
	if r.file == "" || err != nil || now >= wantedRate {
		return rate{}, nil
	}
	list, _ := os.ReadFile(r.file + "_available") // without it the driver says what it takes
	err = os.WriteFile(r.file, []byte(choose(string(list))), 0)
	b, e := os.ReadFile(r.file)
	if e != nil {
		return rate{}, cause(e)
	}
	if got, e := strconv.ParseFloat(string(bytes.TrimSpace(b)), 64); e != nil || got < leastRate {
		if err == nil {
			err = hal.ErrUnsupported
		}
		return rate{}, fmt.Errorf("its driver measures %.10s times a second, too seldom, and does not take more: let udev set %s to 100, or the daemon's user write it: %w", was, r.file, cause(err))
	}
	if err == nil {
		r.was = was
	}
	return r, nil
}

// restore puts back what was changed.
func (r rate) restore() error {
	if r.was == "" {
		return nil
	}
	return os.WriteFile(r.file, []byte(r.was), 0)
}

// choose gives the rate to set of those that a driver has: a list, or "[least step most]"
// (https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-iio,
// sampling_frequency_available).
func choose(available string) string {
	const wish = "50"
	words := strings.Fields(strings.Trim(strings.TrimSpace(available), "[]"))
	if strings.HasPrefix(strings.TrimSpace(available), "[") {
		if len(words) != 3 {
			return wish
		}
		if most, err := strconv.ParseFloat(words[2], 64); err == nil && most < wantedRate {
			return words[2]
		}
		if least, err := strconv.ParseFloat(words[0], 64); err == nil && least > wantedRate {
			return words[0]
		}
		return wish
	}
	best, at := wish, 0.
	for _, w := range words {
		x, err := strconv.ParseFloat(w, 64)
		if err != nil {
			continue
		}
		if at == 0 || at < wantedRate && x > at || x >= wantedRate && x < at {
			best, at = w, x
		}
	}
	return best
}
