//! The host's side of its own interfaces: what the kernel is told of the devices that vmks have.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};
use rustix::io::Errno;
use weft_api::{Problem, ProblemKind};
use weft_model::{InterfaceName, IpCidr};
use weft_packet::MacAddr;

use crate::links::{address_of, ask, name_of};

/// What a device is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adapter<'a> {
    /// Its name.
    pub(crate) device: &'a InterfaceName,
    /// Its Ethernet address.
    pub(crate) mac: MacAddr,
    /// Largest payload of a frame in octets.
    pub(crate) mtu: u16,
    /// Its IP address.
    pub(crate) ip: Option<IpCidr>,
}

/// Refuses a TAP device of somebody else. One that is no TAP device its engine refuses.
///
/// # Errors
/// `conflict`: there is such a device without the mark. `failed`: the kernel does not say.
pub(crate) async fn expect_own(device: &InterfaceName, mark: &str) -> Result<(), Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("interface {device}: reading it: {error}");
        Problem::new(ProblemKind::Failed, message).with_remedy("see the agent's log")
    };
    let is_foreign = ask(async |handle: &Handle| match find(handle, device).await {
        Ok(link) => Ok(is_tap(&link) && !is_own(&link, mark)),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    });
    match is_foreign.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(foreign(device)),
        Err(error) => Err(failed(&error)),
    }
}

/// That a device of this name is somebody else's.
pub(crate) fn foreign(device: &InterfaceName) -> Problem {
    let message = format!("interface {device} exists, and weft did not make it");
    Problem::new(ProblemKind::Conflict, message).with_remedy(format!(
        "give the vmk another name, or first remove that interface with 'ip link del {device}'"
    ))
}

/// Gives a device its addresses and MTU, and sets a new one up. What it has already is not touched, so that conversations go on: other
/// addresses go, unless they have a lifetime, as those of a DHCP client or of a router's announcement.
///
/// # Errors
/// `conflict`: another interface of the host has the address, and nothing has changed. `failed`: the kernel refuses a step.
pub(crate) async fn set_up(adapter: Adapter<'_>, mark: &str) -> Result<(), Problem> {
    let failed = |step: &str, error: &dyn std::fmt::Display| {
        let message = format!("interface {}: {step}: {error}", adapter.device);
        Problem::new(ProblemKind::Failed, message).with_remedy("see the agent's log")
    };
    let done = ask(async |handle: &Handle| {
        let steps = async {
            let link = find(handle, adapter.device)
                .await
                .map_err(|error| failed("reading it", &error))?;
            let all: Vec<AddressMessage> = handle
                .address()
                .get()
                .execute()
                .try_collect()
                .await
                .map_err(|error| failed("reading addresses", &error))?;
            let index = link.header.index;
            if let Some(ip) = adapter.ip {
                is_free(handle, ip, index, &all).await?;
            }
            // Neighbours that knew the address elsewhere are told where it is when the device comes up, or gets its Ethernet address.
            set(adapter.device, "ipv4/conf", "arp_notify", 1);
            set(adapter.device, "ipv6/conf", "ndisc_notify", 1);
            // Several interfaces may be on one network: each speaks for itself.
            set(adapter.device, "ipv4/conf", "arp_ignore", 1);
            set(adapter.device, "ipv4/conf", "arp_announce", 2);
            let is_new = set_address(handle, adapter, index, &all)
                .await
                .map_err(|error| match adapter.ip {
                    Some(ip) if ip.address().is_ipv6() && is_forbidden(&error) => no_ipv6(),
                    _ => failed("setting its IP address", &error),
                })?;
            set_link(handle, adapter, mark, &link, is_new)
                .await
                .map_err(|error| failed("setting its address, its MTU and it up", &error))
        };
        // A step says more than the kernel does.
        Ok::<_, String>(steps.await)
    });
    let done = done.await;
    done.unwrap_or_else(|error| Err(failed("asking the kernel for interfaces", &error)))
}

fn is_forbidden(error: &rtnetlink::Error) -> bool {
    errno(error) == Some(Errno::PERM) || errno(error) == Some(Errno::ACCESS)
}

/// Whether the kernel says that there is no such interface.
fn is_absent(error: &rtnetlink::Error) -> bool {
    errno(error) == Some(Errno::NODEV)
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Errno::from_io_error(&message.to_io()),
        _ => None,
    }
}

/// The host's administrator wants no IPv6 on interfaces that are made.
fn no_ipv6() -> Problem {
    let message = "IPv6 is switched off on this host (net.ipv6.conf.default.disable_ipv6)";
    Problem::new(ProblemKind::Conflict, message)
        .in_field("ip")
        .with_remedy("'sysctl -w net.ipv6.conf.default.disable_ipv6=0', or use an IPv4 address")
}

/// Takes addresses that `adapters` are to have from other devices with a mark. Returns the devices that had one.
pub(crate) async fn vacate(adapters: &[Adapter<'_>], mark: &str) -> Vec<InterfaceName> {
    let mut vacated = Vec::new();
    let done = ask(async |handle: &Handle| {
        let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
        let own = links.iter().filter(|link| is_own(link, mark));
        let own: Vec<(u32, InterfaceName)> = own
            .filter_map(|link| Some((link.header.index, name_of(link)?.parse().ok()?)))
            .collect();
        let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
        for message in addresses.into_iter().filter(is_lasting) {
            let Some((_, device)) = (own.iter()).find(|(index, _)| *index == message.header.index)
            else {
                continue;
            };
            let has_it = |adapter: &Adapter<'_>| {
                (adapter.ip).is_some_and(|ip| address_of(&message) == Some(ip.address()))
            };
            if (adapters.iter()).any(|adapter| adapter.device != device && has_it(adapter)) {
                vacated.push(device.clone());
                handle.address().del(message).execute().await?;
            }
        }
        Ok::<_, rtnetlink::Error>(())
    });
    if let Err(error) = done.await {
        // What still has its address refuses it to others.
        tracing::warn!(
            error,
            "an address cannot be taken from the interface of a vmk"
        );
    }
    vacated
}

/// Gives a device with a mark its addresses and MTU again, whoever changed them. Returns in words what it had not got any more.
pub(crate) async fn put_right(adapter: Adapter<'_>, mark: &str) -> Result<Vec<String>, String> {
    ask(async |handle: &Handle| {
        let link = find(handle, adapter.device).await?;
        // Another one may have its name meanwhile.
        if !is_own(&link, mark) {
            return Ok(Vec::new());
        }
        let index = link.header.index;
        let request = handle.address().get().set_link_index_filter(index);
        let own: Vec<AddressMessage> = request.execute().try_collect().await?;
        let has = |wanted: LinkAttribute| link.attributes.contains(&wanted);
        let mut missing = Vec::new();
        if !has(LinkAttribute::Address(adapter.mac.octets().to_vec())) {
            missing.push(format!("the Ethernet address {}", adapter.mac));
        }
        if !has(LinkAttribute::Mtu(adapter.mtu.into())) {
            missing.push(format!("the MTU {}", adapter.mtu));
        }
        // Before its address: below an MTU of 1280 there is none of IPv6.
        if !missing.is_empty() {
            set_link(handle, adapter, mark, &link, false).await?;
        }
        let has_it = |ip| own.iter().any(|message| is_address(message, ip));
        if let Some(ip) = adapter.ip.filter(|ip| !has_it(*ip)) {
            missing.push(format!("the address {ip}"));
            let tells = set_address(handle, adapter, index, &own).await?;
            set_link(handle, adapter, mark, &link, tells).await?;
        }
        Ok::<_, rtnetlink::Error>(missing)
    })
    .await
}

/// The devices with a mark.
pub(crate) async fn marked(mark: &str) -> Result<Vec<InterfaceName>, String> {
    let links: Vec<LinkMessage> =
        ask(async |handle: &Handle| handle.link().get().execute().try_collect().await).await?;
    let own = links.iter().filter(|link| is_own(link, mark));
    Ok(own
        .filter_map(name_of)
        .filter_map(|name| name.parse().ok())
        .collect())
}

/// Removes a device, unless it is none that an engine made. One that is gone is as it should be.
pub(crate) async fn remove(device: &InterfaceName, mark: &str) -> Result<(), String> {
    ask(async |handle: &Handle| match find(handle, device).await {
        Ok(link) if is_own(&link, mark) => handle.link().del(link.header.index).execute().await,
        Ok(_) | Err(_) => Ok(()),
    })
    .await
}

async fn find(handle: &Handle, device: &InterfaceName) -> Result<LinkMessage, rtnetlink::Error> {
    let request = handle.link().get().match_name(device.to_string());
    let mut messages = std::pin::pin!(request.execute());
    let message = messages.try_next().await?;
    message.ok_or(rtnetlink::Error::RequestFailed)
}

/// Whether a device was made for one of the host's own interfaces.
fn is_own(link: &LinkMessage, mark: &str) -> bool {
    let is_marked = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfAlias(alias) if alias == mark);
    is_tap(link) && link.attributes.iter().any(is_marked)
}

fn is_tap(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            (infos.iter()).any(|info| matches!(info, LinkInfo::Kind(InfoKind::Tun)))
        }
        _ => false,
    })
}

/// Refuses an address that another interface has, and says which.
async fn is_free(
    handle: &Handle,
    ip: IpCidr,
    index: u32,
    all: &[AddressMessage],
) -> Result<(), Problem> {
    let has_it = |message: &&AddressMessage| {
        message.header.index != index && address_of(message) == Some(ip.address())
    };
    let Some(other) = all.iter().find(has_it) else {
        return Ok(());
    };
    let request = handle.link().get().match_index(other.header.index);
    let mut messages = std::pin::pin!(request.execute());
    let link = messages.try_next().await.ok().flatten();
    let name = link
        .as_ref()
        .and_then(name_of)
        .unwrap_or("another interface");
    let message = format!(
        "the host has the address {} on {name} already",
        ip.address()
    );
    let on = format!("{}/{} dev {name}", ip.address(), other.header.prefix_len);
    Err(Problem::new(ProblemKind::Conflict, message)
        .in_field("ip")
        .with_remedy(format!(
            "use another address, or first take it away there with 'ip address del {on}'"
        )))
}

/// Whether an address has no lifetime and was not made by the kernel.
fn is_lasting(message: &AddressMessage) -> bool {
    message.header.scope != AddressScope::Link
        && message.header.flags.contains(AddressHeaderFlags::Permanent)
}

fn is_address(message: &AddressMessage, ip: IpCidr) -> bool {
    address_of(message) == Some(ip.address()) && message.header.prefix_len == ip.prefix()
}

async fn set_link(
    handle: &Handle,
    adapter: Adapter<'_>,
    mark: &str,
    link: &LinkMessage,
    tells: bool,
) -> Result<(), rtnetlink::Error> {
    let mac = adapter.mac.octets();
    let has = |wanted: &LinkAttribute| link.attributes.contains(wanted);
    let mut change = LinkUnspec::new_with_index(link.header.index);
    if tells || !has(&LinkAttribute::Address(mac.to_vec())) {
        change = change.address(mac.to_vec());
    }
    // Later it is up or down as its administrator has it.
    if !is_own(link, mark) {
        change = change.alias(mark).up();
    }
    if !has(&LinkAttribute::Mtu(adapter.mtu.into())) {
        change = change.mtu(adapter.mtu.into());
    }
    handle.link().set(change.build()).execute().await
}

/// Gives a device its IP address, and takes others away. Returns whether it had not got it.
async fn set_address(
    handle: &Handle,
    adapter: Adapter<'_>,
    index: u32,
    all: &[AddressMessage],
) -> Result<bool, rtnetlink::Error> {
    let own = all.iter();
    let own = own.filter(|message| message.header.index == index && is_lasting(message));
    let is_wanted =
        |message: &&AddressMessage| adapter.ip.is_some_and(|ip| is_address(message, ip));
    let (wanted, others): (Vec<_>, Vec<_>) = own.partition(is_wanted);
    let is_new = adapter.ip.is_some() && wanted.is_empty();
    if let (Some(ip), true) = (adapter.ip, is_new) {
        // A second address of a network does not go with the first one then, and neither do routes through it.
        set(adapter.device, "ipv4/conf", "promote_secondaries", 1);
        add(handle, index, ip).await?;
    }
    for other in &others {
        handle.address().del((*other).clone()).execute().await?;
    }
    if let (Some(ip), false) = (adapter.ip, others.is_empty()) {
        add(handle, index, ip).await?;
    }
    Ok(is_new)
}

/// Makes a setting of a device, which it works without.
fn set(device: &InterfaceName, section: &str, setting: &str, value: u8) {
    let path = format!("/proc/sys/net/{section}/{device}/{setting}");
    if let Err(error) = std::fs::write(path, value.to_string()) {
        tracing::debug!(%error, %device, setting, "a setting is left as it is");
    }
}

/// Adds an address, or leaves it as it is.
async fn add(handle: &Handle, index: u32, ip: IpCidr) -> Result<(), rtnetlink::Error> {
    let request = handle.address().add(index, ip.address(), ip.prefix());
    request.replace().execute().await
}
