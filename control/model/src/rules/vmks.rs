//! Rules about the host's own interfaces.

use std::collections::HashMap;
use std::net::IpAddr;

use super::newest_first;
use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::spec::{Attachment, PortSpec, Vmk};

/// Each has an address of its own, and sends no frame that its switch does not carry.
pub(super) fn fit(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    let mut holders: HashMap<IpAddr, &PortSpec> = HashMap::new();
    for port in intent.ports.values().map(|object| &object.spec) {
        let Attachment::Vmk(Vmk { ip, mtu, .. }) = &port.attachment else {
            continue;
        };
        let (_, _, switch) = intent.chain(port)?;
        if let Some(mtu) = mtu.filter(|mtu| *mtu > switch.mtu) {
            let vmk = ObjectRef::from(port);
            if changed.contains(&switch.into()) && !changed.contains(&vmk) {
                return Err(ModelError::MtuBelowVmk {
                    object: switch.into(),
                    mtu: switch.mtu,
                    vmk: Box::new(vmk),
                    sent: mtu,
                });
            }
            return Err(ModelError::MtuBeyondSwitch {
                object: vmk,
                mtu,
                switch: Box::new(switch.name.clone()),
                carried: switch.mtu,
            });
        }
        let Some(ip) = ip.map(|ip| ip.address()) else {
            continue;
        };
        if let Some(other) = holders.insert(ip, port) {
            let (object, holder) =
                newest_first(ObjectRef::from(port), other.into(), changed, |user| user);
            return Err(ModelError::IpTaken { object, ip, holder });
        }
    }
    Ok(())
}
