//! What documents presume, and which of their commands are not run as they stand.

/// What a document presumes: a script that runs before one of its commands.
pub(crate) struct Setup {
    pub(crate) document: &'static str,
    /// The first line of the command; empty: the beginning of the document.
    pub(crate) before: &'static str,
    pub(crate) script: &'static str,
}

/// Two namespaces that play VMs, on VLAN 10 of a switch, without IPv6, which would send frames of its own accord.
const TWO_VMS: &str = "
for n in 1 2; do
    ip netns add vm$n
    ip netns exec vm$n sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
    ip link add p-vm$n type veth peer name eth0 netns vm$n
    ip link set p-vm$n up
    ip -n vm$n addr add 1.1.1.$n/24 dev eth0
    ip -n vm$n link set eth0 address 02:00:00:00:00:0$n up
done
start_agent
weft vswitch add vSwitch1
weft portgroup add Lab --vswitch vSwitch1 --vlan 10";

/// Their ports.
const TWO_PORTS: &str = "for n in 1 2; do weft port add vm$n --portgroup Lab --veth p-vm$n; done";

pub(crate) const SETUPS: &[Setup] = &[
    Setup {
        document: "README.md",
        before: "weft agent",
        script: "for n in 1 2; do
            ip netns exec vm$n sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
        done",
    },
    Setup {
        document: "docs/af-xdp.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/af-xdp.md",
        before: "",
        script: TWO_PORTS,
    },
    Setup {
        document: "docs/af-xdp.md",
        before: "weft port show vm1",
        script: "ip netns exec vm1 ping -c 1 1.1.1.2",
    },
    Setup {
        document: "docs/af-xdp.md",
        before: "weft uplink add vSwitch1 eth9",
        script: "ip link add eth9 mtu 9000 type veth peer name far9
            ip addr add 10.1.1.1/24 dev eth9
            ip link set eth9 up",
    },
    Setup {
        document: "docs/agent.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/agent.md",
        before: "",
        script: TWO_PORTS,
    },
    Setup {
        document: "docs/agent.md",
        before: "weft agent --config agent.yaml",
        script: "printf 'poll: adaptive\\npol: busy\\n' >agent.yaml",
    },
    Setup {
        document: "docs/agent.md",
        before: "ip netns exec vm1 ping -q -c 60 -i .05 1.1.1.2",
        script: "(sleep 2.5; kill -9 $(pidof weft); sleep 0.2; start_agent) >kill.log 2>&1 &",
    },
    Setup {
        document: "docs/agent.md",
        before: "weft status",
        script: "ip link add p-vm3 type veth peer name far3
            weft port add vm3 --portgroup Lab --veth p-vm3
            ip link del p-vm3
            until weft status | grep 'p-vm3 does not exist'; do sleep 0.05; done",
    },
    // The log shows its return.
    Setup {
        document: "docs/agent.md",
        before: "weft agent",
        script: "ip link add p-vm3 type veth peer name far3
            ip link set p-vm3 up
            ip addr add 1.1.1.3/24 dev far3
            ip link set far3 up
            until weft port list | grep 'vm3 *up .*..:..:'; do ping -c 1 -I far3 1.1.1.1 || true; done",
    },
    Setup {
        document: "docs/api.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/cli.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/cli.md",
        before: "weft top",
        script: TWO_PORTS,
    },
    // vm1 has had two addresses.
    Setup {
        document: "docs/cli.md",
        before: "weft port show vm1 -o json",
        script: "ip netns exec vm1 ping -c 1 1.1.1.2
            ip -n vm1 link set eth0 address 02:00:00:00:00:99
            ip netns exec vm1 ping -c 3 -i 0.3 1.1.1.2",
    },
    Setup {
        document: "docs/drop-reasons.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/drop-reasons.md",
        before: "",
        // For a frame that is longer than the MTU of the switch.
        script: "for n in 1 2; do
            ip link set p-vm$n mtu 2000
            ip -n vm$n link set eth0 mtu 2000
        done",
    },
    Setup {
        document: "docs/drop-reasons.md",
        before: "",
        script: TWO_PORTS,
    },
    // The eight frames that the text describes, from a VM with the address 02:00:00:00:00:01.
    Setup {
        document: "docs/drop-reasons.md",
        before: "",
        script: "unknown=020000000077 self=020000000001 all=ffffffffffff
            words() { printf \"%0$(($1 * 2))d\" 0; }
            ip netns exec vm1 perl -e '
                socket(my $socket, 17, 3, 0) or die; # AF_PACKET, SOCK_RAW
                my $eth0 = `cat /sys/class/net/eth0/ifindex`;
                my $to = pack(\"S n i S C C a8\", 17, 0, $eth0, 0, 0, 6, \"\");
                for (@ARGV) { send($socket, pack(\"H*\", $_), 0, $to) or die \"$_: $!\" }
            ' ${unknown}${self}88b5$(words 46) \
              ${self}${self}88b5$(words 46) \
              ${all}${self}8100000a88b5$(words 42) \
              ${all}${self}81000fff88b5$(words 42) \
              ${all}${self}810000008100000a88b5$(words 38) \
              ${all}${self}8100000088b5$(words 42) \
              ${all}${self}8100 \
              ${all}${self}88b5$(words 2000)
            until weft stats vm1 | grep 'vm1  *8 '; do sleep 0.05; done",
    },
    Setup {
        document: "docs/kernel-stacks.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/kernel-stacks.md",
        before: "",
        script: "weft port add vm1 --portgroup Lab --veth p-vm1
            until weft port list | grep 'vm1 *up'; do sleep 0.05; done",
    },
    // What is sent before that is lost.
    Setup {
        document: "docs/kernel-stacks.md",
        before: "ping -q -c 2 -i .2 1.1.1.1",
        script: "until weft port list | grep 'host0 *up'; do sleep 0.05; done",
    },
    Setup {
        document: "docs/lab.md",
        before: "weft lab ls",
        script: "agent=/run/weft/lab/uplink/esxi02/agent.pid
            if test -e $agent; then
                pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' $agent)
                kill $pid
                while kill -0 $pid; do sleep 0.05; done
            fi",
    },
    Setup {
        document: "docs/manifests.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/netflow.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/netflow.md",
        before: "",
        script: TWO_PORTS,
    },
    Setup {
        document: "docs/netflow.md",
        before: "",
        script: "ip link set lo up",
    },
    Setup {
        document: "docs/policies.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/policies.md",
        before: "",
        script: TWO_PORTS,
    },
    Setup {
        document: "docs/policies.md",
        before: "",
        script: "for n in 1 2; do
            ip link add eth$n type veth peer name far$n
            ip link set eth$n up
            ip link set far$n up
        done",
    },
    Setup {
        document: "docs/manifests.md",
        before: "",
        script: "weft port add vm2 --portgroup Lab --veth p-vm2",
    },
    Setup {
        document: "examples/host.yaml",
        before: "",
        script: "for name in eth1 p-MyVM1 p-MyVM2; do
            ip link add $name type veth peer name far-$name
            ip link set $name up
        done
        start_agent",
    },
    // QEMU emulates the processor: what this machine calls KVM may not run anything.
    Setup {
        document: "docs/trace.md",
        before: "",
        script: TWO_VMS,
    },
    Setup {
        document: "docs/trace.md",
        before: "",
        script: "for n in 1 2; do
            weft port add vm$n --portgroup Lab --veth p-vm$n --mac 02:00:00:00:00:0$n
        done",
    },
    Setup {
        document: "docs/trace.md",
        before: "weft port set vm2 --block yes",
        script: "until weft port show vm2 | grep 'p-vm2 is set down'; do sleep 0.05; done",
    },
    Setup {
        document: "docs/vmk.md",
        before: "",
        script: "ip link add eth1 type veth peer name far1
            ip link set far1 up
            ip link set eth1 up
            start_agent",
    },
    Setup {
        document: "docs/virtual-machines.md",
        before: "",
        script: "touch no-kvm
            if test -c /dev/kvm; then mount --no-mtab --bind no-kvm /dev/kvm; fi",
    },
    Setup {
        document: "docs/virtual-machines.md",
        before: "ping -n -c 3 -i 0.2 192.168.10.1",
        script: "until ping -n -c 1 -W 1 192.168.10.1; do :; done",
    },
];

/// Blocks that show an output without the command: document, language, command. What an agent has logged need not be printed
/// by a command.
pub(crate) const OUTPUTS: &[(&str, &str, &str)] = &[
    ("README.md", "text", "weft lab demo"),
    ("docs/agent.md", "", "true"),
    ("docs/netflow.md", "", "cat examples/nfacctd.conf"),
    (
        "docs/lab.md",
        "yaml",
        "grep -v '^#' examples/uplink.yaml | sed 1d",
    ),
    ("docs/install.md", "yaml", "cat packaging/prometheus.yaml"),
    (
        "docs/virtual-machines.md",
        "xml",
        "cat examples/debian1.xml",
    ),
];

/// Commands that are meant for a guest.
pub(crate) const IN_A_GUEST: &[&str] = &[
    "ethtool -K eth0 tx off",
    "ethtool -K eth0 txvlan off",
    "ethtool -K eth0 tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off",
];

/// Commands that end when they are interrupted. They run in the background.
pub(crate) const ENDLESS: &[&str] = &[
    "weft agent",
    "weft lab exec fabric -- tcpdump -e -i br0",
    "./run-debian1",
];

/// First words of commands that need the internet. They run in this machine's network.
pub(crate) const ONLINE: &[&str] = &["apt-get install", "mmdebstrap"];

/// Why the commands about the package are not run here.
const IN_A_CONTAINER: &str =
    "tests/package.rs does it with dpkg, on a Debian that has booted with systemd";

/// Commands that are not run, and why.
pub(crate) const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "make demo",
        "it builds; `weft lab demo`, which it then runs, is compared with the text",
    ),
    ("README.md", "make test", "it runs this test"),
    (
        "docs/vmk.md",
        "cat > host.yaml <<END",
        "tests/vmk.rs does it, with a connection over the address that moves",
    ),
    ("docs/install.md", "make deb", IN_A_CONTAINER),
    (
        "docs/install.md",
        "apt-get install ./target/weft_0.1.0_amd64.deb",
        IN_A_CONTAINER,
    ),
    (
        "docs/install.md",
        "systemctl restart weft-agent",
        IN_A_CONTAINER,
    ),
    (
        "docs/install.md",
        "apt-get install ./target/weft_0.1.1_amd64.deb",
        IN_A_CONTAINER,
    ),
    (
        "docs/install.md",
        "WEFT_RESTART=yes apt-get install ./target/weft_0.1.1_amd64.deb",
        IN_A_CONTAINER,
    ),
    ("docs/install.md", "apt-get remove weft", IN_A_CONTAINER),
    ("docs/install.md", "apt-get purge weft", IN_A_CONTAINER),
    (
        "docs/virtual-machines.md",
        "virsh start debian1",
        "it needs a libvirt daemon; the domain is validated and defined",
    ),
    (
        "docs/virtual-machines.md",
        "virt-install --name debian1 --memory 512 --vcpus 2 --memorybacking source.type=memfd,access.mode=shared --import --disk disk.img --osinfo debian11 --graphics none --network type=vhostuser,source.type=unix,source.path=/run/vms/debian1.sock,source.mode=server,model=virtio,mac.address=02:00:00:00:00:01,driver.queues=2",
        "it needs a libvirt daemon",
    ),
];
