package secret

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Most is how many bytes a secret has at most; signed tokens can be long.
const Most = 16 << 10

// credential begins the name of a systemd credential where a file can be named.
const credential = "credential:"

// Read reads a secret, one line, from the file at a path, or from systemd's credential
// "credential:NAME" (https://systemd.io/CREDENTIALS/). Others must not be able to read or
// write the file; what is not an ordinary file is refused. It does not wait. The error
// does not quote what is in the file.
func Read(from string) (Value, error) {
	v, _, err := read(from)
	return v, err
}

// ReadOwn reads as Read does, and refuses a file of another user's than this process's or
// root: he would know the secret, and could put his own in its place.
func ReadOwn(from string) (Value, error) {
	v, owner, err := read(from)
	if err == nil && owner != 0 && int(owner) != os.Geteuid() {
		return Value{}, fmt.Errorf("%s belongs to another user (%d): make a new one as the daemon's user, or as root", from, owner)
	}
	return v, err
}

func read(from string) (v Value, owner uint32, err error) {
	path, given, err := place(from)
	if err != nil {
		return Value{}, 0, err
	}
	// A FIFO would keep the caller waiting for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Value{}, 0, fmt.Errorf("read a secret: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return Value{}, 0, fmt.Errorf("look at a secret's file: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return Value{}, 0, fmt.Errorf("%s is not an ordinary file: move it away, or name another", path)
	}
	// systemd lets the service's user read its credentials by an access list, whose mask is
	// shown as the group's bits
	// (https://github.com/systemd/systemd/blob/main/src/core/exec-credential.c).
	others := os.FileMode(0o077)
	if given {
		others = 0o037
	}
	if m := fi.Mode().Perm(); m&others != 0 {
		return Value{}, 0, fmt.Errorf("%s can be read or written by others (mode %04o): put a new secret into it and chmod 600 it", path, m)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		owner = st.Uid
	}
	b, err := io.ReadAll(io.LimitReader(f, Most+1))
	if err != nil {
		return Value{}, 0, fmt.Errorf("read a secret: %w", err)
	}
	if v, err = Line(string(b)); err != nil {
		return Value{}, 0, fmt.Errorf("%s %w", path, err)
	}
	return v, owner, nil
}

// place gives the path that from means, and whether systemd gave the file.
func place(from string) (path string, given bool, err error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	name, named := strings.CutPrefix(from, credential)
	if !named {
		return from, dir != "" && filepath.Dir(filepath.Clean(from)) == filepath.Clean(dir), nil
	}
	if !IsCredential(from) {
		return "", false, fmt.Errorf("%q: a credential's name has letters, digits, - _ and . only", from)
	}
	if dir == "" {
		return "", false, fmt.Errorf("there is no %s: systemd gave this process no credentials: add LoadCredential=%s:FILE to its unit", from, name)
	}
	return filepath.Join(dir, name), true, nil
}

// IsCredential tells whether from names a systemd credential, and not a file.
func IsCredential(from string) bool {
	name, ok := strings.CutPrefix(from, credential)
	return ok && name != "" && name[0] != '.' && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// Line makes a secret of a text that is one line of printable characters without spaces;
// blanks around it do not count. The error does not quote it.
func Line(s string) (Value, error) {
	t := strings.TrimSpace(s)
	if len(s) > Most || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Value{}, fmt.Errorf("holds something else than a token: one line of printable characters without spaces")
	}
	return New(t), nil
}
