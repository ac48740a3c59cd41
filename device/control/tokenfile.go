package control

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// leastToken is how many characters a token that opens this box must have.
const leastToken = 32

// maxToken bounds a token; signed ones can be long.
const maxToken = 16 << 10

// ReadToken reads a token, one line, from a file that others cannot read. It does not
// wait: whatever is not an ordinary file is refused.
func ReadToken(path string) (string, error) {
	t, _, err := readToken(path)
	return t, err
}

func readToken(path string) (t string, owner uint32, err error) {
	// A FIFO would keep the caller waiting for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, fmt.Errorf("read the token file: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", 0, fmt.Errorf("look at the token file: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return "", 0, fmt.Errorf("token file %s is not an ordinary file: move it away, or name another", path)
	}
	if m := fi.Mode().Perm(); m&0o077 != 0 {
		return "", 0, fmt.Errorf("token file %s can be read or written by others (mode %04o): put a new token into it and chmod 600 it", path, m)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		owner = st.Uid
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", 0, fmt.Errorf("read the token file: %w", err)
	}
	t = strings.TrimSpace(string(b))
	if len(b) > maxToken || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, fmt.Errorf("token file %s holds something else than a token: one line of printable characters without spaces", path)
	}
	return t, owner, nil
}

// FirstToken gives the token in the file, which it makes, with mode 0600, if there is
// none. A file of another user's is refused: he would know what opens this box.
func FirstToken(path string) ([]byte, error) {
	t, owner, err := readToken(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newToken(path)
	case err != nil:
		return nil, err
	case owner != 0 && int(owner) != os.Geteuid():
		return nil, fmt.Errorf("token file %s belongs to another user (%d): remove it, a new one is made at the next start", path, owner)
	case len(t) < leastToken:
		return nil, fmt.Errorf("token file %s holds less than %d characters: remove it, a new one is made at the next start", path, leastToken)
	}
	return []byte(t), nil
}

// newToken writes the whole file or nothing, whenever the power goes.
func newToken(path string) ([]byte, error) {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("make the token file's folder: %w; or choose another in [control.http] token_file", err)
	}
	f, err := os.CreateTemp(dir, ".token-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the token file: %w: choose a folder that this user may write to in [control.http] token_file", err)
	}
	defer os.Remove(f.Name()) // it has its real name by then, or is to go
	t := []byte(randomToken())
	_, err = f.Write(append(t[:len(t):len(t)], '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("write the token file: %w", err)
	}
	return t, nil
}

// makeFolder makes a folder in which the daemon puts what others look for.
func makeFolder(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: let systemd make it (RuntimeDirectory=), or make it and give it to this user", err)
	}
	return err
}
