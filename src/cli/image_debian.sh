# Makes a tree of Debian packages bootable and writes it into the disk, as mmdebstrap's last hook:
# in whatever namespace that works in, "$1" the tree. image_debian.c has it built in and hands over
# what differs in variables KV_*. Descriptor 60 is the disk, 61 takes what its first sector and its
# BIOS boot partition are to hold, 62 the loader for UEFI.
set -eu
root=$1

write() { # PATH, the text from standard input
    mkdir -p "$root${1%/*}"
    cat >"$root$1"
}

# -- who it is
echo "$KV_HOSTNAME" | write /etc/hostname
write /etc/hosts <<.
127.0.0.1 localhost
127.0.1.1 $KV_HOSTNAME
::1 localhost ip6-localhost ip6-loopback
.
write /etc/fstab <<.
UUID=$KV_ROOT_UUID / ext4 errors=remount-ro 0 1
UUID=$KV_ESP_ID /boot/efi vfat umask=0077,nofail 0 2
.
mkdir -p "$root/boot/efi"
write /etc/systemd/network/80-ethernet.network <<.
[Match]
Type=ether

[Network]
DHCP=yes
.
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service
: >"$root/etc/machine-id" # each machine makes its own, as it does with the keys of its ssh server
rm -f "$root"/etc/ssh/ssh_host_*
if [ -e "$root/usr/sbin/sshd" ]; then
    write /etc/systemd/system/ssh.service.d/host-keys.conf <<.
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
.
fi

# -- who may log in
account=root
if [ -n "$KV_USER" ]; then
    chroot "$root" useradd --create-home --shell /bin/bash --groups sudo "$KV_USER"
    echo "$KV_USER ALL=(ALL) NOPASSWD: ALL" | write "/etc/sudoers.d/$KV_USER"
    chmod 0440 "$root/etc/sudoers.d/$KV_USER"
    account=$KV_USER
fi
home=$(chroot "$root" sh -c 'getent passwd "$1" | cut -d: -f6' sh "$account")
if [ -n "$KV_SSH_KEY" ]; then
    echo "$KV_SSH_KEY" | write "$home/.ssh/authorized_keys"
    chmod 0700 "$root$home/.ssh"
    chroot "$root" chown -R "$account:" "$home/.ssh"
fi
if [ -n "$KV_ROOT_PASSWORD" ]; then
    echo "root:$KV_ROOT_PASSWORD" | chroot "$root" chpasswd
fi
if [ -n "$KV_NO_PASSWORD" ]; then
    chroot "$root" passwd --quiet --delete "$account"
fi

# -- how it starts
write /etc/default/grub.d/kvasir.cfg <<'.'
GRUB_TIMEOUT=1
GRUB_TIMEOUT_STYLE=hidden
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
if [ -d /sys/firmware/efi ]; then
    GRUB_TERMINAL=console # the firmware's, which has the serial port
else
    GRUB_TERMINAL="serial console"
fi
.
kernel=$(cd "$root/boot" && ls -1 vmlinuz-* | tail -n 1)
write /boot/grub/grub.cfg <<.
# The image's first; update-grub writes another one.
serial --unit=0 --speed=115200
if [ "\$grub_platform" = efi ]; then
    terminal_input console
    terminal_output console
else
    terminal_input serial console
    terminal_output serial console
fi
set timeout_style=hidden # Esc shows the menu
set timeout=1
menuentry "Debian GNU/Linux" {
    linux /boot/$kernel root=UUID=$KV_ROOT_UUID ro console=tty0 console=ttyS0,115200 quiet
    initrd /boot/initrd.img-${kernel#vmlinuz-}
}
.
write /boot/grub/early.cfg <<.
search.fs_uuid $KV_ROOT_UUID root
set prefix=(\$root)/boot/grub
.
loader() { # PLATFORM FILE MODULE...: GRUB, which finds its folder and the rest of its modules on the disk
    platform=$1 file=$2
    shift 2
    mkdir -p "$root/boot/grub/$platform"
    cp "$root/usr/lib/grub/$platform"/*.mod "$root/usr/lib/grub/$platform"/*.lst "$root/boot/grub/$platform/"
    chroot "$root" grub-mkimage -O "$platform" -p /boot/grub -c /boot/grub/early.cfg -o "/boot/grub/$platform/$file" \
        part_gpt ext2 search_fs_uuid normal configfile serial terminal linux "$@"
}
loader i386-pc core.img biosdisk
loader x86_64-efi bootx64.efi all_video
rm "$root/boot/grub/early.cfg"
cat "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/grub/i386-pc/core.img" >/proc/self/fd/61
cat "$root/boot/grub/x86_64-efi/bootx64.efi" >/proc/self/fd/62

# -- onto the disk
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb
rm -rf "$root"/var/log/*.log "$root"/var/log/apt/*
rm -f "$root"/etc/resolv.conf
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
mount --bind "$root" "$root/mnt" # the tree alone, without what is mounted on it for the chroot
# mmdebstrap's configuration of apt lies in /tmp. Without it its last steps would meet this host's lists.
mount -t tmpfs -o mode=1777 none "$root/mnt/tmp"
mke2fs -q -F -t ext4 -L root -U "$KV_ROOT_UUID" -d "$root/mnt" -E "offset=$KV_ROOT_OFFSET,nodiscard,lazy_itable_init=1" \
    /proc/self/fd/60 "${KV_ROOT_KIB}k"
umount "$root/mnt/tmp" "$root/mnt"
