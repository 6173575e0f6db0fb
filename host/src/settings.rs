//! Settings: defaults, file, variables, flags; and where each value came from.
