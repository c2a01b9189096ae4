# SPDX-License-Identifier: GPL-2.0-or-later
# The first commands of a guide's reader.
grep kvm /proc/modules
virsh list --all
virsh start vm1
virsh dominfo vm1
