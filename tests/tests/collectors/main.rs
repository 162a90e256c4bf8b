//! Other people's collectors read what is told of flows, and find in it what was on the wire.
//!
//! * `lab`: a host whose flows are told, with two VMs.
//! * `mix`: frames of every kind. `flows`: their flows, as a capture and as collectors tell them.
//! * `totals`: all versions, all collectors, all kinds of frames. `sampling`, `segments`: what is not counted one by one.
//! * `counted`: which frames are counted at all. `lives`: collectors that come late, agents that restart, ports that go.
//! * `changes`: settings that change while flows go on.
//! * `ways`: the ways to collectors, and those that lead nowhere.
#![forbid(unsafe_code)]

mod changes;
mod counted;
mod flows;
mod lab;
mod lives;
mod mix;
mod sampling;
mod segments;
mod totals;
mod ways;
