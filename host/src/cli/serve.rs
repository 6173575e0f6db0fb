//! `attune serve`: the API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::interruption;
use super::options::Options;
use super::output::Output;
use super::runtime::open_worker;
use super::worker::{self, served};
use crate::api::{ADMIN_TOKEN_FILE, ApiError, Bound, Reach, TlsFiles};
use crate::process::Cancel;
use crate::service;

#[derive(Debug, Args)]
#[command(after_help = "\
Whoever asks sends a token: `Authorization: Bearer attune_…`. One for this machine's user is in `admin.token` of the data
folder; `attune token create` makes others. It runs until it is told to stop, by INT or TERM.")]
pub(super) struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7370")]
    listen: SocketAddr,
    /// Listen also where other machines can reach it, without encryption: for behind a proxy that has it
    #[arg(long)]
    plain_http: bool,
    /// Encrypt: PEM with the server's certificate, and after it those that vouch for it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM with the key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Run what is queued as well, as `attune worker` does
    #[arg(long)]
    worker: bool,
}

#[derive(Serialize)]
struct Listening {
    event: &'static str,
    address: SocketAddr,
    url: String,
}

impl Serve {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let mut worker = open_worker(options, output).await?;
        let data_dir = worker.settings.data_dir.clone();
        let files = self.tls_cert.zip(self.tls_key);
        let tls = files.map(|(certificate, key)| TlsFiles { certificate, key });
        let reach = Reach { address: self.listen, tls, plain: self.plain_http };
        let bound = Bound::new(worker.clone(), &reach).await.map_err(failed)?;
        worker.settings.api.url.get_or_insert_with(|| bound.own_url());
        let listening = Listening { event: "listening", address: bound.address(), url: bound.url() };
        if output.json {
            output.line(&listening)?;
        } else {
            output.say(&format!(
                "the API is at {}; a token for it is in {}",
                listening.url,
                data_dir.join(ADMIN_TOKEN_FILE).display()
            ));
        }
        let (interruptions, mut stop) = interruption::listen_quietly();
        let outcome = if self.worker {
            let observe = Rc::new(worker::observer(output, worker.settings.worker_name.clone()));
            let serving = service::serve(worker.clone(), stop.clone(), observe);
            let (canceller, end) = Cancel::new();
            // What runs until then may still ask for something, and who follows it sees how it ends. Without a service that
            // failed, the API does not go on; it does without one that was drained.
            let serving = async {
                serving.await?;
                stop.asked().await;
                canceller.ask();
                Ok(())
            };
            let answering = async {
                bound.serve(end).await;
                Ok(())
            };
            let served = Box::pin(async { tokio::try_join!(serving, answering) }).await;
            self::served(served.map(|_| ()))
        } else {
            bound.serve(stop).await;
            Ok(Exit::Success)
        };
        worker.close().await;
        interruptions.abort();
        outcome
    }
}

fn failed(error: ApiError) -> Failed {
    match error {
        ApiError::Exposed { .. } => Failed::new(Exit::Input, error).hint(
            "encrypt it with --tls-cert and --tls-key, listen on 127.0.0.1 behind a proxy that encrypts, or allow it with --plain-http on a network that you trust",
        ),
        ApiError::Tls(error) => {
            let hint = error.hint();
            Failed::new(Exit::Input, error).hint(hint)
        }
        error => Failed::new(Exit::Failure, error),
    }
}
