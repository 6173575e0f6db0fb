//! What the tests of several stages need.

pub(crate) mod cli;
pub(crate) mod collector;
pub(crate) mod fixture;
pub(crate) mod guests;
pub(crate) mod line;
pub(crate) mod postgres;
pub(crate) mod store;
