#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# guest.sh: runs in the rig's guest. It does what the host writes to /host/do, one script at
# a time, and answers with the output in /host/out and the status in /host/done.
. /rig/lib.sh
chmod 755 /host/anchord
ln -sf /host/anchord /tmp/anchorctl

# daemon FORMAT: (re)starts anchord with the camera format.
daemon() {
	[ -z "${DAEMON:-}" ] || { kill "$DAEMON"; wait "$DAEMON"; }
	sed "s/%FORMAT%/$1/" /host/anchord.toml >/tmp/anchord.toml
	/host/anchord -config /tmp/anchord.toml 2>>/host/log &
	DAEMON=$!
	wait_until 20 /tmp/anchorctl -socket /tmp/c.sock version || die "the daemon does not answer"
}

# sound: a PulseAudio server whose microphone gives its sound as it is made. A null sink's
# monitor does so only while somebody asks for it in small pieces, hence the parec.
sound() {
	export HOME=/run/pa XDG_RUNTIME_DIR=/run/pa PULSE_RUNTIME_PATH=/run/pa PULSE_STATE_PATH=/run/pa PULSE_SERVER=unix:/run/pa/native
	mkdir -p /run/pa
	rm -f /run/pa/native /run/pa/pid
	pulseaudio -n -L 'module-native-protocol-unix socket=/run/pa/native auth-anonymous=1' \
		-L 'module-null-sink sink_name=booth rate=48000 channels=1' -L 'module-sine sink=booth frequency=440' \
		-L 'module-remap-source master=booth.monitor source_name=mic' \
		--daemonize=no --use-pid-file=no --exit-idle-time=-1 --realtime=no --high-priority=no 2>>/run/pa/log &
	PULSE_PID=$!
	wait_until 15 pactl info || die "PulseAudio does not answer: $(tail -n 3 /run/pa/log)"
	parec -d booth.monitor --latency-msec=20 >/dev/null 2>&1 &
}

echo ready >/host/ready
while :; do
	until [ -e /host/do ]; do sleep 0.05; done
	mv /host/do /tmp/do
	. /tmp/do >/host/out 2>&1
	echo $? >/host/done.new
	mv /host/done.new /host/done
done
