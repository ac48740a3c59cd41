package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUserSig makes and checks tokens with the real program, without a daemon. The long one is
// from TRTC's own signer for Node.
func TestUserSig(t *testing.T) {
	const node = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwhWZiflZpXlQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmqOKplYUZBaBxE1NTY3gosWZ6UpWSj5ljuYp*p7l5unBxXnF2WVhVU4uAf7Ozi5JpX7O5SbuHuUhzgZJmQXaTia2SrUAohcx8g__"
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const demoKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	key, other, open, empty := write("key", demoKey+"\n", 0o600), write("other", "x\n", 0o600), write("open", demoKey, 0o644), write("empty", "", 0o600)
	run := func(stdin string, args ...string) (status int, stdout, stderr string) {
		t.Helper()
		c := program("anchorctl", append([]string{"usersig"}, args...)...)
		var out, bad bytes.Buffer
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &bad
		var e *exec.ExitError
		if err := c.Run(); errors.As(err, &e) {
			status = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+bad.String(), demoKey) {
			t.Errorf("%v: the key is shown", args)
		}
		return status, out.String(), bad.String()
	}
	who := []string{"-sdkappid", "1400000000", "-user", "xiaojun", "-key-file", key}
	with := func(verb string, more ...string) []string { return append(append([]string{verb}, who...), more...) }
	at := []string{"-time", "1700000000"}
	sign := func(more ...string) string {
		t.Helper()
		status, out, bad := run("", with("sign", append(at, more...)...)...)
		if status != 0 || bad != "" || strings.Count(out, "\n") != 1 {
			t.Fatalf("%v: %d %q %q", more, status, out, bad)
		}
		return strings.TrimSpace(out)
	}
	token, ticket, named := sign("-expire", "15552000"), sign("-room", "10000"), sign("-room-str", "ward 7", "-privileges", "42")
	fresh := func() string {
		_, out, _ := run("", with("sign")...)
		return strings.TrimSpace(out)
	}()
	for _, c := range []struct {
		name   string
		args   []string
		stdin  string
		status int
		says   string // on stdout if the status is 0, else on stderr
	}{
		{"ours", with("verify", "-time", "1700000100", token), "", 0, "user: xiaojun\nsdkappid: 1400000000\nmade: 2023-11-14T22:13:20Z\nexpires: 2024-05-12T22:13:20Z\n"},
		{"TRTC's", with("verify", "-time", "1700000100", node), "", 0, "user: xiaojun\n"},
		{"from standard input", with("verify", "-time", "1700000100"), node + "\n", 0, "user: xiaojun\n"},
		{"made now, checked now", with("verify", fresh), "", 0, "user: xiaojun\n"},
		{"a ticket", with("verify", "-time", "1700000100", "-room", "10000", ticket), "", 0, "room: room 10000\nprivileges: 255 (create the room, "},
		{"a named room", with("verify", "-time", "1700000100", "-room-str", "ward 7", "-privileges", "42", named), "", 0, "privileges: 42 (enter the room, receive sound, receive pictures)\n"},

		{"expired", with("verify", token), "", 1, "anchorctl: -70001 ERR_SERVER_SSO_SIG_EXPIRED: the token expired at 2024-05-12T22:13:20Z"},
		{"damaged", with("verify", token[:60]), "", 1, "-70003 ERR_SERVER_SSO_SIG_VERIFICATION_FAILED_1: "},
		{"nothing", with("verify"), "", 1, "-70003 "},
		{"another key", []string{"verify", "-sdkappid", "1400000000", "-user", "xiaojun", "-key-file", other, "-time", "1700000000", node}, "", 1, "-70009 "},
		{"another user", []string{"verify", "-sdkappid", "1400000000", "-user", "anna", "-key-file", key, "-time", "1700000000", node}, "", 1, "-70013 "},
		{"another application", []string{"verify", "-sdkappid", "7", "-user", "xiaojun", "-key-file", key, "-time", "1700000000", node}, "", 1, "-70014 "},
		{"another room", with("verify", "-time", "1700000100", "-room", "10001", ticket), "", 1, "-100006 "},
		{"no right to send pictures", with("verify", "-time", "1700000100", "-room-str", "ward 7", "-privileges", "18", named), "", 1, "-102013 "},
		{"no right to create", with("verify", "-time", "1700000100", "-room-str", "ward 7", "-privileges", "3", named), "", 1, "-102010 "},

		{"help", []string{"-help"}, "", 0, ""},
		{"help of sign", []string{"sign", "-help"}, "", 0, ""},
		{"no verb", nil, "", 2, "usage: anchorctl usersig sign"},
		{"unknown verb", []string{"make"}, "", 2, "usage: "},
		{"no user", []string{"sign", "-sdkappid", "1", "-key-file", key}, "", 2, "-user: "},
		{"a bad user", []string{"sign", "-sdkappid", "1", "-key-file", key, "-user", "a b"}, "", 2, "-user: "},
		{"no application", []string{"sign", "-user", "a", "-key-file", key}, "", 2, "-sdkappid is needed"},
		{"a large application", []string{"sign", "-user", "a", "-key-file", key, "-sdkappid", "4294967296"}, "", 2, "-sdkappid is needed"},
		{"no key", []string{"sign", "-user", "a", "-sdkappid", "1"}, "", 2, "-key-file is needed"},
		{"no such key", []string{"sign", "-user", "a", "-sdkappid", "1", "-key-file", key + "x"}, "", 2, "-key-file: "},
		{"a key that all can read", []string{"sign", "-user", "a", "-sdkappid", "1", "-key-file", open}, "", 2, "chmod 600"},
		{"an empty key", []string{"sign", "-user", "a", "-sdkappid", "1", "-key-file", empty}, "", 2, "empty"},
		{"two rooms", with("sign", "-room", "1", "-room-str", "1"), "", 2, "give one"},
		{"room 0", with("sign", "-room", "0"), "", 2, "-room: 1 to"},
		{"the room after the last", with("sign", "-room", "4294967295"), "", 2, "room number"},
		{"no room's name", with("sign", "-room-str", ""), "", 2, "room id"},
		{"privileges without a room", with("sign", "-privileges", "3"), "", 2, "belongs to a ticket"},
		{"no life", with("sign", "-expire", "0"), "", 2, "-expire: 1 to"},
		{"an expire to verify", with("verify", "-expire", "5", token), "", 2, "flag provided but not defined"},
		{"a token to sign", with("sign", token), "", 2, "too many"},
		{"two tokens", with("verify", token, token), "", 2, "too many"},
		{"an option behind", with("verify", token, "-time", "1"), "", 2, "options stand before the token"},
	} {
		status, out, bad := run(c.stdin, c.args...)
		said := out
		if c.status != 0 {
			said = bad
		}
		if status != c.status || !strings.Contains(said, c.says) || c.status != 0 && out != "" {
			t.Errorf("%s: %d %q %q", c.name, status, out, bad)
		}
	}
}
