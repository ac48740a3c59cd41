package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// afterKill is how long a killed worker is waited for. One that does not end hangs in the
// kernel, where no signal reaches it: it is left behind.
const afterKill = 200 * time.Millisecond

// process is a worker's process, and all that it started in its turn.
type process struct {
	pid    int
	signal func(pid int, s unix.Signal) error // unix.Kill
	ended  chan struct{}                      // closed after it is gone
	how    string                             // it ended; valid then

	mu     sync.Mutex
	reaped bool      // its number may mean somebody else now
	killed time.Time // zero: it was not
}

// kill kills the worker and its children. It does not wait.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		if p.killed.IsZero() {
			p.killed = time.Now()
		}
		_ = p.signal(-p.pid, unix.SIGKILL) // it may have ended
	}
}

// wait tells whether the worker ended within d.
func (p *process) wait(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
		return false
	}
}

// hangs tells whether it was killed and is still there after afterKill.
func (p *process) hangs() bool {
	p.mu.Lock()
	killed := p.killed
	p.mu.Unlock()
	if killed.IsZero() {
		return false
	}
	return !p.wait(max(0, afterKill-time.Since(killed)))
}

// why gives how the worker ended; "" when it has not.
func (p *process) why() string {
	if !p.wait(afterKill) {
		return ""
	}
	return p.how
}

// live starts the worker, tells started what came of it, and returns when the worker is
// gone. It is the only one to wait for it without end.
func (p *process) live(cmd *exec.Cmd, log *slog.Logger, started chan<- error) {
	// The child is killed when the thread that started it ends
	// (https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html), so this
	// goroutine keeps its thread, and the thread ends with the goroutine: it has lost its
	// privileges for good.
	runtime.LockOSThread()
	words, stderr, err := os.Pipe()
	if err == nil {
		cmd.Stdout, cmd.Stderr = stderr, stderr
		if err = lower(); err == nil {
			err = cmd.Start()
		}
		_ = stderr.Close()
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close() // the child has it
	}
	if err != nil {
		if words != nil {
			_ = words.Close()
		}
		close(p.ended)
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	restrict(p.pid)
	var wg sync.WaitGroup
	wg.Go(func() { relay(words, log) })
	started <- nil

	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	// It is dead and still has its number: nobody else is hit.
	p.mu.Lock()
	_ = p.signal(-p.pid, unix.SIGKILL) // what it started
	p.reaped = true
	err = cmd.Wait()
	p.how = ending(cmd.ProcessState, !p.killed.IsZero(), err)
	p.mu.Unlock()
	_ = words.SetReadDeadline(time.Now().Add(afterKill)) // who keeps the other end is not heard any more
	wg.Wait()
	_ = words.Close()
	close(p.ended)
}

// ending says in words how a process ended.
func ending(s *os.ProcessState, killed bool, err error) string {
	ws, ok := s.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return fmt.Sprintf("it ended: %v", err)
	case ws.Signaled() && killed:
		return "it was killed"
	case ws.Signaled():
		return fmt.Sprintf("it was killed by a signal that we did not send (%v)", ws.Signal())
	}
	return "it ended with status " + strconv.Itoa(ws.ExitStatus())
}

// lower takes from this thread, and so from what it starts, all that a worker does not
// need: it can gain no privileges by what it executes, has no capabilities even when the
// daemon runs as root, and gets no file of ours by accident.
func lower() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return private()
}

// private makes sure that no descriptor of this process stays open in one that is
// started: Go opens its files so, C libraries may not.
func private() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil // no /proc: there is nothing more to be done
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, s := range names {
		fd, err := strconv.Atoi(s)
		if err != nil || fd <= 2 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // closed meanwhile, or private
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) {
			return fmt.Errorf("keep file %d from workers: %w", fd, err)
		}
	}
	return nil
}

const (
	mostFiles = 256
	oomScore  = "500" // of 1000: when memory is short it goes before the daemon
)

// restrict sets a worker's limits. None of them is worth not starting it.
func restrict(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: mostFiles, Max: mostFiles}, nil)
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(oomScore), 0)
}
