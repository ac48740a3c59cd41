package store

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// keepCorrupt is how many damaged sets are kept to be looked at.
const keepCorrupt = 3

// sideFiles are what SQLite puts beside its file. They belong together: a database with
// another one's log is the surest way to lose both
// (https://www.sqlite.org/howtocorrupt.html, 1.4).
func sideFiles() []string { return []string{"-wal", "-shm", "-journal"} }

const corruptMark = ".corrupt-"

// putAside renames the whole set. The database goes first: after a cut between the renames
// what is left is a log without a database, which is seen, and not a database without its
// log, which would be believed.
func putAside(fs FS, path string) (string, error) {
	dir := filepath.Dir(path)
	names, err := fs.ReadDir(dir)
	if err != nil {
		return "", err
	}
	numbers := corruptNumbers(names, filepath.Base(path))
	n := 1
	if len(numbers) > 0 {
		n = numbers[len(numbers)-1] + 1
	}
	to := path + corruptMark + strconv.Itoa(n)
	for _, side := range append([]string{""}, sideFiles()...) {
		if err := ignoreMissing(fs.Rename(path+side, to+side)); err != nil {
			return "", fmt.Errorf("put aside: %w", err)
		}
		if err := fs.Sync(dir); err != nil {
			return "", fmt.Errorf("put aside: %w", err)
		}
	}
	// The oldest go. That they stay is no harm but the space.
	for ; len(numbers) >= keepCorrupt; numbers = numbers[1:] {
		old := path + corruptMark + strconv.Itoa(numbers[0])
		for _, side := range append([]string{""}, sideFiles()...) {
			err = errors.Join(err, ignoreMissing(fs.Remove(old+side)))
		}
	}
	return to, err
}

// corruptNumbers gives the numbers of the sets put aside, in order.
func corruptNumbers(names []string, base string) []int {
	var out []int
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, base+corruptMark)
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, "-")
		if n, err := strconv.Atoi(rest); err == nil && n > 0 && n < 1<<30 {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, cmp.Compare[int])
	return slices.Compact(out)
}
