//! Secrets: which an action may read, and masking them in everything that is kept.
