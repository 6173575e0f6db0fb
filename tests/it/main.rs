//! What only shows when the parts run together: one binary, with a module for each stage.

#![allow(clippy::expect_used, clippy::panic, reason = "functions that tests share may fail as tests do")]

mod support;

mod api;
mod constraints;
mod detection;
mod doctor;
mod environments;
mod executions;
mod faults;
mod guide;
mod languages;
mod packs;
mod plugin;
mod plugins;
mod queue;
mod resolve;
mod run;
mod scenarios;
mod settings;
mod store;
mod tidy;
