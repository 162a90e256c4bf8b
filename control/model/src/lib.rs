//! What a host is to be, as data: objects and their rules, inheritance, and the compilation into what the data path reads.
//!
//! Everything here is a pure function over values: no thread, no socket, no file. The agent, `--dry-run`, `diff`,
//! `trace` and tests all use the same functions.
//!
//! ```
//! use weft_model::{Change, Intent, Manifest};
//!
//! let manifest = Manifest::parse("
//! vswitches:
//!   - name: vSwitch1
//!     security: {promiscuous: accept}
//!     portgroups: [{name: Lab, vlan: 4095}]
//! ports:
//!   - {name: MyVM1, portgroup: Lab, veth: p-MyVM1}
//! ")?;
//! let mut intent = Intent::default();
//! for change in manifest.changes() {
//!     (intent, _) = intent.apply(&change)?;
//! }
//! let policy = intent.effective_policy(&"MyVM1".parse()?)?;
//! assert_eq!(policy.promiscuous.from.to_string(), "standard switch vSwitch1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod change;
mod compile;
mod error;
mod fields;
mod ids;
mod intent;
mod manifest;
mod name;
mod patch;
mod policy;
mod rules;
mod spec;

pub use change::{Change, Outcome};
pub use compile::{NetflowExport, PortKey, Realisation, Realised, compile, netflow_exports};
pub use error::ModelError;
pub use fields::FieldChange;
pub use ids::IdPool;
pub use intent::{Intent, Object, ObjectKind, ObjectRef, ResourceVersion, Uid};
pub use manifest::{
    HostSpec, Manifest, ManifestError, NetflowSection, PortgroupSection, VmEngine, VmSpec,
    VmkSection, VswitchSection, from_text,
};
pub use name::{
    HostName, InterfaceName, NameError, PortName, PortgroupName, SocketPath, VmkName, VswitchName,
    nearest,
};
pub use patch::{
    NetflowPatch, PortPatch, PortgroupPatch, SecurityPatch, SwitchSecurityPatch, VmkPatch,
    VswitchPatch,
};
pub use policy::{EffectivePolicy, Leaf};
pub use spec::{
    ActiveTimeout, ActiveUplinks, Attachment, BeyondLimit, Burst, Collector, Collectors, Decision,
    EffectiveLearning, EffectiveShaping, EffectiveTeaming, FlowDirection, FlowRoom, IdleTimeout,
    Inheritable, IpCidr, IpCidrError, Kind, LbtPeriod, LbtThreshold, LearningAge, LearningLimit,
    LearningPatch, Limit, LinkSetting, Mtu, MtuError, NetflowSpec, NetflowVersion, Number,
    PortSpec, PortgroupLearning, PortgroupSecurity, PortgroupShaping, PortgroupSpec,
    PortgroupTeaming, Quantity, Rate, Sampling, Seconds, Setting, Shaping, ShapingPatch,
    SocketRole, SourceIp, SwitchLearning, SwitchLearningPatch, SwitchSecurity, SwitchShaping,
    SwitchShapingPatch, SwitchTeaming, SwitchTeamingPatch, TeamingPatch, TeamingPolicy, Time,
    Toggle, UpDelay, Uplinks, VethEngine, VhostUser, Vmk, VmkSpec, VswitchSpec, WithDefault, YesNo,
    vmk_mac,
};
