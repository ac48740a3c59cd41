#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vivid -> vh264 (a virtual hardware encoder) -> /host/encoder.h264, with the raw frames in
# /host/encoder.nv12: a decoder must give exactly those. Then a stuck job, and after it a good one.
set -eu
. /rig/lib.sh
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr=20
start_vh264
v4l2-ctl -d /dev/video20 -c horizontal_movement=5
v4l2-ctl -d /dev/video20 --set-fmt-video=width=640,height=480,pixelformat=NV12 --stream-mmap --stream-count=30 --stream-to=/host/encoder.nv12 >/dev/null 2>&1
encode() { # FILE SECONDS
	timeout "$2" v4l2-ctl -d "$VH264" --set-fmt-video-out=width=640,height=480,pixelformat=NV12 --stream-from=/host/encoder.nv12 \
		--stream-out-mmap --stream-mmap --stream-to="$1" >/tmp/enc.log 2>&1 || true
}
a=$(cut -d' ' -f1 /proc/uptime)
encode /host/encoder.h264 30
b=$(cut -d' ' -f1 /proc/uptime)
grep -q EOS /tmp/enc.log || die "no EOS event: $(cat /tmp/enc.log)"
echo "30 frames of 640x480 in $(echo "$b $a" | awk '{ print $1 - $2 }') s, $(stat -c %s /host/encoder.h264) bytes, drained"
echo 1 >/sys/module/vh264/parameters/hang
encode /tmp/hung 4
grep -q 'select timeout' /tmp/enc.log || die "a stuck job did not show"
encode /tmp/again 30
cmp /tmp/again /host/encoder.h264 || die "not the same stream after a stuck job"
echo "recovered after STREAMOFF"

start_vh264 engine=openh264 api=splane
encode /tmp/lossy 30
grep -q EOS /tmp/enc.log || die "OpenH264: no EOS event: $(cat /tmp/enc.log)"
a=$(stat -c %s /host/encoder.h264) b=$(stat -c %s /tmp/lossy)
[ "$b" -gt 0 ] && [ "$b" -lt $((a / 4)) ] || die "OpenH264: $b bytes"
echo "single-planar, OpenH264: $b bytes, drained"
stop_vh264
