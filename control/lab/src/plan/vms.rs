//! The VMs of a plan.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weft_model::{Attachment, HostSpec, Manifest, Mtu, PortSpec, VethEngine, VmEngine, VmSpec};
use weft_packet::MacAddr;

use super::{Host, Vm, resolve};
use crate::LabError;
use crate::name::{self, LabName};

/// Plans the VMs and adds their ports to the configuration of their hosts.
pub(super) fn plan(
    lab: &LabName,
    manifest: &Manifest,
    specs: &[HostSpec],
    hosts: &mut [Host],
) -> Result<Vec<Vm>, LabError> {
    let mut macs: BTreeSet<MacAddr> = manifest.vms.iter().filter_map(|vm| vm.mac).collect();
    let mut ends: Vec<BTreeSet<String>> = hosts
        .iter()
        .map(|host| {
            host.uplinks
                .iter()
                .map(|uplink| uplink.interface.clone())
                .chain(["lo".to_owned()])
                .collect()
        })
        .collect();
    let mut vms = Vec::with_capacity(manifest.vms.len());
    for spec in &manifest.vms {
        let object = format!("VM {}", spec.name);
        let place = resolve(&object, spec.host.as_ref().map(|host| host.as_str()), specs)?;
        let (host, ends) = hosts
            .iter_mut()
            .zip(&mut ends)
            .find(|(host, _)| host.name == place.name.as_str())
            .expect("every spec of a host was planned");
        let vm = Vm {
            name: spec.name.to_string(),
            host: host.name.clone(),
            namespace: name::namespace(lab, spec.name.as_str()),
            host_end: name::interface("p-", spec.name.as_str(), ends),
            mac: spec
                .mac
                .unwrap_or_else(|| name::mac(spec.name.as_str(), &mut macs)),
            ip: spec
                .ip
                .as_deref()
                .map(|ip| check_ip(&object, ip))
                .transpose()?,
            mtu: mtu_of(spec, host).octets(),
            engine: spec.engine,
        };
        let ports = host.manifest.ports.get_or_insert_default();
        ports.push(port(spec, &vm));
        vms.push(vm);
    }
    Ok(vms)
}

fn mtu_of(vm: &VmSpec, host: &Host) -> Mtu {
    let mut switches = host.manifest.vswitches().iter();
    let own = switches.find(|section| {
        section
            .portgroups
            .iter()
            .any(|group| group.name == vm.portgroup)
    });
    own.map(|section| section.mtu).unwrap_or_default()
}

fn port(spec: &VmSpec, vm: &Vm) -> PortSpec {
    let interface = vm
        .host_end
        .parse()
        .expect("interface names of labs are short and plain");
    let attachment = match spec.engine {
        VmEngine::Veth => Attachment::Veth {
            interface,
            engine: VethEngine::AfXdp,
        },
        VmEngine::Packet => Attachment::Veth {
            interface,
            engine: VethEngine::Packet,
        },
        VmEngine::Tap => Attachment::Tap { device: interface },
    };
    PortSpec {
        mac: Some(vm.mac),
        ..PortSpec::new(spec.name.clone(), spec.portgroup.clone(), attachment)
    }
}

/// `ADDRESS/PREFIX`, returned as it was written.
fn check_ip(object: &str, text: &str) -> Result<String, LabError> {
    let sound = text
        .split_once('/')
        .is_some_and(|(address, prefix)| match address.parse() {
            Ok(IpAddr::V4(_)) => prefix.parse::<u8>().is_ok_and(|bits| bits <= 32),
            Ok(IpAddr::V6(_)) => prefix.parse::<u8>().is_ok_and(|bits| bits <= 128),
            Err(_) => false,
        });
    if sound {
        return Ok(text.to_owned());
    }
    Err(LabError::invalid(
        format!("{object}: ip"),
        format!("{text:?} is not an address with a prefix length"),
    )
    .hint("write it as 192.168.10.1/24"))
}
