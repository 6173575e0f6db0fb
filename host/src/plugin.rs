//! The plugin host: loads components, calls their exports, answers their imports within their grants.
