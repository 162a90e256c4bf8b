//! (under construction)
#![forbid(unsafe_code)]
#![allow(missing_docs, unused)]
use weft_packet::Head;
/// placeholder of the contract
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy { External, Access(VlanId), Trunk(std::sync::Arc<VlanSet>) }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanSet([u64; 64]);
impl Policy { pub fn trunk_all() -> Self { todo!() } }
