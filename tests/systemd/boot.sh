#!/bin/bash
# The half of a machine that runs inside its namespaces: it lays a throw-away overlay over a root
# file system, moves into it, and becomes systemd. Nothing under that root is ever written.
#   boot.sh DIRECTORY ROOT
# Only `Machine` in machine.py starts it: without namespaces of its own, a systemd would empty the
# host's /tmp (its tmpfiles.d has "D /tmp").
set -euo pipefail
base=$1 root=$2 new=$1/root
hostname machine
mount -t tmpfs -o size=1500M,mode=755 machine "$base"
mkdir "$base"/{changes,work,root}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$base/changes,workdir=$base/work" "$new"

# The kernel's own file systems; its settings, shared with the host, can only be read.
mount -t proc proc "$new/proc"
mount --bind "$new/proc/sys" "$new/proc/sys" && mount -o remount,bind,ro "$new/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$new/dev"
mknod -m 666 "$new/dev/tty" c 5 0
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$new/dev/${device%:*}" c 1 "${device#*:}"
done
mkdir "$new"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$new/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do
  ln -s "/proc/self/fd/${stream%:*}" "$new/dev/${stream#*:}"
done
for place in run:755 tmp:1777 var/tmp:1777 root:700 home:755; do
  mount -t tmpfs -o "mode=${place#*:}" tmpfs "$new/${place%:*}"
done

# A machine of its own, with an empty journal that forgets no line.
tr -d - </proc/sys/kernel/random/uuid >"$new/etc/machine-id"
rm -rf "$new/var/log/journal"
mkdir -p "$new/var/log/journal" "$new/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nReadKMsg=no\n' \
  >"$new/etc/systemd/journald.conf.d/machine.conf"

# Of what the host would start, nothing but the ground that every service stands on.
units=$new/etc/systemd/system
rm -rf "$units"/*.wants "$units"/*.requires "$units"/voicekeeper* "$new/opt/voicekeeper" \
  "$new/etc/voicekeeper" "$new"/var/lib/voicekeeper*
for unit in systemd-update-utmp.service systemd-udevd.service systemd-sysctl.service \
  systemd-binfmt.service systemd-remount-fs.service; do
  ln -sf /dev/null "$units/$unit"
done
printf '[Unit]\nDescription=What a machine boots\nRequires=basic.target\nAfter=basic.target\n' \
  >"$units/machine.target"

mkdir -p "$new/.host"
cd "$new"
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
# systemd leaves this to a container's manager; without it no credential could be read.
mount --make-rshared /
exec env -i container=machine PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=machine.target --show-status=false
