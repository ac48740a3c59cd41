package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"anchord/device"
)

// Jobs are commands that take longer than an answer may: they are answered at once with a
// number, and go on. They end with the daemon; what they gave is kept in memory alone.
type Jobs struct {
	events *device.Events
	begin  chan *job

	mu   sync.Mutex
	open bool // Run runs
	last int
	all  []*job // the oldest first
}

// Limits of jobs.
const (
	maxJobs   = 4                // at once
	keptJobs  = 32               // that are listed, with those that run
	jobTime   = 10 * time.Minute // after which one is cancelled
	maxOutput = 8 << 20          // bytes of one job's output; the newest output alone is kept
)

// States of a job, the words that events and answers have.
const (
	running   = "running"
	done      = "done"
	failed    = "failed"
	cancelled = "cancelled"
)

var errClosed = Errorf(CodeState, "the daemon starts or ends: say it again when it runs")

// NewJobs makes Jobs without one. events is told of each step; it may be nil.
func NewJobs(events *device.Events) *Jobs {
	return &Jobs{events: events, begin: make(chan *job)}
}

// job is one of them. What is below the line is guarded by Jobs.mu.
type job struct {
	id      int
	command *Command
	by      string
	do      func(context.Context, io.Writer) (Fields, error)
	stop    context.CancelFunc
	ctx     context.Context
	ended   chan struct{}

	state  string
	begun  time.Time
	took   time.Duration // of one that ended
	result Fields
	err    *Error
	output []byte
}

// Run runs jobs until ctx ends, and then ends those that run.
func (j *Jobs) Run(ctx context.Context) error {
	opened := func(yes bool) { j.mu.Lock(); j.open = yes; j.mu.Unlock() }
	opened(true)
	defer opened(false)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case n := <-j.begin:
			wg.Go(func() {
				stop := context.AfterFunc(ctx, n.stop)
				defer stop()
				j.run(n)
			})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (j *Jobs) run(n *job) {
	out := bounded{most: maxOutput}
	result, err := n.do(n.ctx, &out)
	if err == nil {
		err = out.err
	}
	j.mu.Lock()
	n.state, n.took = done, time.Since(n.begun)
	switch {
	case err == nil:
		n.result = result
		if out.b.Len() > 0 {
			for _, old := range j.all {
				old.output = nil
			}
			n.output = out.b.Bytes()
			n.result = append(n.result, Field{"bytes", len(n.output)})
		}
	case errors.Is(n.ctx.Err(), context.DeadlineExceeded):
		n.state, n.err = failed, Errorf(CodeTimeout, "it did not end in %s", formatDuration(jobTime))
	case n.ctx.Err() != nil:
		n.state = cancelled
	default:
		n.state, n.err = failed, errorOf(err)
	}
	details := n.details()
	j.mu.Unlock()
	n.stop()
	j.tell(details)
	close(n.ended)
}

func (j *Jobs) tell(details []device.Detail) {
	if j.events != nil {
		j.events.Publish(device.JobEvent, details...)
	}
}

// details are the job's event; Jobs.mu is held.
func (n *job) details() []device.Detail {
	d := []device.Detail{{Key: "id", Value: n.id}, {Key: "command", Value: n.command.Name}, {Key: "state", Value: n.state}}
	if n.err != nil {
		d = append(d, device.Detail{Key: "code", Value: n.err.Code}, device.Detail{Key: "message", Value: n.err.Message})
	}
	return d
}

// later makes a command's function of one that takes long: it may write output, which
// job fetch gives. Its context ends with the job, not with the answer.
func (j *Jobs) later(do func(context.Context, Args, io.Writer) (Fields, error)) call {
	return func(ctx context.Context, a Args) (Fields, error) {
		n, err := j.start(ctx, func(ctx context.Context, w io.Writer) (Fields, error) { return do(ctx, a, w) })
		if err != nil {
			return nil, err
		}
		return Fields{{"job", n.id}}, nil
	}
}

func (j *Jobs) start(ctx context.Context, do func(context.Context, io.Writer) (Fields, error)) (*job, error) {
	own, stop := context.WithTimeout(context.WithoutCancel(ctx), jobTime)
	n := &job{command: commandOf(ctx), by: CallerOf(ctx).Name, do: do, ctx: own, stop: stop, ended: make(chan struct{}), state: running, begun: time.Now()}
	if err := j.admit(n); err != nil {
		stop()
		return nil, err
	}
	j.mu.Lock()
	details := n.details()
	j.mu.Unlock()
	j.tell(details)
	select {
	case j.begin <- n:
		return n, nil
	case <-ctx.Done(): // Run ended a moment ago
		stop()
		j.mu.Lock()
		n.state = cancelled
		details = n.details()
		j.mu.Unlock()
		j.tell(details)
		close(n.ended)
		return nil, errClosed
	}
}

// admit gives the job its number, if there is room.
func (j *Jobs) admit(n *job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.open {
		return errClosed
	}
	busy := 0
	for _, o := range j.all {
		if o.state != running {
			continue
		}
		if o.command == n.command {
			return Errorf(CodeBusy, "job %d does that already: job wait %d", o.id, o.id)
		}
		busy++
	}
	if busy == maxJobs {
		return Errorf(CodeBusy, "%d jobs run already: wait for one, or job cancel", maxJobs)
	}
	if len(j.all) == keptJobs {
		i := slices.IndexFunc(j.all, func(o *job) bool { return o.state != running })
		j.all = slices.Delete(j.all, i, i+1)
	}
	j.last++
	n.id = j.last
	j.all = append(j.all, n)
	return nil
}

// find gives a job that the caller may see: one that he could have begun.
func (j *Jobs) find(ctx context.Context, id int) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.all, func(n *job) bool { return n.id == id })
	if i < 0 {
		return nil, Errorf(CodeNotFound, "there is no job %d, or not any more; see job list", id)
	}
	return j.all[i], CallerOf(ctx).may(j.all[i].command.Level, "a job of "+j.all[i].command.Name)
}

// bounded keeps what is written to it up to a size.
type bounded struct {
	most int
	b    bytes.Buffer
	err  error // that it was too much
}

// Write fails when it becomes too much.
func (w *bounded) Write(b []byte) (int, error) {
	if w.b.Len()+len(b) > w.most {
		w.err = Errorf(CodeTooLong, "the output has more than %d bytes", w.most)
		return 0, w.err
	}
	return w.b.Write(b)
}

type commandKey struct{}

// commandOf gives the row whose function runs in ctx.
func commandOf(ctx context.Context) *Command {
	c, _ := ctx.Value(commandKey{}).(*Command)
	return c
}
