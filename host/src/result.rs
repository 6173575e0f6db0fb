//! Results: what an action printed, parsed and checked.
