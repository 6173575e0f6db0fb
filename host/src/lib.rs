//! Attune runs automation actions under the language runtime version that each asks for.
//!
//! The modules, in the order in which data flows through them: a [`pack`] is loaded; its runtimes'
//! components are called through [`plugin`] for [`detection`] and [`verification`] of installations; an
//! [`execution`] asks for a [`version`], gets one by [`selection`], has its [`environment`] built, its
//! [`parameters`] and [`secret`]s delivered to a [`process`], and its output turned into a [`result`].
//! [`store`] keeps all of it. An execution that somebody asks for later waits in the [`queue`] until a [`service`] runs
//! it. [`api`] is all of this over HTTP, and [`cli`] on a command line, which may be that of another machine.

pub mod reference;
mod digest;
mod metrics;
mod nearest;
mod printable;
mod shape;
pub mod trace;
mod variable;
pub mod version;

pub mod pack;
pub mod plugin;

pub mod installation;
pub mod detection;
pub mod verification;
pub mod scenario;
pub mod selection;

pub mod environment;
pub mod parameters;
pub mod secret;
pub mod token;
pub mod grants;
pub mod process;
pub mod result;
pub mod execution;
pub mod queue;

pub mod store;
pub mod settings;
pub mod worker;
pub mod service;
pub mod api;
mod client;
pub mod cli;
