#!/bin/sh
# vivid -> vh264 (a virtual hardware encoder) -> /host/encoder.h264, with the raw
# frames in /host/encoder.nv12: a decoder must give exactly those. Then a stuck job.
set -eu
A=$(uname -m | sed 's/aarch64/arm64/;s/x86_64/amd64/')
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr=20
modprobe vh264
for d in /sys/class/video4linux/video*; do grep -q vh264 $d/name && E=/dev/${d##*/}; done
vh264-helper & sleep 0.3
v4l2-ctl -d /dev/video20 -c horizontal_movement=5
v4l2-ctl -d /dev/video20 --set-fmt-video=width=640,height=480,pixelformat=NV12 --stream-mmap --stream-count=30 --stream-to=/host/encoder.nv12 >/dev/null 2>&1
enc() { timeout ${2:-30} v4l2-ctl -d $E --set-fmt-video-out=width=640,height=480,pixelformat=NV12 --stream-from=/host/encoder.nv12 --stream-out-mmap --stream-mmap --stream-to=$1 >/tmp/enc.log 2>&1 || true; }
a=$(cut -d' ' -f1 /proc/uptime); enc /host/encoder.h264; b=$(cut -d' ' -f1 /proc/uptime)
echo "30 frames of 640x480 in $(echo "$b $a" | awk '{print $1-$2}') s, $(stat -c %s /host/encoder.h264) bytes"
grep -q EOS /tmp/enc.log && echo "drained: EOS event"
echo 1 >/sys/module/vh264/parameters/hang; enc /tmp/hung 4; grep -o 'select timeout' /tmp/enc.log
enc /tmp/again; cmp /tmp/again /host/encoder.h264 && echo "recovered after STREAMOFF"
