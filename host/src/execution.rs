//! One execution, from what was asked to what came out.
