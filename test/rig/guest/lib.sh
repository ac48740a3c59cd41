# SPDX-License-Identifier: Apache-2.0
# lib.sh: shell functions for scripts that run in the rig's guest. Use: . /rig/lib.sh
#
#   wait_for PATH [SECONDS]      until it exists (10 s), or the script ends with a message
#   wait_gone PATH [SECONDS]     until it does not
#   wait_until SECONDS COMMAND   until the command succeeds
#   start_vusb [ARGS...]         a virtual USB camera (see vusb -h), plugged when this returns
#   vusb_cmd COMMAND             plug, unplug, freeze, err, trunc, stall, ok, frames: returns when it is done
#   stop_vusb                    unplugged and ended
#       several cameras: VUSB=second start_vusb ...; VUSB=second vusb_cmd unplug
#   video_node [NAME]            the first capture node of the camera of that name (Virtual Webcam)
#   start_pulse                  a PulseAudio server at /run/pa/native with the source "mic" (440 Hz) and the
#                                sink "speaker"; PULSE_SERVER is set. At most one
#   kill_pulse                   as kill -9
#   start_vh264 [NAME=VALUE...]  the virtual H.264 encoder with those module parameters; sets VH264 to its node
#   start_vh264_like FAMILY [NAME=VALUE...]
#                                as the driver of that name: bcm2835-codec, venus, iris, s5p-mfc, amphion, coda, mtk,
#                                wave5; parameters given here have the last word
#   vh264_set NAME=VALUE...      changes parameters while it runs
#   vh264_get NAME
#   kill_vh264_engine            as kill -9: its job fails, and the next ones wait for...
#   start_vh264_engine
#   stop_vh264                   engine ended and module removed: all clients must have closed it
# A failed wait ends the script with status 1.

die() { echo "guest: $*" >&2; exit 1; }

# What follows forks as little as it can: emulated processes are slow to start.
_seconds() { read -r _now _ </proc/uptime; _now=${_now%.*}; }

wait_until() {
	_seconds
	_end=$((_now + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		_seconds
		[ "$_now" -le "$_end" ] || return 1
		sleep 0.1
	done
}

is_gone() { [ ! -e "$1" ]; }
wait_for() { wait_until "${2:-10}" test -e "$1" || die "no $1 after ${2:-10} s"; }
wait_gone() { wait_until "${2:-10}" is_gone "$1" || die "$1 still there after ${2:-10} s"; }

# _answers counts vusb's answers, and sets _last to the last one.
_answers() {
	_count=0
	while read -r _line; do _count=$((_count + 1)) _last=$_line; done <"/run/vusb/${VUSB:-vusb}.log"
}
_answered() { _answers; [ "$_count" -gt "$1" ]; }

start_vusb() {
	modprobe -a vhci-hcd uvcvideo snd-usb-audio
	mkdir -p /run/vusb
	_v=/run/vusb/${VUSB:-vusb}
	rm -f "$_v.ctl"
	mkfifo "$_v.ctl"
	: >"$_v.log"
	/rig/vusb -ctl "$_v.ctl" "$@" >>"$_v.log" &
	echo $! >"$_v.pid"
	case " $* " in *" -plug=false "*) return 0 ;; esac
	wait_until 30 _answered 0 || die "vusb does not answer"
	grep -q '^ok' "$_v.log" || die "vusb: $(cat "$_v.log")"
}

vusb_cmd() {
	_v=/run/vusb/${VUSB:-vusb}
	read -r _pid <"$_v.pid"
	kill -0 "$_pid" 2>/dev/null || die "vusb has ended: $(cat "$_v.log")"
	_answers
	_before=$_count
	echo "$*" >"$_v.ctl"
	wait_until 30 _answered "$_before" || die "vusb does not answer to $*"
	case $_last in
	"ok $* "*) echo "${_last#ok "$*" }" ;;
	ok*) ;;
	*) die "vusb: $_last" ;;
	esac
}

stop_vusb() {
	vusb_cmd quit
	wait "$(cat "/run/vusb/${VUSB:-vusb}.pid")" 2>/dev/null || true
}

video_node() {
	for _n in /sys/class/video4linux/video*; do
		case $(cat "$_n/name" 2>/dev/null) in "${1:-Virtual Webcam}"*) [ "$(cat "$_n/index")" != 0 ] || { echo "/dev/${_n##*/}"; return 0; } ;; esac
	done
	return 1
}

start_pulse() {
	mkdir -p /run/pa
	export HOME=/run/pa XDG_RUNTIME_DIR=/run/pa PULSE_RUNTIME_PATH=/run/pa PULSE_STATE_PATH=/run/pa PULSE_SERVER=unix:/run/pa/native
	rm -f /run/pa/native
	pulseaudio -n -L 'module-native-protocol-unix socket=/run/pa/native auth-anonymous=1' \
		-L 'module-null-sink sink_name=speaker rate=48000 channels=2' \
		-L 'module-sine-source source_name=mic frequency=440 rate=48000' \
		--daemonize=no --use-pid-file=no --exit-idle-time=-1 --realtime=no --high-priority=no 2>>/run/pa/log &
	PULSE_PID=$!
	wait_until 15 pactl info || die "PulseAudio does not answer: $(tail -n 3 /run/pa/log)"
	pactl set-default-source mic
	pactl set-default-sink speaker
}

kill_pulse() {
	kill -9 "$PULSE_PID"
	wait "$PULSE_PID" 2>/dev/null || true
}

start_vh264() {
	[ ! -d /sys/module/vh264 ] || stop_vh264
	modprobe vh264 "$@" || die "no vh264 with the parameters $*"
	wait_for /dev/vh264
	start_vh264_engine
	for _n in /sys/devices/platform/vh264*/video4linux/video*; do VH264=/dev/${_n##*/}; done
	wait_for "$VH264"
}

# What the drivers have of their own; README.md says where it was read.
start_vh264_like() {
	case $1 in
	bcm2835-codec) _like="driver=bcm2835-codec card=bcm2835-codec-encode node=bcm2835-codec-encode nr=11 formats=YU12,NV12 max_h=1920
		align=2 stride_align=64 stride_wish=1 header_ctrls=5 repeat=0 last=empty level_max=42 level_check=1 coded_size=524288
		hang_bitrate=100000 hang_gop=1 dmabuf=contig" ;;
	venus) _like="driver=qcom-venus card=Qualcomm_Venus_video_encoder node=qcom-venus formats=NV12 align=32 stride_align=128 height_align=32
		crop=whole header_ctrls=4 fps_def=15 bitrate_min=32000 bitrate_max=160000000 bitrate_def=1000000 last=empty
		dmabuf=contig" ;;
	iris) _like="driver=iris_driver card=Iris_Encoder node=qcom-iris-encoder formats=NV12 align=2 stride_align=128 height_align=32
		force_key=none header_ctrls=2 repeat=0 last=empty dmabuf=contig" ;;
	s5p-mfc) _like="driver=s5p-mfc card=s5p-mfc-enc node=s5p-mfc-enc formats=NM12,YM12 align=16 header_ctrls=4 header_mode=separate repeat=0
		coded_size=0 max_open=4 restart=0 last=unmarked dmabuf=contig fatal=device" ;;
	amphion) _like="driver=amphion-vpu card=amphion_vpu_encoder node=amphion-vpu-encoder formats=NV12,NM12 align=2 stride_align=16
		header_ctrls=4 repeat=0 min_out=6 min_cap=6 bitrate_min=16384 dmabuf=contig" ;;
	coda) _like="driver=coda card=CODA960 node=coda-video-encoder api=splane formats=YU12,NV12 align=2 stride_align=16 force_key=none
		header_ctrls=4 repeat=0 bitrate=frozen bitrate_min=0 bitrate_max=32767000 bitrate_def=0 dmabuf=contig" ;;
	mtk) _like="driver=mtk-vcodec-enc card=MT8173_video_encoder node=mtk-vcodec-enc formats=NM12,YM12 align=16 header_ctrls=4
		header_mode=separate repeat=0 controls=queued streamoff_frees=1 fail_fatal=1 level_max=42 bitrate_def=4000000 last=empty
		dmabuf=contig" ;;
	wave5) _like="driver=wave5-enc card=wave5-enc node=wave5-enc formats=YU12,NV12,YM12,NM12 max_w=8192 max_h=8192 align=16 stride_align=32
		force_key=none header_ctrls=2 repeat=0 bitrate=frozen rc=off bitrate_min=0 bitrate_def=0 level_def=10 last=empty
		dmabuf=contig" ;;
	*) die "vh264: no family $1" ;;
	esac
	shift
	start_vh264 $_like "$@"
	vh264_set "card=$(vh264_get card | tr _ ' ')" # a module's parameters have no blanks
}

start_vh264_engine() {
	mkdir -p /run/vh264
	/rig/vh264-helper </dev/null >>/run/vh264/log 2>&1 &
	echo $! >/run/vh264/pid
}

kill_vh264_engine() {
	read -r _pid </run/vh264/pid
	kill -9 "$_pid"
	wait "$_pid" 2>/dev/null || true
	wait_until 10 test ! -e "/proc/$_pid/exe" || die "the engine does not end"
}

stop_vh264() {
	read -r _pid </run/vh264/pid
	kill "$_pid" 2>/dev/null || true
	wait_until 10 rmmod vh264 || die "vh264 is in use"
}

_vh264=/sys/module/vh264/parameters
vh264_set() { for _a; do echo "${_a#*=}" >"$_vh264/${_a%%=*}" || die "vh264: no $_a"; done; }
vh264_get() { cat "$_vh264/$1"; }
