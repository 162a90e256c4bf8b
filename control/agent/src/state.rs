//! What the agent knows: what is asked for, what it has attached, and how that stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_api::{Cause, Problem, ProblemKind};
use weft_datapath::{Config, PortId, SwitchId};
use weft_model::{
    Attachment, HostName, IdPool, Intent, InterfaceName, LinkSetting, NetflowExport, ObjectKind,
    ObjectRef, PortKey, PortSpec, Realisation, Realised, VethEngine, Vmk, VswitchName,
    netflow_exports,
};
use weft_packet::MacAddr;

use crate::addresses::Addresses;
use crate::links::{Link, Links};
use crate::store::{Store, Unconfirmed};
use crate::wanted::{OpenedOn, Wanted, place};

/// Everything but counters, which the data path has, and learned addresses, which change without anybody asking.
/// A change works on a copy, so that a refused one leaves nothing behind.
#[derive(Clone)]
pub(crate) struct State {
    /// The host, by whose name its own interfaces have their addresses.
    pub(crate) host: HostName,
    /// What is asked for.
    pub(crate) intent: Arc<Intent>,
    /// The generation that this is.
    pub(crate) generation: u64,
    /// What the generation waits for.
    pub(crate) unconfirmed: Option<Unconfirmed>,
    /// The kernel's interfaces.
    pub(crate) links: Arc<Links>,
    /// What is attached to the data path.
    pub(crate) engines: BTreeMap<PortKey, Engine>,
    /// Why something is not attached.
    pub(crate) failures: BTreeMap<PortKey, Failure>,
    switches: IdPool<VswitchName>,
    ports: IdPool<PortKey>,
}

/// Something that could not be attached.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) reason: String,
    /// When it is tried again.
    pub(crate) again: Instant,
    pause: Duration,
}

impl Failure {
    const FIRST_PAUSE: Duration = Duration::from_secs(2);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    /// A failure after this one about the same object, if there was one: each pause is twice as long as the one before it.
    pub(crate) fn after(before: Option<&Self>, reason: String, now: Instant) -> Self {
        let pause = before.map_or(Self::FIRST_PAUSE, |before| {
            (before.pause * 2).clamp(Self::FIRST_PAUSE, Self::LONGEST_PAUSE)
        });
        Self {
            reason,
            again: now + pause,
            pause,
        }
    }

    /// Has it tried again at once, and after short pauses: its interface changed.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.again = now;
        self.pause = Duration::ZERO;
    }
}

/// Something attached to the data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// Its number in the data path.
    pub(crate) id: PortId,
    /// What it was opened with.
    pub(crate) wanted: Wanted,
    /// The interface that it was opened on, where it needs one.
    pub(crate) on: Option<OpenedOn>,
}

/// Why a port or uplink does not take part in forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// What kind of fault it is.
    pub(crate) cause: Cause,
    /// What is wrong.
    pub(crate) reason: String,
    /// The command to run next.
    pub(crate) next: String,
}

impl State {
    /// Nothing attached yet.
    pub(crate) fn new(host: HostName, intent: Intent, links: Links) -> Self {
        Self {
            host,
            intent: Arc::new(intent),
            generation: 0,
            unconfirmed: None,
            links: Arc::new(links),
            engines: BTreeMap::new(),
            failures: BTreeMap::new(),
            switches: IdPool::new(usize::from(u16::MAX)),
            ports: IdPool::new(PortId::MAX_PORTS),
        }
    }

    /// Notes which generation it is, once it is durable.
    pub(crate) fn note_generation(&mut self, store: &Store) {
        self.generation = store.current();
        self.unconfirmed = store.unconfirmed().cloned();
    }

    /// What every port and uplink needs in order to be attached.
    pub(crate) fn wanted(&self) -> BTreeMap<PortKey, Wanted> {
        let intent = &self.intent;
        let ports = intent.ports.values().filter_map(|object| {
            let port = &object.spec;
            let group = intent.portgroups.get(&port.portgroup)?;
            let switch = intent.vswitches.get(&group.spec.vswitch)?;
            let own_mtu = match &port.attachment {
                Attachment::Vmk(vmk) => vmk.mtu,
                _ => None,
            };
            let wanted = Wanted {
                attachment: port.attachment.clone(),
                mtu: own_mtu.unwrap_or(switch.spec.mtu).octets(),
                uplink: false,
                mac: self.vmk_mac(port),
            };
            Some((PortKey::Port(port.name.clone()), wanted))
        });
        let uplinks = intent.vswitches.values().flat_map(|object| {
            object.spec.uplinks.iter().map(|interface| {
                let wanted = Wanted {
                    attachment: uplink_on(interface),
                    mtu: object.spec.mtu.octets(),
                    uplink: true,
                    mac: None,
                };
                (PortKey::Uplink(interface.clone()), wanted)
            })
        });
        ports.chain(uplinks).collect()
    }

    /// The address of the host's own interface; of other ports, their guests know it.
    pub(crate) fn vmk_mac(&self, port: &PortSpec) -> Option<MacAddr> {
        port.adapter_mac(&self.host).filter(|_| port.is_vmk())
    }

    /// Gives a number to everything that is asked for.
    ///
    /// # Errors
    /// `failed` where there are more ports than the data path carries.
    pub(crate) fn number(&mut self) -> Result<(), Problem> {
        let full = |what: &str, most: usize| {
            Problem::new(
                ProblemKind::Failed,
                format!("a host carries at most {most} {what}"),
            )
            .with_remedy("remove some that are not used, or use another host")
        };
        for name in self.intent.vswitches.keys() {
            self.switches
                .hold(name.clone())
                .ok_or_else(|| full("switches", usize::from(u16::MAX)))?;
        }
        for key in self.wanted().into_keys() {
            self.ports
                .hold(key)
                .ok_or_else(|| full("ports and uplinks", PortId::MAX_PORTS))?;
        }
        Ok(())
    }

    /// Takes the numbers back from what is neither asked for nor attached.
    pub(crate) fn release_numbers(&mut self) {
        let wanted = self.wanted();
        let gone: Vec<_> = self
            .ports
            .iter()
            .map(|(key, _)| key)
            .filter(|key| !wanted.contains_key(key))
            .cloned()
            .collect();
        for key in gone.iter().filter(|key| !self.engines.contains_key(key)) {
            self.ports.release(key);
            self.failures.remove(key);
        }
        let gone: Vec<_> = self
            .switches
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !self.intent.vswitches.contains_key(name))
            .cloned()
            .collect();
        for name in &gone {
            self.switches.release(name);
        }
    }

    /// The number of a port or uplink.
    pub(crate) fn id(&self, key: &PortKey) -> Option<PortId> {
        self.ports.of(key).map(PortId)
    }

    /// The number of a switch.
    pub(crate) fn switch_id(&self, name: &VswitchName) -> Option<SwitchId> {
        self.switches.of(name).map(SwitchId)
    }

    /// Every port and uplink with its number.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (&PortKey, PortId)> {
        self.ports.iter().map(|(key, id)| (key, PortId(id)))
    }

    /// The port or uplink of a number.
    pub(crate) fn key(&self, id: PortId) -> Option<&PortKey> {
        self.ports.holder(id.0)
    }

    /// A port or uplink as what it is to its administrator.
    pub(crate) fn object_of(&self, key: &PortKey) -> ObjectRef {
        match key {
            PortKey::Port(name) => (self.intent.ports.get(name))
                .map_or_else(|| name.into(), |port| (&port.spec).into()),
            PortKey::Uplink(interface) => ObjectRef::new(ObjectKind::Uplink, interface),
        }
    }

    /// What the data path is to do.
    pub(crate) fn compile(&self, addresses: &Addresses) -> Config {
        let ports = self.ports.iter().map(|(key, id)| {
            let taken = match key {
                PortKey::Port(name) => {
                    let port = self.intent.ports.get(name);
                    let own = port.and_then(|port| self.vmk_mac(&port.spec));
                    own.or_else(|| addresses.of(name).taken)
                }
                PortKey::Uplink(_) => None,
            };
            (
                key.clone(),
                Realised {
                    id: PortId(id),
                    up: self.link_obstacle(key).is_none(),
                    taken,
                },
            )
        });
        weft_model::compile(
            &self.intent,
            &Realisation {
                switches: self.switch_ids(),
                ports: ports.collect(),
            },
        )
    }

    /// The switches whose flows are told to somebody, by name.
    pub(crate) fn netflow_exports(&self) -> Vec<NetflowExport> {
        let realisation = Realisation {
            switches: self.switch_ids(),
            ..Realisation::default()
        };
        netflow_exports(&self.host, &self.intent, &realisation)
    }

    fn switch_ids(&self) -> BTreeMap<VswitchName, SwitchId> {
        let switches = self.switches.iter();
        let switches = switches.map(|(name, id)| (name.clone(), SwitchId(id)));
        switches.collect()
    }

    /// What keeps a port from forwarding, its administrator's wishes included.
    pub(crate) fn port_obstacle(&self, port: &PortSpec) -> Option<Obstacle> {
        let name = quoted(&port.name);
        if port.block {
            let reason = "blocked by its administrator".to_owned();
            return Some(Obstacle {
                cause: Cause::Blocked,
                reason,
                next: format!("weft port set {name} --block no"),
            });
        }
        if port.link == LinkSetting::Down {
            let reason = "its administrator set the link down".to_owned();
            return Some(Obstacle {
                cause: Cause::LinkSetDown,
                reason,
                next: format!("weft port set {name} --link up"),
            });
        }
        self.link_obstacle(&PortKey::Port(port.name.clone()))
    }

    /// What keeps a port or uplink from forwarding: its interface, or that it could not be attached.
    pub(crate) fn link_obstacle(&self, key: &PortKey) -> Option<Obstacle> {
        let attachment = self.attachment(key)?;
        let interface = attachment.interface();
        let link = interface.and_then(|interface| self.links.get(interface));
        if let (Attachment::Veth { interface, .. }, None) = (&*attachment, link) {
            let reason = format!("interface {interface} does not exist");
            return Some(Obstacle {
                cause: Cause::NoInterface,
                reason,
                next: "ip -brief link".to_owned(),
            });
        }
        if !self.engines.contains_key(key) {
            let failure = self.failures.get(key);
            let reason = failure.map(|failure| failure.reason.clone());
            return Some(Obstacle {
                cause: Cause::NotAttached,
                reason: reason
                    .unwrap_or_else(|| format!("{} is not attached yet", place(&attachment))),
                next: match interface {
                    Some(interface) => format!("ip -details link show {interface}"),
                    None => format!("ls -l {}", quoted(&*attachment)),
                },
            });
        }
        if let (Attachment::Vmk(Vmk { device, .. }), None) = (&*attachment, link) {
            let reason = format!("interface {device} is not there: it was renamed or moved");
            return Some(Obstacle {
                cause: Cause::NoInterface,
                reason,
                next: "ip -details link show type tun".to_owned(),
            });
        }
        obstacle_of(interface?, *link?)
    }

    /// Whether something that could not be attached is to be tried again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.failures.iter().any(|(key, failure)| {
            failure.again <= now
                && match self.attachment(key).as_deref() {
                    Some(Attachment::Veth { interface, .. }) => self.links.contains_key(interface),
                    Some(
                        Attachment::VhostUser(_) | Attachment::Tap { .. } | Attachment::Vmk(_),
                    ) => true,
                    None => false,
                }
        })
    }

    fn attachment(&self, key: &PortKey) -> Option<Cow<'_, Attachment>> {
        match key {
            PortKey::Port(name) => {
                Some(Cow::Borrowed(&self.intent.ports.get(name)?.spec.attachment))
            }
            PortKey::Uplink(interface) => self
                .intent
                .uplinks()
                .find(|(_, uplink)| *uplink == interface)
                .map(|_| Cow::Owned(uplink_on(interface))),
        }
    }
}

/// An uplink as something attached.
fn uplink_on(interface: &InterfaceName) -> Attachment {
    Attachment::Veth {
        interface: interface.clone(),
        engine: VethEngine::AfXdp,
    }
}

fn obstacle_of(interface: &InterfaceName, link: Link) -> Option<Obstacle> {
    if !link.up {
        let reason = format!("interface {interface} is set down");
        return Some(Obstacle {
            cause: Cause::InterfaceDown,
            reason,
            next: format!("ip link set {interface} up"),
        });
    }
    if !link.carrier {
        let reason =
            format!("interface {interface} has no carrier: its other end is down or unplugged");
        return Some(Obstacle {
            cause: Cause::NoCarrier,
            reason,
            next: format!("ip -details link show {interface}"),
        });
    }
    None
}

/// A name or path as a shell takes it.
pub(crate) fn quoted(name: &impl ToString) -> String {
    let name = name.to_string();
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_./:@%+,".contains(&octet);
    if name.bytes().all(is_plain) {
        name
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}
