//! What a port or uplink needs in order to be attached.

use std::fmt;

use weft_model::{Attachment, InterfaceName, VethEngine, Vmk};
use weft_packet::MacAddr;

use crate::adapters::Adapter;
use crate::links::Link;

/// What a port or uplink needs in order to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where it is attached.
    pub(crate) attachment: Attachment,
    /// Largest payload of a frame in octets.
    pub(crate) mtu: u16,
    /// Whether it is an uplink.
    pub(crate) uplink: bool,
    /// The address of the host's own interface.
    pub(crate) mac: Option<MacAddr>,
}

impl Wanted {
    /// The interface that has to be there before.
    pub(crate) fn link(&self) -> Option<&InterfaceName> {
        match &self.attachment {
            Attachment::Veth { interface, .. } => Some(interface),
            // A TAP device comes with its engine, and may be moved to another network namespace.
            Attachment::Tap { .. } | Attachment::VhostUser(_) | Attachment::Vmk(_) => None,
        }
    }

    /// The interface that it has to itself.
    pub(crate) fn interface(&self) -> Option<&InterfaceName> {
        self.attachment.interface()
    }

    /// Whether an engine that was opened for this serves `other` too.
    pub(crate) fn serves(&self, other: &Self) -> bool {
        self.attachment == other.attachment
            && self.uplink == other.uplink
            && self.mac == other.mac
            && (self.mtu == other.mtu || !(self.sizes_buffers() || self.adapter().is_some()))
    }

    /// Whether an engine that was opened for this stays open for `other`: it serves it, or does so once the device has what it is to
    /// have.
    pub(crate) fn keeps_its_engine(&self, other: &Self) -> bool {
        let device = |wanted: &Self| wanted.adapter().map(|adapter| adapter.device.clone());
        let own = device(self);
        self.serves(other) || (own.is_some() && own == device(other))
    }

    /// What the device of the host's own interface is to have.
    pub(crate) fn adapter(&self) -> Option<Adapter<'_>> {
        match &self.attachment {
            Attachment::Vmk(Vmk { device, ip, .. }) => Some(Adapter {
                device,
                mac: self.mac?,
                mtu: self.mtu,
                ip: *ip,
            }),
            Attachment::Veth { .. } | Attachment::VhostUser(_) | Attachment::Tap { .. } => None,
        }
    }

    /// Whether buffers are made for the MTU. Others take the longest frame that there is, and a guest keeps its connection.
    fn sizes_buffers(&self) -> bool {
        self.is_af_xdp()
    }

    /// Whether opening it may wait for somebody who still holds the interface.
    pub(crate) fn may_wait(&self) -> bool {
        self.is_af_xdp()
    }

    fn is_af_xdp(&self) -> bool {
        matches!(
            self.attachment,
            Attachment::Veth {
                engine: VethEngine::AfXdp,
                ..
            }
        )
    }

    /// The field that names where it is attached.
    pub(crate) fn field(&self) -> &'static str {
        if self.uplink {
            "uplinks"
        } else {
            self.attachment.field()
        }
    }

    /// Where it is attached, in words.
    pub(crate) fn place(&self) -> String {
        place(&self.attachment)
    }

    /// What its engine depends on, of the interface as it is now.
    pub(crate) fn opened_on(&self, link: Option<Link>) -> Option<OpenedOn> {
        let link = link.filter(|_| self.link().is_some())?;
        Some(OpenedOn {
            index: link.index,
            mtu: self.sizes_buffers().then_some(link.mtu),
        })
    }
}

/// An attachment in words.
pub(crate) fn place(attachment: &Attachment) -> String {
    let kind: &dyn fmt::Display = match attachment {
        Attachment::Veth { .. } | Attachment::Vmk(_) => &"interface",
        Attachment::VhostUser(_) => &"socket",
        Attachment::Tap { .. } => &"TAP device",
    };
    format!("{kind} {attachment}")
}

/// What an engine depends on of its interface: where this changes, the engine is opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenedOn {
    /// The number of the interface; a later one of the same name is another.
    pub(crate) index: u32,
    /// Its MTU, where buffers are made for it.
    pub(crate) mtu: Option<u32>,
}
