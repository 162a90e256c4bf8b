//! (under construction)
#![forbid(unsafe_code)]
#![allow(missing_docs, unused)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);
pub struct Head {}
