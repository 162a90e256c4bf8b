//! Rings and memory against a driver that works on the files themselves, as another process does.

mod driver;
mod guests;
mod memory;
mod ring;
