//! `attune worker`: a service that runs what is queued.

use std::net::SocketAddr;
use std::rc::Rc;

use clap::Args;
use sd_notify::NotifyState;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::fleet::Fleet;
use super::interruption;
use super::options::Options;
use super::output::Output;
use super::runtime::open_worker;
use crate::service::{self, Event, ServiceError};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
It runs until it is told to stop, by INT or TERM: it takes nothing more then, and waits for what it runs, at most
for the setting `drain_timeout`; a second signal does not wait. With --json, it prints an event a line."
)]
pub(super) struct WorkerCommand {
    #[command(subcommand)]
    pub(super) fleet: Option<Fleet>,
    /// Run so many executions at a time; the setting `worker_slots` unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Option<u16>,
}

/// An event, as `--json` shows it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Shown {
    Ready {
        slots: usize,
        monitor: Option<SocketAddr>,
    },
    Began {
        id: String,
        attempt: i64,
        action: String,
    },
    Ended {
        id: String,
        attempt: i64,
        status: Option<&'static str>,
        runtime: Option<String>,
        /// Exact version of the installation.
        selected_version: Option<String>,
        /// Class of the error.
        error: Option<String>,
    },
    Draining {
        running: usize,
    },
}

impl Shown {
    /// None for what is not worth a line.
    fn new(event: Event) -> Option<Self> {
        Some(match event {
            Event::Ready { slots, monitor } => Self::Ready { slots, monitor },
            Event::Looked { .. } => return None,
            Event::Began { claimed } => Self::Began {
                id: claimed.attempt.id.to_string(),
                attempt: claimed.attempt.number,
                action: claimed.action.to_string(),
            },
            Event::Ended { attempt, ran } => {
                let status = ran.as_ref().map(|ran| ran.status.name());
                let (runtime, selected_version, error) =
                    ran.map_or((None, None, None), |ran| (ran.runtime, ran.version, ran.error));
                Self::Ended {
                    id: attempt.id.to_string(),
                    attempt: attempt.number,
                    status,
                    runtime: runtime.map(|runtime| runtime.to_string()),
                    selected_version,
                    error,
                }
            }
            Event::Draining { running } => Self::Draining { running },
        })
    }
}

impl WorkerCommand {
    /// Whether it runs until it is told to stop.
    pub(super) fn is_service(&self) -> bool {
        self.fleet.is_none()
    }

    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if let Some(fleet) = &self.fleet {
            if self.slots.is_some() {
                return Err(Failed::message(
                    Exit::Input,
                    "only a worker that is started has slots: leave `--slots` out",
                ));
            }
            return fleet.execute(options, output).await;
        }
        let mut worker = open_worker(options, output).await?;
        if let Some(slots) = self.slots {
            worker.settings.worker_slots = slots.into();
        }
        let name = worker.settings.worker_name.clone();
        let wanted = options.settings(output)?.worker_name;
        if name != wanted {
            output.warn(&format!(
                "another worker is called `{wanted}`, so this one is called `{name}`: the setting `worker_name` gives it \
                 a name"
            ));
        }
        let observe = Rc::new(observer(output, name));
        let (interruptions, stop) = interruption::listen_quietly();
        let served = service::serve(worker.clone(), stop, observe).await;
        interruptions.abort();
        worker.close().await;
        self::served(served)
    }
}

/// How a command ends whose service has.
pub(super) fn served(outcome: Result<(), ServiceError>) -> Result<Exit, Failed> {
    match outcome {
        Ok(()) => Ok(Exit::Success),
        Err(error @ ServiceError::Taken { .. }) => {
            Err(Failed::new(Exit::Failure, error).hint("give this one a folder of its own: --data-dir DIR"))
        }
        Err(error) => Err(Failed::new(Exit::Failure, error)),
    }
}

/// Tells people, and the service manager, what the service of the worker that is called `name` does.
pub(super) fn observer(output: &Output, name: String) -> impl Fn(Event) + use<> {
    let output = output.clone();
    move |event| {
        tell_supervisor(&event);
        show(&output, &name, event);
    }
}

/// Tells the service manager that started this, if it wants to know (`Type=notify`, `WatchdogSec`).
fn tell_supervisor(event: &Event) {
    let running = |running: usize| format!("{running} executions run");
    let told = match event {
        Event::Ready { .. } => sd_notify::notify(&[NotifyState::Ready]),
        Event::Looked { running: count } => {
            sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(&running(*count))])
        }
        Event::Draining { running: count } => {
            sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(&running(*count))])
        }
        Event::Began { .. } | Event::Ended { .. } => Ok(()),
    };
    if let Err(error) = told {
        tracing::warn!("can't tell the service manager: {error}");
    }
}

fn show(output: &Output, name: &str, event: Event) {
    if output.json {
        // A reader that went away is no reason to stop.
        if let Some(shown) = Shown::new(event) {
            let _ = output.line(&shown);
        }
        return;
    }
    let line = match event {
        Event::Looked { .. } => return,
        Event::Ready { slots, monitor } => {
            let asked = monitor.map(|address| format!("; it answers at http://{address}/metrics"));
            format!("worker {name} is ready: {slots} executions at a time{}", asked.unwrap_or_default())
        }
        Event::Began { claimed } => {
            let again = if claimed.attempt.number > 1 {
                format!(", attempt {}", claimed.attempt.number)
            } else {
                String::new()
            };
            format!("{} {} began{again}", claimed.attempt.id, claimed.action)
        }
        Event::Ended { attempt, ran: Some(ran) } => {
            let error = ran.error.map(|class| format!(" ({class})")).unwrap_or_default();
            let by = [ran.runtime.map(|runtime| runtime.to_string()), ran.version];
            let by = by.into_iter().flatten().collect::<Vec<_>>().join(" ");
            let by = if by.is_empty() { by } else { format!(", run by {by}") };
            format!("{} {}{error}{by}", attempt.id, ran.status)
        }
        Event::Ended { attempt, ran: None } => format!("{} was not this worker's any more", attempt.id),
        Event::Draining { running: 0 } => format!("worker {name} stops"),
        Event::Draining { running } => {
            format!(
                "worker {name} stops: it takes nothing more and waits for {running}; stop it again to end them"
            )
        }
    };
    output.say(&line);
}
