#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A USB webcam with microphone is plugged in, streamed, unplugged in mid-stream and plugged in again,
# ten times. The frames' numbers, burnt into the picture, are read back.
set -eu
. /rig/lib.sh
start_vusb -audio
wait_for /dev/video0
for f in MJPG:640:480 MJPG:1280:720 YUYV:320:240 YUYV:640:480; do
	p=${f%%:*}; r=${f#*:}; w=${r%:*}; h=${r#*:}
	v4l2-ctl -d /dev/video0 --set-fmt-video=width=$w,height=$h,pixelformat=$p --set-parm=30 >/dev/null
	rate=$(timeout 20 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-skip=3 --stream-count=60 2>&1 | grep -o '[0-9.]* fps' | tail -n 1)
	[ -n "$rate" ] || die "$f does not stream"
	echo "$f: $rate"
done

# The number of frame i of a YUYV file: the luma of 16 blocks in one line of the picture.
w=320 h=240 n=20
v4l2-ctl -d /dev/video0 --set-fmt-video=width=$w,height=$h,pixelformat=YUYV --set-parm=15 \
	--stream-mmap=4 --stream-skip=3 --stream-count=$n --stream-to=/tmp/raw >/dev/null 2>&1
i=0
while [ $i -lt $n ]; do
	od -An -v -tu1 -w2 -j $((i * w * h * 2 + h / 24 * w * 2)) -N $((w * 2)) /tmp/raw |
		awk -v w=$w '{ y[NR - 1] = $1 } END { v = 0; for (b = 0; b < 16; b++) v = v * 2 + (y[int(w / 10 + b * w / 20 + w / 40)] > 128); print v }'
	i=$((i + 1))
done >/tmp/numbers
awk 'NR > 1 && $1 != last + 1 { bad = 1; print "frame", $1, "after", last } { last = $1 } END { exit bad || NR < 20 }' /tmp/numbers || die "the frames' numbers have gaps"
echo "numbers: $(head -n 1 /tmp/numbers) to $(tail -n 1 /tmp/numbers), no gaps"

# Short periods and a long buffer: the kernel gives up when no period comes within about a buffer's
# time, and on a busy machine emulated time is slow.
timeout 60 arecord -q -D hw:0,0 -F 20000 -B 2000000 -d 2 -f S16_LE -r 48000 -c 1 /tmp/a.wav || die "the microphone gives nothing"
echo "microphone: $(stat -c %s /tmp/a.wav) bytes in 2 s"

vusb_cmd freeze
timeout 2 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=5 >/dev/null 2>&1 && die "a frozen camera streams"
vusb_cmd ok
timeout 20 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=5 >/dev/null 2>&1 || die "does not stream after freeze"
echo "freeze: over"

for i in 1 2 3 4 5 6 7 8 9 10; do
	v4l2-ctl -d /dev/video0 --stream-mmap=4 >/tmp/s.log 2>&1 &
	s=$!
	before=$(vusb_cmd frames)
	more() { [ "$(vusb_cmd frames)" -gt $((before + 5)) ]; }
	wait_until 30 more || die "round $i: no frames"
	vusb_cmd unplug
	wait_gone /dev/video0 30
	kill $s 2>/dev/null || true # it does not end by itself
	wait $s || true
	vusb_cmd plug
	wait_for /dev/video0 30
	echo "round $i: up $(cut -d. -f1 /proc/uptime) s"
done
echo "ten rounds of unplug and plug: $(grep -o 'VIDIOC_DQBUF.*' /tmp/s.log || echo 'no word of it')"
timeout 20 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=30 >/dev/null 2>&1 || die "does not stream in the end"
stop_vusb
wait_gone /dev/video0
