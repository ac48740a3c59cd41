package control

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/device"
)

// works gives a table with commands that take long, and the jobs of it, which run until
// the test ends. A command "work N" ends when it is told how by its channel.
func works(t *testing.T, events *device.Events) (Table, *Jobs, [maxJobs + 1]chan error) {
	j := NewJobs(events)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	table := j.rows()
	var how [maxJobs + 1]chan error
	for i := range how {
		how[i] = make(chan error)
		table = append(table, Command{Name: fmt.Sprintf("work %d", i), Level: Operate, Run: j.later(func(ctx context.Context, _ Args, w io.Writer) (Fields, error) {
			select {
			case err := <-how[i]:
				if err == io.ErrShortBuffer {
					w.Write(make([]byte, maxOutput+1)) // its error counts, though it is not looked at
					return nil, nil
				}
				io.WriteString(w, "output of "+CallerOf(ctx).Name)
				return Fields{{"worked", true}}, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})})
	}
	return table, j, how
}

// said is an answer without what depends on the time.
func said(t *testing.T, table Table, by Caller, line string) string {
	t.Helper()
	out := string(table.answer(t.Context(), by, []byte(line)))
	var keep []string
	for l := range strings.Lines(out) {
		if !strings.Contains(l, "begun: ") {
			keep = append(keep, strings.TrimSuffix(l, "\n"))
		}
	}
	return strings.Join(keep, "; ")
}

func TestJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := device.NewEvents()
		table, _, how := works(t, hub)
		operator, viewer := Caller{"olga", Operate}, Caller{"vera", Read}
		for _, c := range []struct {
			by   Caller
			line string
			tell func() // what happens before
			want string
		}{
			{operator, "job list", nil, "OK"},
			{operator, "job show 1", nil, "ERR 111 not-found there is no job 1, or not any more; see job list"},
			{operator, "work 0", nil, "job: 1; OK"},
			{operator, "work 0", nil, "ERR 113 busy job 1 does that already: job wait 1"},
			{operator, "job show 1", func() { time.Sleep(1500 * time.Millisecond) }, "id: 1; command: work 0; by: olga; state: running; seconds: 1.5; OK"},
			{operator, "job wait 1 timeout=2s", nil, "ERR 112 timeout job 1 still runs after 2s: wait again, or job cancel 1"},
			{operator, "job wait 1", func() { go func() { time.Sleep(time.Minute); how[0] <- nil }() }, "id: 1; command: work 0; by: olga; state: done; seconds: 63.5; result.worked: yes; result.bytes: 14; OK"},
			{operator, "job fetch 1", nil, "offset: 0; bytes: 14; of: 14; data: " + base64.StdEncoding.EncodeToString([]byte("output of olga")) + "; OK"},
			{operator, "job fetch 1 offset=10", nil, "offset: 10; bytes: 4; of: 14; data: " + base64.StdEncoding.EncodeToString([]byte("olga")) + "; OK"},
			{operator, "job fetch 1 offset=14", nil, "ERR 111 not-found job 1 has 14 bytes of output; only the newest job's output is kept"},
			{operator, "job cancel 1", nil, "unchanged: yes; OK"},

			{operator, "work 1", nil, "job: 2; OK"},
			{operator, "job wait 2", func() { how[1] <- errors.New("out of paper") }, "id: 2; command: work 1; by: olga; state: failed; seconds: 0; code: 500; message: out of paper; OK"},
			{operator, "work 1", nil, "job: 3; OK"},
			{operator, "job wait 3", func() { how[1] <- io.ErrShortBuffer }, "id: 3; command: work 1; by: olga; state: failed; seconds: 0; code: 103; message: the output has more than 8388608 bytes; OK"},
			{operator, "work 1", nil, "job: 4; OK"},
			{operator, "job cancel 4", nil, "id: 4; command: work 1; by: olga; state: cancelled; seconds: 0; OK"},
			{operator, "job fetch 4", nil, "ERR 111 not-found job 4 has 0 bytes of output; only the newest job's output is kept"},
			{operator, "work 1", nil, "job: 5; OK"},
			{operator, "job wait 5", nil, "id: 5; command: work 1; by: olga; state: failed; seconds: 600; code: 112; message: it did not end in 10m; OK"},

			{viewer, "job list", nil, "job.1.id: 1; job.1.command: work 0; job.1.by: olga; job.1.state: done; job.1.seconds: 63.5; " +
				"job.2.id: 2; job.2.command: work 1; job.2.by: olga; job.2.state: failed; job.2.seconds: 0; " +
				"job.3.id: 3; job.3.command: work 1; job.3.by: olga; job.3.state: failed; job.3.seconds: 0; " +
				"job.4.id: 4; job.4.command: work 1; job.4.by: olga; job.4.state: cancelled; job.4.seconds: 0; " +
				"job.5.id: 5; job.5.command: work 1; job.5.by: olga; job.5.state: failed; job.5.seconds: 600; OK"},
			{viewer, "job show 1", nil, "ERR 121 forbidden a job of work 0 needs the level operate and this token has read: use a token with more"},
			{viewer, "job fetch 1", nil, "ERR 121 forbidden a job of work 0 needs the level operate and this token has read: use a token with more"},
			{viewer, "job cancel 1", nil, "ERR 121 forbidden job cancel needs the level operate and this token has read: use a token with more"},
		} {
			if c.tell != nil {
				c.tell()
			}
			if got := said(t, table, c.by, c.line); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.line, got, c.want)
			}
		}
		var events []string
		for _, e := range hub.Newest(4) {
			events = append(events, fmt.Sprint(e.Name, e.Details))
		}
		if d := cmp.Diff([]string{"job[{id 4} {command work 1} {state running}]", "job[{id 4} {command work 1} {state cancelled}]", "job[{id 5} {command work 1} {state running}]",
			"job[{id 5} {command work 1} {state failed} {code 112} {message it did not end in 10m}]"}, events); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
	})
}

// TestJobsAreFew begins more than run at once, and more than are kept.
func TestJobsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, j, how := works(t, nil)
		for i := range maxJobs {
			if got := said(t, table, root, fmt.Sprintf("work %d", i)); got != fmt.Sprintf("job: %d; OK", i+1) {
				t.Error(got)
			}
		}
		if got := said(t, table, root, fmt.Sprintf("work %d", maxJobs)); got != "ERR 113 busy 4 jobs run already: wait for one, or job cancel" {
			t.Error(got)
		}
		for i := range maxJobs - 1 {
			how[i+1] <- nil
		}
		synctest.Wait()
		// One of them stays all the while: it is the oldest, and is not forgotten.
		for range 2 * keptJobs {
			out := said(t, table, root, fmt.Sprintf("work %d", maxJobs))
			if !strings.HasSuffix(out, "OK") {
				t.Fatal(out)
			}
			how[maxJobs] <- nil
			synctest.Wait()
			if n := len(j.all); n > keptJobs {
				t.Fatalf("%d are kept", n)
			}
		}
		for _, n := range j.all {
			if n.output != nil && n != j.all[len(j.all)-1] {
				t.Errorf("the output of job %d is kept", n.id)
			}
		}
		if len(j.all) != keptJobs || j.all[0].id != 1 || j.all[0].state != running {
			t.Errorf("%d are kept, the first is %d and %s", len(j.all), j.all[0].id, j.all[0].state)
		}
	})
}

func TestJobsEndWithTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := device.NewEvents()
		j := NewJobs(hub)
		table := Table{{Name: "work", Level: Read, Run: j.later(func(ctx context.Context, _ Args, _ io.Writer) (Fields, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- j.Run(ctx) }()
		synctest.Wait()
		if got := said(t, table, root, "work"); got != "job: 1; OK" {
			t.Error(got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || j.all[0].state != cancelled {
			t.Error(err, j.all[0].state)
		}
		// Nobody runs it any more.
		if got := said(t, table, root, "work"); got != "ERR 110 bad-state the daemon starts or ends: say it again when it runs" || len(j.all) != 1 {
			t.Error(got)
		}
	})
}

func TestSupport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := parts()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Jobs.Run(ctx) }()
		synctest.Wait()
		table := Commands(p)
		var out bytes.Buffer
		if err := table.serve(t.Context(), root, strings.NewReader("support\njob wait 1\njob fetch 1\n"), &out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"job: 1\nOK\n", "state: done\n", "result.bytes: 6\nOK\n", "data: " + base64.StdEncoding.EncodeToString([]byte("bundle")) + "\nOK\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in:\n%s", want, &out)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
