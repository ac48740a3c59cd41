package control

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComplete(t *testing.T) {
	table := Commands(parts())
	ctx := withCaller(t.Context(), root)
	for _, c := range []struct {
		line string
		want []string
	}{
		{"roo", []string{"room"}},
		{"room", []string{"room"}},
		{"room ", []string{"enter", "exit", "show"}},
		{"room e", []string{"enter", "exit"}},
		{"  room\te", []string{"enter", "exit"}},
		{"room enter ", []string{"id=", "user="}},
		{"room enter id=101 ", []string{"user="}},
		{"room enter 101 ", []string{"user="}},
		{"room enter 101 u", []string{"user="}},
		{"room enter 101 cart-7 ", nil},
		{"room enter nonsense=1 ", []string{"id=", "user="}},
		{"room exit ", nil},
		{"camera mute ", []string{"on", "off", "state="}},
		{"camera mute o", []string{"on", "off"}},
		{"camera mute state=", []string{"state=on", "state=off"}},
		{"camera mute state=of", []string{"state=off"}},
		{"camera mute state=x", nil},
		{"camera mute nonsense=o", nil},
		{"camera select ", []string{"any", "test", "usb-video", "other", "match="}},
		{"camera select usb", []string{"usb-video"}},
		{"camera select match=usb", []string{"match=usb-video"}},
		{`camera select "us`, []string{"usb-video"}},
		{`camera select match="us`, []string{"match=usb-video"}},
		{"video resolution 1280", []string{"1280x720"}},
		{"video rotation size", nil},
		{"video rotation 2", []string{"270"}},
		{"config set video.fp", []string{"video.fps"}},
		{"config set video.fps ", []string{"value="}},
		{"config set video.fps 3", nil},
		{"config get vid", tablesAndKeys("vid")},
		{"help vid", []string{"video"}},
		{"help video ro", []string{"rotation"}},
		{"help video rotation ", nil},
		{"help vi deo", nil},
		{"complete ", []string{"line="}},
		{"nonsense ", nil},
		{"nonsense", nil},
		{"room enter \x01", nil},
		{"room enter \"a\"b ", nil},
	} {
		got := table.Complete(ctx, c.line)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.line, d)
		}
	}
	if got := table.Complete(ctx, ""); len(got) < 10 || !slices.Contains(got, "room") {
		t.Errorf("nothing typed: %q", got)
	}
	// What is plugged in is for those who may use it.
	for l, want := range map[Level]int{Read: 3, Operate: 5} {
		if got := table.Complete(withCaller(t.Context(), Caller{"x", l}), "camera select "); len(got) != want {
			t.Errorf("%s: %q", l, got)
		}
	}
}

func tablesAndKeys(prefix string) []string {
	var out []string
	for _, k := range Offline().Complete(context.Background(), "config get key=") {
		if k = strings.TrimPrefix(k, "key="); strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	return out
}

// TestOffline completes and explains every command without a box.
func TestOffline(t *testing.T) {
	table := Offline()
	with := Commands(parts())
	if len(table) != len(with) {
		t.Errorf("%d commands without a box, %d with one", len(table), len(with))
	}
	ctx := withCaller(t.Context(), root)
	for i := range table {
		c := &table[i]
		if got := table.Complete(ctx, c.Name); !slices.Contains(got, c.Name[strings.LastIndexByte(c.Name, ' ')+1:]) {
			t.Errorf("%s: %q", c.Name, got)
		}
		for _, a := range c.Args {
			table.Complete(ctx, c.Name+" "+a.Name+"=")
		}
		a, err := table.Ask(t.Context(), root, append([]string{"help"}, strings.Fields(c.Name)...))
		if err != nil || a.Error != nil || !strings.Contains(a.Text(), c.Help) {
			t.Errorf("help %s: %+v, %v", c.Name, a, err)
		}
		if c.Name == "help" {
			continue
		}
		words, err := split(c.example())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.call(t.Context(), root, words); err == nil || errorOf(err).Code != CodeState {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// FuzzComplete types anything: what is offered can be typed, and goes on from what was.
func FuzzComplete(f *testing.F) {
	table := Commands(parts())
	for i := range table {
		f.Add(table[i].example())
		f.Add(table[i].Name + " ")
	}
	for _, s := range []string{"", `"`, `room "en`, "a=", "camera select match=\"us", "\xff", "help room "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, w := range table.Complete(withCaller(t.Context(), root), line) {
			got, err := split(w)
			if strings.HasSuffix(w, "=") && err == nil {
				continue // the value follows
			}
			if err != nil || len(got) != 1 || len(Plain([]string{w})) != 1 {
				t.Fatalf("%q is offered %q: %v", line, w, err)
			}
		}
	})
}
