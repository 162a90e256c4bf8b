#!/bin/busybox sh
# The first process of a guest: brings its interfaces up, then runs what comes in over the second serial line.

/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/usr/bin:/usr/sbin:/bin:/sbin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run

while read -r module; do insmod "$module"; done </lib/modules/order

# Parameters of the kernel with a dot in their names are left to modules, and so to this.
for word in $(cat /proc/cmdline); do
    case $word in
        guest.ip=*) ip=${word#*=} ;;
        guest.tagged-ip=*) tagged_ip=${word#*=} ;;
        guest.vlan=*) vlan=${word#*=} ;;
        guest.pairs=*) pairs=${word#*=} ;;
    esac
done
until [ -e /sys/class/net/eth0 ]; do usleep 10000; done
# The driver uses no more queue pairs than there are processors, unless it is told to.
ethtool -L eth0 combined "$pairs"
ip link add link eth0 name "eth0.$vlan" type vlan id "$vlan"
ip addr add "$ip/16" dev eth0
ip addr add "$tagged_ip/16" dev "eth0.$vlan"
for interface in lo eth0 "eth0.$vlan"; do ip link set "$interface" up; done
# What is sent before there is a link is lost.
while [ "$(cat /sys/class/net/eth0/operstate)" = down ]; do usleep 10000; done

# Requests are lines of a word and a command. Answers are a line of @, the word, the exit code and the lengths of both
# outputs, and then these. Files and not pipes: what a command leaves in the background does not hold its answer.
exec 3<>/dev/ttyS1 # held open: opening it anew throws away what came in meanwhile
stty -F /dev/ttyS1 raw -echo
echo "the guest is ready"
# In a process of its own: what a command leaves in the background becomes a child of the first process, whose `read` would lose
# what it has of a line when such a child ends.
(
    while read -r word command; do
        [ -n "$command" ] || continue
        sh -c "$command" </dev/null >/run/stdout 2>/run/stderr 3>&-
        echo "@$word $? $(stat -c %s /run/stdout) $(stat -c %s /run/stderr)"
        cat /run/stdout /run/stderr
    done
) <&3 >&3
