//! What the tests of several stages need.

pub(crate) mod guests;
