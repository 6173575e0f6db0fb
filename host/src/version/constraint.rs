//! What an action asks for: the grammar of constraints, and whether a version satisfies one.
