package secret

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want, err  string
	}{
		{"good", "  abc.def\r\n", 0o600, "abc.def", ""},
		{"read-only", "abc\n", 0o400, "abc", ""},
		{"empty", "\n", 0o600, "", ""},
		{"longest", strings.Repeat("x", Most), 0o600, strings.Repeat("x", Most), ""},
		{"long", strings.Repeat("x", Most+1), 0o600, "", "something else than a token"},
		{"blank", canary + " b", 0o600, "", "something else than a token"},
		{"lines", canary + "\nb\n", 0o600, "", "something else than a token"},
		{"binary", canary + "\x00\xff", 0o600, "", "something else than a token"},
		{"escape", canary + "\x1b[31m", 0o600, "", "something else than a token"},
		{"group", canary, 0o640, "", "can be read or written by others (mode 0640)"},
		{"world", canary, 0o604, "", "can be read or written by others (mode 0604)"},
		{"written", canary, 0o602, "", "can be read or written by others (mode 0602)"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		for _, read := range []func(string) (Value, error){Read, ReadOwn} {
			v, err := read(path)
			if v.Reveal() != c.want || fmt.Sprint(err) == "<nil>" != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), canary)) {
				t.Errorf("%s: %q, %v", c.name, v.Reveal(), err)
			}
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{fifo, dir, "/dev/null"} {
		if _, err := Read(p); err == nil || !strings.Contains(err.Error(), "not an ordinary file") {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); !os.IsNotExist(unwrap(err)) {
		t.Error(err)
	}
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// TestReadOwn needs root to give a file away; without it a file of root's is read.
func TestReadOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if _, err := ReadOwn(path); err != nil {
			t.Error(err)
		}
		return
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadOwn(path); err == nil || !strings.Contains(err.Error(), "belongs to another user (12345)") {
		t.Error(err)
	}
	if v, err := Read(path); err != nil || v.Reveal() != canary {
		t.Error(err)
	}
}

func TestCredential(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := Read("credential:room.token"); err == nil || !strings.Contains(err.Error(), "LoadCredential=room.token:FILE") {
		t.Error(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "room.token")
	if err := os.WriteFile(path, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// As an access list for the service's user makes it look.
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a file that the group can read was taken")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/")
	for _, from := range []string{"credential:room.token", path} {
		if v, err := ReadOwn(from); err != nil || v.Reveal() != canary {
			t.Errorf("%s: %v", from, err)
		}
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := Read("credential:room.token"); err == nil {
		t.Error("a credential that all can read was taken")
	}
	for _, from := range []string{"credential:", "credential:..", "credential:.x", "credential:a/b", "credential:../room.token", "credential:a\x1b", "credential:" + strings.Repeat("a", 256)} {
		if _, err := Read(from); err == nil || !strings.Contains(err.Error(), "a credential's name has") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", from, err)
		}
	}
}
