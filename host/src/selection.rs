//! Choosing an installation: pure, the same answer for every order of the candidates.
