# SPDX-License-Identifier: Apache-2.0
# build.sh: how the guest is made of Debian packages; part of rig.sh, which sources it.
#
# Nothing is installed and no program of the guest's is run: packages are unpacked, and the few
# things that their installation scripts would have done are done here. So it is quick for a foreign
# architecture, and needs neither emulation nor root.
#
# Everything is kept in $C under a name that has the hash of what it was made of, functions included.

# What the guest has. libasound2-plugins and the like would pull in half a desktop.
guest_packages="base-files base-passwd bash coreutils dash debianutils diffutils findutils grep gzip hostname
	libc-bin login mawk mount passwd procps sed tar util-linux busybox strace kmod udev dbus systemd systemd-sysv
	iproute2 iputils-ping v4l-utils i2c-tools gpiod usbutils alsa-utils pulseaudio pulseaudio-utils"
# ... and what of their dependencies it does without: documents, fonts and installation scripts' helpers.
unwanted="^(adduser|debconf|dpkg|fontconfig.*|fonts-.*|iso-codes|libperl5.*|lib.*-perl|perl|perl-modules.*|shared-mime-info|usrmerge|x11-common)_"

# What the initramfs needs to reach the root image, and what the root image holds.
boot_modules="crc32c_generic virtio_pci virtio_mmio virtio_console virtio_blk ext4 9pnet_virtio 9p"
modules="virtio_net virtio_rng loop overlay squashfs configfs autofs4
	vivid uvcvideo usbip-core vhci-hcd dummy_hcd libcomposite usb_f_acm
	snd-usb-audio snd-aloop snd-dummy xhci-pci ftdi_sio cdc-acm
	i2c-dev i2c-stub st_accel_i2c mma8452 gpio-sim gpio-mockup irq_sim
	softdog i6300esb sch_netem sch_tbf sch_ingress act_mirred cls_u32 cls_matchall ifb dummy veth nf_tables nft_numgen nft_limit
	vicodec vim2m vh264 vaccel"

hash() { sha256sum | cut -c1-16; }
cross() { [ "$arch" = "$host" ] || case $arch in arm64) echo aarch64-linux-gnu- ;; amd64) echo x86_64-linux-gnu- ;; esac; }
file_of() { # PACKAGE LIST...: its file in the pool
	local n=$1
	shift
	echo "$debian_pool/$(cat "$@" | grep -m1 "^${n}_")"
}

# once NAME KEY FUNCTION: makes the directory $C/NAME-KEY with FUNCTION DIR unless it is there, and sets
# made to it. Older ones are left to `sweep`.
once() {
	made=$C/$1-$2
	[ ! -d "$made" ] || return 0
	say "$1"
	rm -rf "$made.new"
	mkdir -p "$made.new"
	"$3" "$made.new"
	mv "$made.new" "$made"
}

# packages resolves what to take: the kernel version is what the archive has now.
packages() {
	local L=$C/lists meta
	mkdir -p "$L"
	meta=$L/meta
	debian_list "$arch" "$meta" "linux-image-$arch" "linux-headers-$arch"
	V=$(sed -n 's/^linux-image-\([0-9][^_]*\)_.*/\1/p' "$meta" | head -n 1)
	common=$(sed -n 's/^\(linux-headers-[^_]*-common\)_.*/\1/p' "$meta" | head -n 1)
	kbuild=$(sed -n 's/^\(linux-kbuild-[^_]*\)_.*/\1/p' "$meta" | head -n 1)
	[ -n "$V" ] && [ -n "$common" ] && [ -n "$kbuild" ] || die "cannot tell the kernel's version from the archive's linux-image-$arch"
	source=linux-source-${kbuild#linux-kbuild-}
	debian_list -n "$arch" "$L/kernel" "linux-image-$V" "linux-headers-$V" "$common" busybox-static
	debian_list -n "$host" "$L/host" "$kbuild" "$source"
	debian_list "$arch" "$L/all" $guest_packages
	grep -vE "$unwanted" "$L/all" >"$L/guest"
}

fetch() {
	debian_fetch "$arch" "$C/lists/kernel"
	debian_fetch "$host" "$C/lists/host"
	debian_fetch "$arch" "$C/lists/guest"
}

# unpack DIR TAR-OPTIONS... unpacks the package files named on stdin.
unpack() {
	local D=$1
	shift
	xargs -P "$(nproc)" -I{} bash -o pipefail -c 'dpkg-deb --fsys-tarfile "$1" | tar -C "$2" -xp --no-same-owner --keep-directory-symlink "${@:3}"' - {} "$D" "$@"
}

kernel_files() { file_of "linux-image-$V" "$C/lists/kernel" | unpack "$1" --exclude=./usr/share; }

header_files() {
	{ file_of "linux-headers-$V" "$C/lists/kernel"; file_of "$common" "$C/lists/kernel"; file_of "$kbuild" "$C/lists/host"; } | unpack "$1" --exclude=./usr/share
}

# source_files takes from the kernel's source what Debian does not build.
source_files() {
	local s=$source
	dpkg-deb --fsys-tarfile "$(file_of "$s" "$C/lists/host")" | tar -xO "./usr/src/$s.tar.xz" | xz -dcT0 |
		tar -x -C "$1" --strip-components=1 "$s/drivers/media/test-drivers" "$s/drivers/media/v4l2-core/v4l2-mem2mem.c" \
			"$s/drivers/i2c/i2c-stub.c" "$s/drivers/gpio" "$s/kernel/irq/irq_sim.c" "$s/sound/drivers/dummy.c"
}

# module_files builds our modules and those that Debian leaves out.
module_files() {
	local B=$1 S=$source_dir H=$header_dir L
	cp "$S"/drivers/media/test-drivers/vicodec/*.[ch] "$S/drivers/media/test-drivers/vim2m.c" "$S/drivers/media/v4l2-core/v4l2-mem2mem.c" \
		"$S/drivers/i2c/i2c-stub.c" "$S"/drivers/gpio/{gpio-sim.c,gpio-mockup.c,gpiolib.h} "$S/kernel/irq/irq_sim.c" \
		"$S/sound/drivers/dummy.c" "$here"/vh264/*.[ch] "$here/vaccel/vaccel.c" "$B/"
	# irq_sim is never a module upstream: it needs a licence line and an exported call.
	sed -i 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/; s/#include <linux\/irq_sim.h>/#include <linux\/module.h>\n&/' "$B/irq_sim.c"
	echo 'MODULE_LICENSE("GPL");' >>"$B/irq_sim.c"
	cat >"$B/Kbuild" <<-'K'
	obj-m += vh264.o vaccel.o vicodec.o vim2m.o gpio-sim.o gpio-mockup.o irq_sim.o
	vh264-y := vh264-main.o vh264-ioctl.o vh264-ctrl.o vh264-queue.o vh264-engine.o vh264-level.o vh264-quirk.o vh264-fault.o
	vicodec-y := vicodec-core.o codec-fwht.o codec-v4l2-fwht.o
	ifndef CONFIG_V4L2_MEM2MEM_DEV
	obj-m += v4l2-mem2mem.o
	endif
	ifndef CONFIG_I2C_STUB
	obj-m += i2c-stub.o
	endif
	ifndef CONFIG_SND_DUMMY
	obj-m += snd-dummy.o
	snd-dummy-y := dummy.o
	endif
	K
	L=$H/usr/src/linux-headers-$V
	echo "include $H/usr/src/$common/Makefile" >"$L/Makefile" # the package names /usr/src
	make -s -C "$L" M="$B" CROSS_COMPILE="$(cross)" -j"$(nproc)" modules >"$B/build.log" 2>&1 || { tail -n 20 "$B/build.log" >&2; die "modules do not build"; }
	"$(cross)strip" --strip-debug "$B"/*.ko
	find "$B" ! -name '*.ko' -type f -delete
}

# pack DIR MODULES...: those modules and what they need, under DIR/lib/modules.
pack() {
	local D=$1/lib/modules/$V K=$1.modules f r
	shift
	# The kernel's modules and ours in one tree, by links, for depmod to read.
	rm -rf "$K"
	mkdir -p "$K/lib/modules"
	cp -al "$kernel_dir/lib/modules/$V" "$K/lib/modules/"
	mkdir "$K/lib/modules/$V/updates"
	cp "$module_dir"/*.ko "$K/lib/modules/$V/updates/"
	depmod -b "$K" "$V"
	mkdir -p "$D"
	for f; do modprobe -d "$K" -S "$V" --show-depends "$f" 2>/dev/null || die "no module $f"; done | awk '$1 == "insmod" { print $2 }' | sort -u |
		while read -r f; do
			r=${f#*/lib/modules/"$V"/}
			mkdir -p "$D/$(dirname "$r")"
			cp "$f" "$D/$r"
		done
	cp "$K/lib/modules/$V"/modules.{order,builtin,builtin.modinfo} "$D/"
	rm -rf "$K"
	depmod -b "${D%/lib/modules/*}" "$V"
}

# tree_files unpacks the guest's packages and does what their scripts would.
tree_files() {
	local R=$1 d u
	mkdir -p "$R"/usr/{bin,sbin,lib,lib64} "$R"/{dev,proc,sys,run,tmp,root,host,rig,var/tmp,etc/systemd/system,etc/systemd/network}
	for d in bin sbin lib lib64; do ln -s "usr/$d" "$R/$d"; done
	chmod 1777 "$R/tmp" "$R/var/tmp"
	sed "s|^|$debian_pool/|" "$C/lists/guest" | unpack "$R" --exclude=./usr/share/{doc,man,locale,info,lintian,bug,fonts,zsh,icons} --exclude=./usr/lib/udev/hwdb.d
	ln -sf mawk "$R/usr/bin/awk"
	ln -sf which.debianutils "$R/usr/bin/which"
	[ -e "$R/bin/sh" ] || ln -s dash "$R/bin/sh"
	cp "$R/usr/share/base-passwd/passwd.master" "$R/etc/passwd"
	cp "$R/usr/share/base-passwd/group.master" "$R/etc/group"
	cp "$R/usr/share/libc-bin/nsswitch.conf" "$R/etc/nsswitch.conf"
	sed -i 's/^root:[^:]*:/root::/' "$R/etc/passwd"
	u=900
	for d in systemd-journal input render kvm sgx pulse-access; do
		echo "$d:x:$u:" >>"$R/etc/group"
		u=$((u + 1))
	done
	for d in systemd-network systemd-resolve messagebus pulse anchord; do
		echo "$d:x:$u:$u::/run/$d:/usr/sbin/nologin" >>"$R/etc/passwd"
		echo "$d:x:$u:" >>"$R/etc/group"
		u=$((u + 1))
	done
	echo rig >"$R/etc/hostname"
	echo '127.0.0.1 localhost rig' >"$R/etc/hosts"
	echo 'nameserver 10.0.2.3' >"$R/etc/resolv.conf"
	: >"$R/etc/fstab"
	echo 0123456789abcdef0123456789abcdef >"$R/etc/machine-id" # or each boot is a first boot
	printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$R/etc/systemd/network/10-eth0.network"
	ln -s /dev/null "$R/etc/systemd/network/99-default.link" # keep the name eth0
	mkdir -p "$R/etc/systemd/system/multi-user.target.wants"
	ln -s ../rig-run.service "$R/etc/systemd/system/multi-user.target.wants/"
	ln -s /lib/systemd/system/systemd-networkd.service "$R/etc/systemd/system/multi-user.target.wants/"
	for u in getty@tty1.service systemd-hwdb-update.service; do ln -s /dev/null "$R/etc/systemd/system/$u"; done
}

# as_owner makes the caller root in its own eyes, so that the image's files belong to root.
as_owner() { if [ "$(id -u)" = 0 ]; then "$@"; else unshare -r "$@"; fi; }

image_files() {
	local D=$1 W=$1/work
	mkdir -p "$W/initrd"/{bin,dev,proc,sys,root}
	ln -s bin "$W/initrd/sbin"
	dpkg-deb --fsys-tarfile "$(file_of busybox-static "$C/lists/kernel")" | tar -xO ./bin/busybox >"$W/initrd/bin/busybox"
	chmod 755 "$W/initrd/bin/busybox"
	install -m755 "$here/guest/init" "$W/initrd/init"
	pack "$W/initrd" $boot_modules
	(cd "$W/initrd" && find . | cpio -o -H newc --quiet -R 0:0) >"$D/initrd.img"

	cp -al "$tree_dir" "$W/root"
	pack "$W/root/usr" $modules $boot_modules
	cp "$here/guest/rig-run.service" "$W/root/etc/systemd/system/"
	touch "$W/root/etc/.updated" "$W/root/var/.updated" # or systemd rebuilds its caches on each boot
	truncate -s 1G "$D/root.ext4"
	as_owner mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=1,root_owner=0:0 -d "$W/root" "$D/root.ext4"
	cp "$kernel_dir/boot/vmlinuz-$V" "$D/vmlinuz"
	rm -rf "$W"
}

# tools builds the guest's helper programs; Go's own cache knows what changed.
tools() {
	local d=$C/tools
	mkdir -p "$d"
	(
		cd "$here/../.."
		export CGO_ENABLED=0 GOOS=linux GOARCH=$arch
		go build -trimpath -ldflags '-s -w' -o "$d/" ./test/rig/vusb
		go test -c -tags rig -trimpath -ldflags '-s -w' -o "$d/quirks.test" ./test/rig/vh264/quirks
	)
	PKG=./test/rig/vh264/vh264-helper "$here/../../.ci/cross.sh" "$arch" "$d/vh264-helper" >/dev/null # it links OpenH264
}

# sweep removes what an older build left, unless a guest is running from it.
sweep() {
	local d
	(
		flock -n -x 8 || exit 0
		for d in "$C"/*-????????????????; do
			case $d in "$kernel_dir" | "$header_dir" | "$source_dir" | "$module_dir" | "$tree_dir" | "$image_dir") ;; *) rm -rf "$d" ;; esac
		done
	) 8>"$C/use.lock"
}

build() {
	local L=$C/lists
	mkdir -p "$C"
	exec 9>"$anchord_cache/rig/build.lock"
	flock 9
	packages
	local key
	key=$({ cat "$L/kernel" "$L/host" "$L/guest" "$here/guest/init" "$here/guest/rig-run.service" "$here"/vh264/*.[ch] "$here/vaccel/vaccel.c"
		declare -f; echo "$modules $boot_modules"; } | hash)
	if [ "$(readlink "$C/current" || true)" != "image-$key" ] || [ ! -d "$C/image-$key" ]; then
		say "packages"
		fetch
		once kernel "$({ grep "^linux-image" "$L/kernel"; declare -f kernel_files; } | hash)" kernel_files; kernel_dir=$made
		once headers "$({ cat "$L/kernel" "$L/host"; declare -f header_files; } | hash)" header_files; header_dir=$made
		once source "$({ grep "^linux-source" "$L/host"; declare -f source_files; } | hash)" source_files; source_dir=$made
		once modules "$({ echo "$header_dir $source_dir"; cat "$here"/vh264/*.[ch] "$here/vaccel/vaccel.c"; declare -f module_files; } | hash)" module_files; module_dir=$made
		once root "$({ cat "$L/guest"; declare -f tree_files; } | hash)" tree_files; tree_dir=$made
		once image "$key" image_files; image_dir=$made
		ln -sfn "image-$key" "$C/current"
		sweep
	fi
	tools
	exec 9>&-
}
