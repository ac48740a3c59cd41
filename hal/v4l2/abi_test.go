package v4l2

import (
	"testing"
	"unsafe"
)

// The kernel's sizes: include/uapi/linux/videodev2.h compiled for the machine with
// 32-bit seconds where it has 32-bit words. 386 has arm's layout, but aligns nothing to 8.
func TestStructSizes(t *testing.T) {
	type sizes struct{ buffer, timestamp, sequence, m, length uintptr }
	want := sizes{buffer: 88, timestamp: 24, sequence: 56, m: 64, length: 72}
	if unsafe.Sizeof(uintptr(0)) == 4 {
		want = sizes{buffer: 68, timestamp: 20, sequence: 44, m: 52, length: 56}
	}
	var b buffer
	got := sizes{unsafe.Sizeof(b), unsafe.Offsetof(b.timestamp), unsafe.Offsetof(b.sequence), unsafe.Offsetof(b.m), unsafe.Offsetof(b.length)}
	if got != want {
		t.Errorf("buffer: %+v, want %+v", got, want)
	}
	for name, s := range map[string][2]uintptr{
		"v4l2_requestbuffers": {unsafe.Sizeof(requestBuffers{}), 20},
		"v4l2_frmivalenum":    {unsafe.Sizeof(frameInterval{}), 52},
		"v4l2_capability":     {unsafe.Sizeof(capability{}), 104},
	} {
		if s[0] != s[1] {
			t.Errorf("%s: %d bytes, want %d", name, s[0], s[1])
		}
	}
}

func TestRequestNumbers(t *testing.T) {
	dq := uint(0xc0585611)
	if unsafe.Sizeof(uintptr(0)) == 4 {
		dq = 0xc0445611
	}
	for name, n := range map[string][2]uint{
		"QUERYCAP":            {vidiocQueryCap, 0x80685600},
		"REQBUFS":             {vidiocReqBufs, 0xc0145608},
		"QUERYBUF":            {vidiocQueryBuf, dq - 17 + 9},
		"QBUF":                {vidiocQBuf, dq - 17 + 15},
		"DQBUF":               {vidiocDQBuf, dq},
		"STREAMON":            {vidiocStreamOn, 0x40045612},
		"STREAMOFF":           {vidiocStreamOff, 0x40045613},
		"ENUM_FRAMEINTERVALS": {vidiocEnumIvals, 0xc034564b},
	} {
		if n[0] != n[1] {
			t.Errorf("VIDIOC_%s is %#x, want %#x", name, n[0], n[1])
		}
	}
}

func TestOffsetIsTheUnionsFirstWord(t *testing.T) {
	var b buffer
	*(*uint32)(unsafe.Pointer(&b.m)) = 0x12345000
	if got := b.offset(); got != 0x12345000 {
		t.Errorf("%#x", got)
	}
}
