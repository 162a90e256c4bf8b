//! Rings, memory and sockets against drivers and front-ends that work on the files themselves, as another process does.

mod driver;
mod fuzz;
mod guests;
mod host;
mod hostile;
mod memory;
mod oracle;
mod queues;
mod ring;
mod second_opinion;
