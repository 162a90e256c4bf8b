//! The kernel's network interfaces: what they are, and what becomes of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use weft_model::InterfaceName;

/// A network interface as the kernel has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number; another one of the same name has another number.
    pub(crate) index: u32,
    /// Its administrator wants it up.
    pub(crate) up: bool,
    /// There is something at its other end.
    pub(crate) carrier: bool,
    /// The largest payload that it sends and takes, in octets.
    pub(crate) mtu: u32,
}

/// Every interface by name.
pub(crate) type Links = BTreeMap<InterfaceName, Link>;

/// What happened to the interfaces.
#[derive(Clone, Debug)]
pub(crate) enum LinkEvent {
    /// The interface is new or changed.
    Present(InterfaceName, Link),
    /// The interface is gone.
    Gone(InterfaceName),
    /// An IP address of the interface was taken away.
    Readdressed(InterfaceName),
    /// All of them, in case a message was lost.
    All(Links),
}

/// Brings what is known of interfaces up to date.
pub(crate) fn update(links: &mut Links, event: LinkEvent) {
    match event {
        LinkEvent::Present(name, link) => {
            links.insert(name, link);
        }
        LinkEvent::Gone(name) => {
            links.remove(&name);
        }
        LinkEvent::All(all) => *links = all,
        LinkEvent::Readdressed(_) => {}
    }
}

/// How often everything is read again, in case a message was lost.
const RESYNC: std::time::Duration = std::time::Duration::from_secs(30);

/// Watches the interfaces until nobody listens any more. The first event is [`LinkEvent::All`].
///
/// # Errors
/// The kernel refuses the socket, or ended it.
pub(crate) async fn watch(listener: tokio::sync::mpsc::Sender<LinkEvent>) -> Result<(), String> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let mut names = HashMap::new();
    let mut resync = tokio::time::interval(RESYNC);
    let ended = 'watching: loop {
        tokio::select! {
            message = messages.next() => {
                let Some((message, _)) = message else { break Err("the kernel closed the socket".to_owned()) };
                let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
                for event in events(&mut names, message) {
                    if listener.send(event).await.is_err() {
                        break 'watching Ok(());
                    }
                }
            }
            _ = resync.tick() => {
                let links = all(&handle).await?;
                names = links.iter().map(|(name, link)| (link.index, name.clone())).collect();
                if listener.send(LinkEvent::All(links)).await.is_err() {
                    break Ok(());
                }
            }
        }
    };
    connection.abort();
    ended
}

/// What a message says, given the names that interfaces had before it.
fn events(names: &mut HashMap<u32, InterfaceName>, message: RouteNetlinkMessage) -> Vec<LinkEvent> {
    match message {
        RouteNetlinkMessage::NewLink(message) => {
            let Some((name, link)) = read(&message) else {
                return Vec::new();
            };
            let renamed = names
                .insert(link.index, name.clone())
                .filter(|before| *before != name);
            renamed
                .map(LinkEvent::Gone)
                .into_iter()
                .chain([LinkEvent::Present(name, link)])
                .collect()
        }
        // A bridge says so of a port that leaves it, which stays an interface.
        RouteNetlinkMessage::DelLink(message)
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            names
                .remove(&message.header.index)
                .map(LinkEvent::Gone)
                .into_iter()
                .collect()
        }
        RouteNetlinkMessage::DelAddress(message) => {
            let name = names.get(&message.header.index).cloned();
            name.map(LinkEvent::Readdressed).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn read(message: &LinkMessage) -> Option<(InterfaceName, Link)> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => name.parse().ok(),
            _ => None,
        })?;
    // Messages about something else, such as a wireless event, do not say it.
    let mtu = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })?;
    let flags = message.header.flags;
    let link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        mtu,
    };
    Some((name, link))
}

async fn all(handle: &Handle) -> Result<Links, String> {
    let messages = handle
        .link()
        .get()
        .execute()
        .try_filter_map(async |message| Ok(read(&message)));
    messages
        .try_collect()
        .await
        .map_err(|error| error.to_string())
}

/// Asks the kernel, over a connection of its own.
///
/// # Errors
/// There is none to be had, or what the kernel said.
pub(crate) async fn ask<T, E: fmt::Display>(
    question: impl AsyncFnOnce(&Handle) -> Result<T, E>,
) -> Result<T, String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = question(&handle).await;
    connection.abort();
    answer.map_err(|error| error.to_string())
}

/// The name of an interface.
pub(crate) fn name_of(link: &LinkMessage) -> Option<&str> {
    let mut attributes = link.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The address of an interface itself: of a pair of addresses, that of this end.
pub(crate) fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = message.attributes.iter();
    let own = attributes.clone().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let mut attributes = attributes;
    own.or_else(|| {
        attributes.find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Reads all interfaces.
///
/// # Errors
/// What the kernel said.
pub(crate) async fn list() -> Result<Links, String> {
    ask(all).await
}

/// Reads one interface.
///
/// # Errors
/// What the kernel said.
pub(crate) async fn find(name: &InterfaceName) -> Result<Option<Link>, String> {
    ask(async |handle: &Handle| {
        let mut messages = std::pin::pin!(handle.link().get().match_name(name.as_str()).execute());
        match messages.try_next().await {
            Ok(message) => Ok(message.as_ref().and_then(read).map(|(_, link)| link)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -NO_SUCH_DEVICE => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    })
    .await
}

/// `ENODEV` of Linux.
const NO_SUCH_DEVICE: i32 = 19;

/// What an interface is in use for on the host, each as the end of a sentence: `carries the address 10.0.0.1/24`.
/// Interfaces that are stacked on it count, and link-local addresses of IPv6, which every interface gets by itself, do not.
///
/// # Errors
/// What the kernel said.
pub(crate) async fn uses(link: Link) -> Result<Vec<String>, String> {
    ask(async |handle: &Handle| {
        let mut found = own_uses(handle, link.index).await?;
        for (index, name) in stacked(handle, link.index).await? {
            let uses = own_uses(handle, index).await?;
            found.extend(
                uses.iter()
                    .map(|used| format!("carries {name}, which {used}")),
            );
        }
        Ok::<_, rtnetlink::Error>(found)
    })
    .await
}

/// The number of the interface that has an IP address.
///
/// # Errors
/// What the kernel said.
pub(crate) async fn device_of(address: IpAddr) -> Result<Option<u32>, String> {
    ask(async |handle: &Handle| {
        let has_it = |message: &AddressMessage| address_of(message) == Some(address);
        let messages = handle.address().get().execute();
        let mut messages =
            std::pin::pin!(messages.try_filter(|message| std::future::ready(has_it(message))));
        let found = messages.try_next().await?;
        Ok::<_, rtnetlink::Error>(found.map(|message| message.header.index))
    })
    .await
}

async fn own_uses(handle: &Handle, index: u32) -> Result<Vec<String>, rtnetlink::Error> {
    let mut found = addresses(handle, index).await?;
    found.extend(routes(handle, index).await?);
    found.extend(controller(handle, index).await?);
    Ok(found)
}

/// The interfaces of this namespace that send and receive through another one: VLANs, macvlans, and those on them.
async fn stacked(handle: &Handle, index: u32) -> Result<Vec<(u32, String)>, rtnetlink::Error> {
    let messages: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let mut found = Vec::new();
    let mut under = vec![index];
    while let Some(lower) = under.pop() {
        for message in &messages {
            let upper = message.header.index;
            if !is_stacked(message, lower) || upper == index {
                continue;
            }
            if let Some(name) = name_of(message).map(str::to_owned)
                && !found.iter().any(|(known, _)| *known == upper)
            {
                found.push((upper, name));
                under.push(upper);
            }
        }
    }
    Ok(found)
}

/// Whether an interface sends through the one of this number. A pair names its other end in the same way.
fn is_stacked(message: &LinkMessage, lower: u32) -> bool {
    let mut sends_through = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => sends_through = *index == lower,
            LinkAttribute::LinkNetNsId(_) => return false,
            LinkAttribute::LinkInfo(infos) => {
                let pair = [InfoKind::Veth, InfoKind::Netkit, InfoKind::Vxcan];
                if (infos.iter())
                    .any(|info| matches!(info, LinkInfo::Kind(kind) if pair.contains(kind)))
                {
                    return false;
                }
            }
            _ => {}
        }
    }
    sends_through
}

async fn addresses(handle: &Handle, index: u32) -> Result<Vec<String>, rtnetlink::Error> {
    let mut messages = std::pin::pin!(
        handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
    );
    let mut found = Vec::new();
    while let Some(message) = messages.try_next().await? {
        if message.header.index != index || message.header.scope == AddressScope::Link {
            continue;
        }
        let address = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(address.to_string()),
                _ => None,
            });
        if let Some(address) = address {
            found.push(format!(
                "carries the address {address}/{}",
                message.header.prefix_len
            ));
        }
    }
    Ok(found)
}

/// Routes of any table, but not those that the kernel makes for addresses and for every interface.
async fn routes(handle: &Handle, index: u32) -> Result<Vec<String>, rtnetlink::Error> {
    let families = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    let mut found = Vec::new();
    for family in families {
        let mut messages = std::pin::pin!(handle.route().get(family).execute());
        while let Some(message) = messages.try_next().await? {
            let out = message.attributes.iter().any(|attribute| match attribute {
                RouteAttribute::Oif(out) => *out == index,
                RouteAttribute::MultiPath(hops) => {
                    hops.iter().any(|hop| hop.interface_index == index)
                }
                _ => false,
            });
            if !out || message.header.protocol == RouteProtocol::Kernel {
                continue;
            }
            let to = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(IpAddr::from(*to)),
                    RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(IpAddr::from(*to)),
                    _ => None,
                });
            found.push(match (to, message.header.destination_prefix_length) {
                (Some(to), length @ 1..) => format!("carries the route to {to}/{length}"),
                _ => "carries the default route".to_owned(),
            });
        }
    }
    Ok(found)
}

async fn controller(handle: &Handle, index: u32) -> Result<Option<String>, rtnetlink::Error> {
    let mut messages = std::pin::pin!(handle.link().get().match_index(index).execute());
    let message = messages.try_next().await?;
    let is_member = message.is_some_and(|message| {
        message
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, LinkAttribute::Controller(by) if *by != 0))
    });
    Ok(is_member.then(|| "is a member of a bridge or bond".to_owned()))
}

/// The speed of an interface in megabits per second, where its driver tells it.
pub(crate) fn speed(name: &InterfaceName, link: Link) -> Option<u32> {
    let attribute =
        |what: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{what}")).ok();
    // In a network namespace, sysfs may still be that of another.
    let index: u32 = attribute("ifindex")?.trim().parse().ok()?;
    if index != link.index {
        return None;
    }
    attribute("speed")?
        .trim()
        .parse()
        .ok()
        .filter(|speed| *speed > 0)
}

#[cfg(test)]
mod tests {
    use weft_datapath::afxdp::testing::Namespace;

    use super::*;

    fn message(index: u32, name: &str, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::Mtu(1500));
        message
    }

    #[test]
    fn a_renamed_interface_goes_under_its_old_name_and_comes_under_its_new_one() {
        let mut names = HashMap::new();
        events(
            &mut names,
            RouteNetlinkMessage::NewLink(message(7, "eth0", LinkFlags::Up)),
        );
        let seen = events(
            &mut names,
            RouteNetlinkMessage::NewLink(message(7, "lan", LinkFlags::Up)),
        );
        assert!(matches!(&seen[0], LinkEvent::Gone(name) if name.as_str() == "eth0"));
        assert!(
            matches!(&seen[1], LinkEvent::Present(name, link) if name.as_str() == "lan" && link.up)
        );
    }

    #[test]
    fn leaving_a_bridge_is_not_vanishing() {
        let mut names = HashMap::new();
        events(
            &mut names,
            RouteNetlinkMessage::NewLink(message(7, "eth0", LinkFlags::Up)),
        );
        let mut left = message(7, "eth0", LinkFlags::Up);
        left.header.interface_family = AddressFamily::Bridge;
        assert!(events(&mut names, RouteNetlinkMessage::DelLink(left)).is_empty());
        let gone = events(
            &mut names,
            RouteNetlinkMessage::DelLink(message(7, "eth0", LinkFlags::empty())),
        );
        assert!(matches!(&gone[..], [LinkEvent::Gone(_)]));
    }

    #[test]
    fn what_is_stacked_on_an_interface_and_any_route_counts() {
        let namespace = Namespace::new();
        for command in [
            "link add eth0 type veth peer name other",
            "link set eth0 up",
            "link set other up",
            "address add 192.0.2.9/24 dev other",
        ] {
            namespace.ip(&command.split(' ').collect::<Vec<_>>());
        }
        let uses = || {
            namespace.run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.unwrap().block_on(async {
                    let link = find(&"eth0".parse().unwrap()).await.unwrap().unwrap();
                    uses(link).await.unwrap()
                })
            })
        };
        assert_eq!(
            uses(),
            [""; 0],
            "the other end of a pair is not stacked on it"
        );
        for command in [
            "link add mv0 link eth0 type macvlan",
            "link set mv0 up",
            "address add 198.51.100.1/24 dev mv0",
        ] {
            namespace.ip(&command.split(' ').collect::<Vec<_>>());
        }
        assert_eq!(
            uses(),
            ["carries mv0, which carries the address 198.51.100.1/24"]
        );
        for command in [
            "route add 203.0.113.0/24 via 198.51.100.9 dev mv0 table 77",
            "route add 10.0.0.0/8 dev eth0",
        ] {
            namespace.ip(&command.split(' ').collect::<Vec<_>>());
        }
        let found = uses();
        for expected in [
            "carries the route to 10.0.0.0/8",
            "carries mv0, which carries the route to 203.0.113.0/24",
        ] {
            assert!(found.iter().any(|used| used == expected), "{found:?}");
        }
    }

    #[tokio::test]
    async fn loopback_carries_its_address_and_no_default_route() {
        let links = list().await.unwrap();
        assert!(links[&"lo".parse().unwrap()].mtu >= 1280);
        let found = uses(links[&"lo".parse().unwrap()]).await.unwrap();
        assert!(
            found
                .iter()
                .all(|used| used.starts_with("carries the address")),
            "{found:?}"
        );
    }
}
