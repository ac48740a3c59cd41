package control

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTally(t *testing.T) {
	var n Tally
	table := Commands(parts())
	lines := "version\n@17 version\n\nnothing\n@" + strings.Repeat("x", 40) + " version\n" + `{"cmd":"version"}` + "\n{\n" + strings.Repeat("x", MaxLine+10) + "\nmic volume 151\n"
	if err := table.serve(n.counted(t.Context(), "socket"), root, strings.NewReader(lines), &strings.Builder{}); err != nil {
		t.Error(err)
	}
	table.reply(n.counted(t.Context(), "http"), root, []byte(`{"cmd":"version"}`))
	table.reply(t.Context(), root, []byte(`{"cmd":"version"}`))
	var none *Tally
	table.reply(none.counted(t.Context(), "http"), root, []byte(`{"cmd":"version"}`))
	want := []Count{{"http", "ok", 1}, {"socket", "bad-argument", 1}, {"socket", "ok", 3}, {"socket", "syntax", 2}, {"socket", "too-long", 1}, {"socket", "unknown-command", 1}}
	if d := cmp.Diff(want, n.Counts()); d != "" {
		t.Error(d)
	}
}
