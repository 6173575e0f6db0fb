//! Proving that an installation is what it claims.
