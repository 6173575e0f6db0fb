//! Finding the installations of a runtime on this machine.
