//go:build rig

package quirks

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestFailAndHang(t *testing.T) {
	plain(t, "")
	each(t, []string{"fail=2", "fail_every=3", "need_parm=2"}, func(t *testing.T, v string, c *client) {
		c.start()
		s := ""
		for _, k := range c.encode(6) {
			s += map[bool]string{true: "!", false: "."}[k.flags&flagError != 0]
		}
		if s != map[string]string{"fail=2": "!!....", "fail_every=3": "..!..!", "need_parm=2": "..!!!!"}[v] {
			t.Error(s)
		}
	})
	each(t, []string{"hang=1", "hang=-1", "hang_bitrate=500000", "hang_fps=9", "hang_gop=1"}, func(t *testing.T, v string, c *client) {
		c.must(c.setCtrl(ctrlBitrate, 400_000))
		c.must(c.setCtrl(ctrlGOP, 1))
		c.must(c.setRate(1, 5))
		c.start()
		c.feed()
		if k, err := c.take(500 * time.Millisecond); err != unix.EAGAIN {
			t.Fatal(k, err)
		}
		// STREAMOFF frees the job; the frame is gone with it.
		c.must(c.stream(true, false))
		c.must(c.stream(false, false))
		if v == "hang=-1" {
			set(t, "hang=0")
		}
		c.must(c.setCtrl(ctrlBitrate, 600_000))
		c.must(c.setCtrl(ctrlGOP, 2))
		c.must(c.setRate(1, 10))
		c.idle = []int{0, 1, 2, 3}
		c.begin()
		c.encode(2)
	})
	each(t, []string{"delay_ms=400"}, func(t *testing.T, _ string, c *client) {
		c.start()
		begun := time.Now()
		c.encode(2)
		if d := time.Since(begun); d < 800*time.Millisecond {
			t.Error(d)
		}
	})
}

func TestOpenings(t *testing.T) {
	plain(t, "")
	set(t, "max_open=1")
	c := open(t)
	if _, err := unix.Open(node(t), unix.O_RDWR, 0); err != unix.EBUSY {
		t.Error("a second one:", err)
	}
	c.close()
	open(t).close()
	set(t, "busy=1")
	if _, err := unix.Open(node(t), unix.O_RDWR, 0); err != unix.EBUSY {
		t.Error("busy:", err)
	}
	set(t, "busy=0")
	open(t).close()
}

func poll(c *client) int16 {
	f := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLPRI}}
	unix.Poll(f, 2000)
	return f[0].Revents
}

func TestFatal(t *testing.T) {
	plain(t, "")
	each(t, []string{"fatal=queue", "fatal=ioctls", "fatal=device", "fail_fatal=1"}, func(t *testing.T, v string, c *client) {
		other := open(t)
		defer other.close()
		other.start()
		c.start()
		c.encode(2)
		if v == "fail_fatal=1" {
			set(t, "fail=1")
		} else {
			set(t, "fatal_after=2")
			c.encode(1)
		}
		c.feed()
		for end := time.Now().Add(long); poll(c)&unix.POLLERR == 0; {
			if time.Now().After(end) {
				t.Fatal("no POLLERR")
			}
		}
		b, _ := c.buffer(false, 0, mmap)
		if err := c.ioctl(both, 17, b); err != unix.EIO {
			t.Error("DQBUF:", err)
		}
		_, err := c.sfmt(true, "NV12", 320, 240, 0)
		_, err2 := other.sfmt(true, "NV12", 320, 240, 0)
		if got := fmt.Sprint(err == unix.EIO, err2 == unix.EIO); got != map[string]string{
			"fatal=queue": "false false", "fatal=ioctls": "true false", "fatal=device": "true true", "fail_fatal=1": "false false",
		}[v] {
			t.Error("every call fails here, there:", got, err, err2)
		}
		if v == "fatal=queue" || v == "fail_fatal=1" { // over after STREAMOFF
			c.must(c.stream(true, false))
			c.must(c.stream(false, false))
			c.idle = []int{0, 1, 2, 3}
			c.begin()
			c.encode(1)
			return
		}
		c.close()
		c = open(t)
		defer c.close()
		c.start()
		c.encode(1)
	})
}

func TestCalls(t *testing.T) {
	plain(t, "")
	each(t, []string{"ioctl=reqbufs:ENOMEM:1"}, func(t *testing.T, _ string, c *client) {
		if _, err := c.reqbufs(true, 0, mmap); err != nil {
			t.Error("for none:", err)
		}
		if _, err := c.reqbufs(true, 4, mmap); err != unix.ENOMEM {
			t.Error(err)
		}
		c.start() // the second time is good
	})
	each(t, []string{"ioctl=streamon:ESRCH:2,s_parm:ENOTTY s_selection:ENOTTY"}, func(t *testing.T, _ string, c *client) {
		if err := c.setRate(1, 30); err != unix.ENOTTY {
			t.Error(err)
		}
		if a, b := c.stream(true, true), c.stream(true, true); a != unix.ESRCH || b != unix.ESRCH {
			t.Error(a, b)
		}
		c.start()
		c.encode(1)
		set(t, "ioctl=all:EIO")
		if _, err := c.sfmt(true, "NV12", 320, 240, 0); err != unix.EIO || c.stop() != unix.EIO {
			t.Error(err)
		}
		set(t, "ioctl=")
		c.encode(1)
	})
	each(t, []string{"ioctl=s_fmt:300ms,poll:EIO"}, func(t *testing.T, _ string, c *client) {
		begun := time.Now()
		c.format(0)
		if d := time.Since(begun); d < 600*time.Millisecond {
			t.Error(d)
		}
		if poll(c) != unix.POLLERR {
			t.Error("poll")
		}
	})
	set(t, "ioctl=open:ENODEV:1")
	if _, err := unix.Open(node(t), unix.O_RDWR, 0); err != unix.ENODEV {
		t.Error(err)
	}
	open(t).close()
	if err := os.WriteFile(params+"ioctl", []byte("streamoff:whatever"), 0); err == nil {
		t.Error("nonsense is taken")
	}
}

// A child that makes calls that do not return.
func TestMain(m *testing.M) {
	if name := os.Getenv("STUCK"); name != "" {
		fd, err := unix.Open(os.Getenv("NODE"), unix.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		if name == "streamoff" {
			b := make(block, 4)
			b.set(0, outputMP)
			call(fd, write, 19, 4, unsafe.Pointer(&b[0]))
		}
		os.Exit(0) // which closes
	}
	os.Exit(m.Run())
}

// child starts a process that makes such a call.
func child(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STUCK="+what, "NODE="+node(t))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// stuck tells whether a thread of a process waits in the module, and its state.
func stuck(pid int) (state string) {
	ds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, d := range ds {
		dir := fmt.Sprintf("/proc/%d/task/%s/", pid, d.Name())
		where, _ := os.ReadFile(dir + "wchan")
		b, _ := os.ReadFile(dir + "stat")
		if i := bytes.LastIndexByte(b, ')'); i > 0 && bytes.HasPrefix(where, []byte("vh_")) {
			state += string(b[i+2])
		}
	}
	return state
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestStuck(t *testing.T) {
	plain(t, "")
	for _, what := range []string{"streamoff", "close"} {
		t.Run(what, func(t *testing.T) {
			set(t, "ioctl="+what+":stuck")
			defer reset(t)
			cmd := child(t, what)
			pid := cmd.Process.Pid
			waitFor(t, "it is not stuck", func() bool { return stuck(pid) == "D" })
			cmd.Process.Kill()
			time.Sleep(300 * time.Millisecond)
			if s := stuck(pid); s != "D" {
				t.Error("killed, it is", s)
			}
			// Others wait in open, but they can be killed.
			second := child(t, "open")
			waitFor(t, "a second one does not wait", func() bool { return stuck(second.Process.Pid) == "S" })
			second.Process.Kill()
			second.Wait()
			set(t, "ioctl=")
			cmd.Wait()
			c := open(t)
			defer c.close()
			c.start()
			c.encode(1)
		})
	}
	t.Run("hang", func(t *testing.T) {
		set(t, "ioctl=streamoff:hang")
		defer reset(t)
		cmd := child(t, "streamoff")
		waitFor(t, "it does not hang", func() bool { return stuck(cmd.Process.Pid) == "S" })
		cmd.Process.Kill()
		cmd.Wait()
		if !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			t.Error(cmd.ProcessState)
		}
	})
}

func TestEngineKilled(t *testing.T) {
	plain(t, "")
	c := open(t)
	c.start()
	c.encode(1)
	set(t, "delay_ms=3000")
	c.feed()
	time.Sleep(500 * time.Millisecond)
	set(t, "delay_ms=0")
	shell(t, "kill_vh264_engine")
	c.feed()
	s := ""
	if k, err := c.take(long); err == nil {
		s += k.nals + fmt.Sprint(k.flags&flagError != 0)
	}
	if k, err := c.take(500 * time.Millisecond); err == nil {
		t.Error("without an engine:", k)
	}
	shell(t, "start_vh264_engine")
	k, err := c.take(long)
	c.must(err)
	t.Log(s, k)
	if k.nals != "ASPI" { // a new engine knows no earlier picture
		t.Error(k)
	}
}

func TestSourceChange(t *testing.T) {
	plain(t, "")
	c := open(t)
	if err := c.subscribe(eventSourceChange); err != unix.EINVAL {
		t.Error(err)
	}
	set(t, "source_change=1")
	c.must(c.subscribe(eventSourceChange))
	set(t, "source_change=1")
	if e := c.event(); e != eventSourceChange {
		t.Error(e)
	}
}

// export gives a DMA buffer of another device's queue.
func (c *client) export(i int) (int, error) {
	b := make(block, 64)
	b.set(0, c.kind(true))
	b.set(4, uint32(i))
	b.set(12, unix.O_CLOEXEC|unix.O_RDWR)
	err := c.ioctl(both, 16, b)
	return int(int32(b.u32(16))), err
}

// Import of another context's buffers, which are scattered or contiguous memory.
func TestDMABUF(t *testing.T) {
	plain(t, "")
	for _, x := range []struct {
		from, to string
		request  error
		queue    error
	}{
		{"any", "any", nil, nil},
		{"any", "contig", nil, unix.EFAULT},
		{"contig", "contig", nil, nil},
		{"contig", "any", nil, nil},
		{"any", "refused", nil, unix.EINVAL},
		{"any", "none", unix.EINVAL, nil},
	} {
		t.Run(x.from+" to "+x.to, func(t *testing.T) {
			defer reset(t)
			set(t, "dmabuf="+x.from)
			a := open(t)
			defer a.close()
			a.start()
			fd, err := a.export(0)
			if err != nil {
				t.Fatal("EXPBUF:", err)
			}
			defer unix.Close(fd)
			a.paint(a.out[0], 0)
			set(t, "dmabuf="+x.to)
			c := open(t)
			defer c.close()
			c.format(0)
			c.cap = c.buffers(false, 4)
			if _, err := c.reqbufs(true, 2, dmabuf); err != x.request {
				t.Fatal("REQBUFS:", err)
			}
			if x.request != nil {
				return
			}
			b, p := c.buffer(true, 0, dmabuf)
			b.set(72, 1)
			p.set(0, uint32(c.sizes[0]))
			p.set(4, uint32(c.sizes[0]))
			p.set(8, uint32(fd))
			if err := c.ioctl(both, 15, b); err != x.queue {
				t.Fatal("QBUF:", err)
			}
			if x.queue != nil {
				return
			}
			c.begin()
			k, err := c.take(long)
			c.must(err)
			if want := a.encode(1)[0]; !bytes.Equal(k.data, want.data) {
				t.Error("another picture:", k, want)
			}
		})
	}
}
