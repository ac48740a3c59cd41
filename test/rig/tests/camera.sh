#!/bin/sh
# A USB webcam with microphone is plugged in, streamed, unplugged in mid-stream and
# plugged in again. Guest side; needs /host/vusb-ARCH.
set -eu
A=$(uname -m | sed 's/aarch64/arm64/;s/x86_64/amd64/')
modprobe -a vhci-hcd uvcvideo snd-usb-audio
mkfifo /tmp/ctl
vusb -audio -ctl /tmp/ctl >/tmp/vusb.log 2>&1 &
wait_for() { i=0; until [ -e "$1" ]; do i=$((i+1)); [ $i -lt 100 ] || { echo "no $1"; exit 1; }; sleep 0.1; done; }
wait_gone() { i=0; while [ -e "$1" ]; do i=$((i+1)); [ $i -lt 100 ] || { echo "$1 still there"; exit 1; }; sleep 0.1; done; }
wait_for /dev/video0; sleep 1
for f in MJPG:640:480 MJPG:1280:720 YUYV:320:240 YUYV:640:480; do
	p=${f%%:*}; r=${f#*:}; w=${r%:*}; h=${r#*:}
	v4l2-ctl -d /dev/video0 --set-fmt-video=width=$w,height=$h,pixelformat=$p --set-parm=30 >/dev/null
	echo "$f: $(timeout 20 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-skip=3 --stream-count=90 2>&1 | grep -o '[0-9.]* fps' | tail -1)"
done
arecord -q -D hw:0,0 -d 2 -f S16_LE -r 48000 -c 1 /tmp/a.wav; echo "microphone: $(stat -c %s /tmp/a.wav) bytes in 2 s"
(sleep 2; echo unplug >/tmp/ctl) &
timeout 10 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=900 >/tmp/s.log 2>&1 || true
wait_gone /dev/video0; echo "unplugged: $(grep -o 'VIDIOC_DQBUF.*' /tmp/s.log || true)"
echo plug >/tmp/ctl; wait_for /dev/video0; sleep 0.5
timeout 10 v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=30 >/dev/null 2>&1 && echo "replugged: streams"
