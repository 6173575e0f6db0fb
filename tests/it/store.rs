//! What is kept of packs, runtimes, their versions, actions and sensors, changed by hand and by installing packs: on every
//! engine alike.

mod cache;
mod connection;
mod model;
mod packs;
mod programs;
mod runtimes;
mod versions;
