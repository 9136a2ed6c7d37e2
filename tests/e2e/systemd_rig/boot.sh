#!/usr/bin/env bash
# Boot this machine's own systemd as PID 1 of new namespaces, over a throw-away overlay of this machine's root.
#
#   boot.sh WORK: WORK/install.sh runs first, in the new root; then systemd boots and starts WORK/check.sh; when that is
#   over it powers off. Both see WORK as /rig. Nothing outside WORK is changed; the network is the machine's.
set -euo pipefail
work=$(realpath "$1")
cgroup=budget-monitor-rig-$$
export work cgroup
trap 'find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -delete' EXIT

unshare --mount --pid --fork --uts --ipc --kill-child bash -euo pipefail -c '
mount --make-rprivate /
layers=$work/layers root=$work/layers/root
mkdir -p "$layers"
mount -t tmpfs tmpfs "$layers"
mkdir -p "$layers"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$root"

# A device, process and system tree of its own.
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/dev" -o mode=755
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root"/dev/{pts,shm}
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666,mode=620
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/rig"
mount --bind "$work" "$root/rig"
touch "$root/dev/console" "$work/console.log"
mount --bind "$work/console.log" "$root/dev/console"

# /run stays the machine`s during the installation: /etc/resolv.conf may point into it.
mount --bind /run "$root/run"
chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/bash /rig/install.sh
umount "$root/run"
mount -t tmpfs tmpfs "$root/run" -o mode=755

# Of the machine`s own units only the journal is started; none that would set up, mount or tune this machine again.
: >"$root/etc/fstab"
for unit in "$root"/{lib,etc}/systemd/system/{sysinit,local-fs}.target.wants/*; do
  case ${unit##*/} in
    systemd-journald.service | "*") ;;
    *) ln -sf /dev/null "$root/etc/systemd/system/${unit##*/}" ;;
  esac
done
rm -f "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
cat >"$root/etc/systemd/system/rig.target" <<UNIT
[Unit]
Description=Rig
Requires=sysinit.target
Wants=rig-check.service
AllowIsolate=yes
UNIT
cat >"$root/etc/systemd/system/rig-check.service" <<UNIT
[Unit]
Description=Check
After=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/bash /rig/check.sh
ExecStopPost=/bin/systemctl poweroff --force
StandardOutput=append:/rig/check.log
StandardError=inherit
TimeoutStartSec=300
UNIT
# A cgroup tree of its own: joined first, so that it is the root of the new cgroup namespace.
mkdir "$layers/cgroup"
mount -t cgroup2 cgroup2 "$layers/cgroup"
mkdir -p "$layers/cgroup/$cgroup"
echo 0 >"$layers/cgroup/$cgroup/cgroup.procs"
export root
exec unshare --cgroup bash -euo pipefail -c "
  mount -t cgroup2 cgroup2 \$root/sys/fs/cgroup
  cd \$root
  mkdir machine
  pivot_root . machine
  umount -l /machine
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=rig.target --log-target=journal --show-status=no"
' || true # a PID 1 that powers off looks like one that was interrupted
