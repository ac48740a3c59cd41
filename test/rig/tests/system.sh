#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For `rig.sh run -S -w -k systemd.watchdog_sec=20`: systemd pets the machine's watchdog,
# a service that stops petting its own is restarted, and a crashed kernel is reset
# (rig.sh then ends with status 125).
set -u
i=0; until [ -e /sys/class/watchdog/watchdog0/identity ] || [ $i = 100 ]; do i=$((i+1)); sleep 0.1; done # udev loads the driver
echo "up $(cut -d' ' -f1 /proc/uptime) s; $(cat /sys/class/watchdog/watchdog0/identity) $(cat /sys/class/watchdog/watchdog0/state)"
cat >/run/systemd/system/petted.service <<'S'
[Service]
Type=notify
NotifyAccess=all
WatchdogSec=3
Restart=always
RestartSec=1
ExecStart=/bin/sh -c 'systemd-notify --ready; for i in 1 2 3; do systemd-notify WATCHDOG=1; sleep 1; done; sleep 1000'
S
systemctl daemon-reload; systemctl start petted; sleep 12
systemctl show petted -p NRestarts
[ "${1:-}" = crash ] && { sync; echo c >/proc/sysrq-trigger; sleep 100; }
true
