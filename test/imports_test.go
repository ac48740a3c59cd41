package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is what go list says of a package.
type listed struct {
	ImportPath, Name, Doc     string
	Imports                   []string
	TestImports, XTestImports []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags", "rig,e2e", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports", "anchord/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// rules is the table of ARCHITECTURE.md: what a package may import of ours. The longest
// prefix that fits rules; "*" is everything.
var rules = []struct {
	pkg string
	may []string
	why string
}{
	{"internal/media", nil, "media is the words that all speak: it stands on nothing"},
	{"internal/trtc", nil, "trtc is tables"},
	{"internal/secret", nil, "a secret tells nobody"},
	{"internal/logfile", nil, "a file, and whoever writes into it"},
	{"internal/run", nil, "the supervisor knows no part"},
	{"internal/pixel", []string{"internal/media"}, "a C library behind small calls"},
	{"internal/opus", []string{"internal/media"}, "a C library behind small calls"},
	{"hal", []string{"internal/media"}, "hal is interfaces only"},
	{"hal/", []string{"hal", "hal/haltest", "internal/", "hal/SELF"}, "hardware does not know who uses it"},
	{"capture", []string{"hal", "internal/"}, "capture, encoder and rtc meet in cmd/anchord/wire.go only"},
	{"encoder", []string{"hal", "internal/"}, "capture, encoder and rtc meet in cmd/anchord/wire.go only"},
	{"rtc", []string{"internal/"}, "capture, encoder and rtc meet in cmd/anchord/wire.go only"},
	{"rtc/", []string{"rtc", "rtc/SELF", "rtc/room/page", "internal/"}, "a signaller knows the session's words, not its neighbours"},
	{"device", []string{"hal", "device/config", "internal/"}, "the box is told by its parts, it does not reach for them"},
	{"device/config", []string{"internal/"}, "the file knows values, not parts"},
	{"device/store", []string{"internal/", "device/SELF"}, "it keeps text by key and knows nobody"},
	{"device/store/", []string{"internal/", "device/SELF"}, "tools of the store's tests"},
	{"device/control", []string{"device", "device/config", "hal", "internal/"}, "commands act on functions that wire.go hands in"},
	{"systemd", nil, "it speaks with systemd and with nobody else"},
	{"cmd/", []string{"*"}, ""},
	{"test", []string{"*"}, ""},
}

// only are packages that nobody but these may import.
var only = map[string][]string{
	"hal/v4l2": {"cmd/", "test"}, "hal/pulse": {"cmd/", "test", "hal/pulse"}, "hal/accel": {"cmd/", "test"}, "hal/openh264": {"cmd/", "test"}, "hal/fake": {"cmd/", "test"}, "hal/worker": {"cmd/", "test"},
	"cmd/": {}, "test": {"test"},
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "anchord/")
		best := -1
		for i, r := range rules {
			fits := name == r.pkg || strings.HasSuffix(r.pkg, "/") && strings.HasPrefix(name, r.pkg) || r.pkg == "test" && strings.HasPrefix(name, "test/")
			if fits && (best < 0 || len(r.pkg) >= len(rules[best].pkg)) {
				best = i
			}
		}
		if best < 0 {
			t.Errorf("%s is in no row of the table: add it there and in ARCHITECTURE.md", name)
			continue
		}
		r := rules[best]
		for _, i := range p.Imports {
			i, ours := strings.CutPrefix(i, "anchord/")
			if !ours {
				continue
			}
			if !slices.ContainsFunc(r.may, func(m string) bool { return allows(m, name, i) }) {
				t.Errorf("%s imports %s: %s", name, i, r.why)
			}
			for pkg, users := range only {
				if allows(pkg, "", i) && !slices.ContainsFunc(users, func(u string) bool { return allows(u, "", name) || strings.HasPrefix(name, u) }) {
					t.Errorf("%s imports %s, which only %v may", name, i, users)
				}
			}
		}
	}
}

// allows tells whether an entry of a row lets the package name import i. "hal/SELF" is
// anything below the same second folder.
func allows(entry, name, i string) bool {
	if self, ok := strings.CutSuffix(entry, "/SELF"); ok {
		parts := strings.SplitN(name, "/", 3)
		return len(parts) > 1 && parts[0] == self && (i == self+"/"+parts[1] || strings.HasPrefix(i, self+"/"+parts[1]+"/"))
	}
	return entry == "*" || i == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(i, entry)
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = ""
		}
		if p.Doc == "" || !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its doc begins %q", p.ImportPath, p.Doc)
		}
	}
}
