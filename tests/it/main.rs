//! What only shows when the parts run together: one binary, with a module for each stage.

mod support;

mod plugin;
