package control

import (
	"context"
	"encoding/base64"
	"math"
	"strconv"
	"time"
)

// maxFetch is how many bytes of a job's output one answer gives.
const maxFetch = 1 << 20

// waitTime is how long a job can be waited for: longer than any takes.
const waitTime = jobTime + time.Minute

// rows gives the commands about jobs.
func (j *Jobs) rows() Table {
	id := Arg{Name: "id", Kind: Int, Min: 1, Max: math.MaxInt32, Help: "the job's number", Suggest: j.ids}
	return Table{
		{Name: "job list", Help: "The jobs that run, and the last that ended.", Level: Read,
			Run: func(context.Context, Args) (Fields, error) {
				j.mu.Lock()
				defer j.mu.Unlock()
				out := make([]Fields, len(j.all))
				for i, n := range j.all {
					out[i] = n.head()
				}
				return Fields{{"job", out}}, nil
			}},
		{Name: "job show", Help: "One job, and what it gave.", Level: Read, Example: "job show 12", Args: []Arg{id},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				n, err := j.find(ctx, a.Int("id"))
				if err != nil {
					return nil, err
				}
				return j.show(n), nil
			}},
		{Name: "job wait", Help: "Answer when a job has ended, with what it gave.", Level: Read, Example: "job wait 12 timeout=1m", Most: waitTime + callTime,
			Args: []Arg{id, {Name: "timeout", Kind: Duration, Min: 1, Max: int(waitTime / time.Second), Optional: true, Default: formatDuration(waitTime), Help: "how long to wait at most"}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				n, err := j.find(ctx, a.Int("id"))
				if err != nil {
					return nil, err
				}
				wait := time.NewTimer(a.Duration("timeout"))
				defer wait.Stop()
				select {
				case <-n.ended:
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-wait.C:
					return nil, Errorf(CodeTimeout, "job %d still runs after %s: wait again, or job cancel %d", n.id, formatDuration(a.Duration("timeout")), n.id)
				}
				return j.show(n), nil
			}},
		{Name: "job fetch", Help: "A piece of a job's output, as base64; anchorctl support -o FILE puts them together.", Level: Read, Example: "job fetch 12 offset=0",
			Args: []Arg{id, {Name: "offset", Kind: Int, Min: 0, Max: maxOutput, Unit: "bytes", Optional: true, Default: "0", Help: "where the piece begins"}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				n, err := j.find(ctx, a.Int("id"))
				if err != nil {
					return nil, err
				}
				j.mu.Lock()
				all := n.output
				j.mu.Unlock()
				from := a.Int("offset")
				if from >= len(all) {
					return nil, Errorf(CodeNotFound, "job %d has %d bytes of output; only the newest job's output is kept", n.id, len(all))
				}
				piece := all[from:min(from+maxFetch, len(all))]
				return Fields{{"offset", from}, {"bytes", len(piece)}, {"of", len(all)}, {"data", base64.StdEncoding.EncodeToString(piece)}}, nil
			}},
		{Name: "job cancel", Help: "End a job that runs.", Level: Operate, Example: "job cancel 12", Args: []Arg{id},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				n, err := j.find(ctx, a.Int("id"))
				if err != nil {
					return nil, err
				}
				select {
				case <-n.ended:
					return Fields{{"unchanged", true}}, nil
				default:
				}
				n.stop()
				select {
				case <-n.ended:
					return j.show(n), nil
				case <-ctx.Done():
					return nil, Errorf(CodeTimeout, "job %d was told to end and does not: see job show %d", n.id, n.id)
				}
			}},
	}
}

// head is what a list says of a job; Jobs.mu is held.
func (n *job) head() Fields {
	took := n.took
	if n.state == running {
		took = time.Since(n.begun)
	}
	return Fields{{"id", n.id}, {"command", n.command.Name}, {"by", n.by}, {"state", n.state},
		{"begun", n.begun.UTC().Format(time.RFC3339)}, {"seconds", math.Round(took.Seconds()*10) / 10}}
}

func (j *Jobs) show(n *job) Fields {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := n.head()
	if n.err != nil {
		f = append(f, Field{"code", n.err.Code}, Field{"message", n.err.Message})
	}
	if n.result != nil {
		f = append(f, Field{"result", n.result})
	}
	return f
}

// ids suggests the jobs there are.
func (j *Jobs) ids(context.Context) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, n := range j.all {
		out = append(out, strconv.Itoa(n.id))
	}
	return out
}
