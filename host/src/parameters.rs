//! Parameters: defaults, checks against the schema, and how they reach the program.
