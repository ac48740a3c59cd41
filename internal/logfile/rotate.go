package logfile

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Older files are numbered, not dated: a box without a clock of its own starts in 1970.
// As TRTC names its logs, R is a raw one, which waits for being compressed, and C a
// compressed one: anchord_R_000017.log, anchord_C_000017.log.gz.

// archive is an older file.
type archive struct {
	n    int
	raw  bool
	size int64
}

// name gives an older file's name: kind R or C.
func (f *File) name(n int, raw bool) string {
	base := filepath.Base(f.cfg.Path)
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	if raw {
		return fmt.Sprintf("%s_R_%06d%s", stem, n, ext)
	}
	return fmt.Sprintf("%s_C_%06d%s.gz", stem, n, ext)
}

// mostNumber bounds numbers: what is above was not made here.
const mostNumber = 999_999_999

// number reads an older file's name.
func (f *File) number(name string) (n int, raw, ok bool) {
	base := filepath.Base(f.cfg.Path)
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(base, ext)+"_")
	if !ok || len(rest) < 2 {
		return 0, false, false
	}
	raw = rest[0] == 'R'
	digits, ok := strings.CutSuffix(rest[2:], ext)
	if !raw {
		digits, ok = strings.CutSuffix(rest[2:], ext+".gz")
	}
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > mostNumber || f.name(n, raw) != name {
		return 0, false, false
	}
	return n, raw, true
}

// archives lists older files, oldest first.
func (f *File) archives() []archive {
	names, err := os.ReadDir(f.dir)
	if err != nil {
		return nil // then there are none to be found
	}
	var out []archive
	for _, e := range names {
		n, raw, ok := f.number(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if fi, err := e.Info(); err == nil {
			out = append(out, archive{n, raw, fi.Size()})
		}
	}
	slices.SortFunc(out, func(a, b archive) int { return cmp.Compare(a.n, b.n) })
	return out
}

// archived gives what older files take.
func (f *File) archived() (sum int64) {
	for _, a := range f.archives() {
		sum += a.size
	}
	return sum
}

// prune removes the oldest files until all take no more than most bytes, and tells
// whether one was removed.
func (f *File) prune(most int64) (some bool) {
	all := f.archives()
	sum := int64(0)
	for _, a := range all {
		sum += a.size
	}
	for _, a := range all {
		if sum <= most {
			break
		}
		if os.Remove(f.path(a.n, a.raw)) == nil {
			some = true
		}
		sum -= a.size
	}
	return some
}

func (f *File) path(n int, raw bool) string { return filepath.Join(f.dir, f.name(n, raw)) }

// rotate puts the file aside and begins a new one, with which older ones are tidied up.
func (f *File) rotate() error {
	n := 1
	if all := f.archives(); len(all) > 0 {
		n = all[len(all)-1].n + 1
	}
	if n > mostNumber {
		return f.explain(errors.New("older files' numbers are used up: move them away"))
	}
	if err := os.Rename(f.cfg.Path, f.path(n, true)); err != nil {
		// Whatever it is, the file must not grow.
		_ = f.f.Close()
		f.f = nil
		return f.explain(err)
	}
	_ = f.f.Close() // it was written; what is wrong with the disk shows with the next one
	f.f = nil
	if err := f.open(); err != nil {
		return f.explain(err)
	}
	return nil
}

// tidy compresses raw files, also those that a power cut left, removes what was begun and
// not ended, and keeps the cap.
func (f *File) tidy() {
	begun, _ := filepath.Glob(f.temporary("*")) // the pattern is good
	for _, name := range begun {
		_ = os.Remove(name) // the next start tries again
	}
	// Besides them there are the file itself and, now and then, one that is being compressed:
	// what cannot be made shorter becomes a little longer.
	budget := f.cfg.Max - 2*f.seg - f.seg/64 - 256
	all := f.archives()
	for _, a := range all {
		if !a.raw {
			continue
		}
		if slices.ContainsFunc(all, func(c archive) bool { return c.n == a.n && !c.raw }) {
			_ = os.Remove(f.path(a.n, true)) // its compressed one is whole: it has its name
			continue
		}
		f.prune(max(budget, a.size))
		// Without space it stays as it is, and is tried again with the next.
		_ = f.compress(a.n)
	}
	f.prune(budget)
}

// temporary gives the name of a compressed file that is being written.
func (f *File) temporary(n string) string {
	return filepath.Join(f.dir, "."+strings.TrimSuffix(filepath.Base(f.cfg.Path), filepath.Ext(f.cfg.Path))+"_C_"+n+".tmp")
}

// compress makes a compressed file of a raw one. The raw one goes when the other is on the
// disk: whenever the power goes, one of them can be read.
func (f *File) compress(n int) (err error) {
	in, err := os.OpenFile(f.path(n, true), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := f.temporary(strconv.Itoa(n))
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err == nil {
			err = os.Rename(tmp, f.path(n, false))
		}
		if err != nil {
			_ = os.Remove(tmp) // else with the next start
			return
		}
		err = os.Remove(f.path(n, true))
	}()
	_ = out.Chmod(mode) // as for the file itself
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for {
		// On one core pictures wait for nobody's log.
		runtime.Gosched()
		if _, err = io.CopyN(z, in, chunk); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Sync()
}
