//! `attune execution`, of a server.

use serde::Serialize;

use super::watch::{parameters, show_plan, watch};
use crate::cli::ending::headline;
use crate::cli::execution::{
    Changed, Execution, LISTED_MAX, NONE, Which, ambiguous, list, no_execution, print_log,
};
use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::redraw::{View, Watch, redraw};
use crate::cli::shown::{Shown, show};
use crate::client::Client;
use crate::client::executions::Wanted;
use crate::execution::{ExecutionId, Status};

pub(super) async fn execute(client: &Client, command: Execution, output: &Output) -> Result<Exit, Failed> {
    match command {
        Execution::List { action, status, limit, watch } => {
            let wanted = Wanted { action: action.as_ref(), status, prefix: None, limit };
            if watch.watch {
                let look = async || Ok(View::passing(list(output, &client.executions(wanted).await?, NONE)));
                return redraw(output, look).await;
            }
            let executions = client.executions(wanted).await?;
            output.data(&executions, || list(output, &executions, NONE))?;
        }
        Execution::Show { id, watch: Watch { watch: true } } => {
            let id = find(client, id).await?;
            let look = async || {
                let (execution, waiting) = client.execution(id).await?;
                let text = show(output, &execution, waiting.as_ref());
                Ok(View { text, is_final: execution.status.has_ended() })
            };
            return redraw(output, look).await;
        }
        Execution::Show { id, .. } => {
            let (execution, waiting) = client.execution(find(client, id).await?).await?;
            let shown = Shown::from(&execution).waiting(waiting.as_ref());
            output.data(&shown, || show(output, &execution, waiting.as_ref()))?;
        }
        Execution::Logs { id, stream, attempt } => {
            let pieces = client.log(find(client, id).await?, attempt).await?.into_iter();
            let pieces = pieces.map(|piece| (piece.sequence, piece.stream, piece.text.into_bytes()));
            print_log(pieces, stream, output)?;
        }
        Execution::Enqueue { ask, place, dry } => {
            #[derive(Serialize)]
            struct Queued {
                id: ExecutionId,
                known: bool,
            }
            let (request, terms) = (ask.request()?, place.terms()?);
            if dry.dry_run {
                return show_plan(client, &request, &terms, output).await;
            }
            let parameters = parameters(client, &request).await?;
            let queued = client.enqueue(&request, &parameters, &terms).await?;
            let (id, known) = (queued.id, queued.known);
            output.data(&Queued { id, known }, || id.to_string())?;
            if known {
                output.say("it was asked for before, under the same key");
            }
        }
        Execution::Watch { id } => {
            let (execution, _) = client.execution(find(client, id).await?).await?;
            if !execution.status.has_ended() {
                headline(output, &execution.action, execution.status, execution.id);
            }
            return watch(client, execution.id, output).await;
        }
        Execution::Cancel { id } => {
            let id = find(client, id).await?;
            let status = client.cancel(id).await?.status;
            let said = match status {
                Status::Cancelled => "it was waiting, and is cancelled",
                Status::Running => "its worker is asked to end it",
                ended => {
                    let text = format!("{id} can't be cancelled: it has ended before, as {ended}");
                    return Err(Failed::message(Exit::Input, text));
                }
            };
            output.data(&Changed { id, status }, || format!("{id}: {said}"))?;
        }
        Execution::Retry { id } => {
            let id = find(client, id).await?;
            let status = client.retry(id).await?.status;
            output.data(&Changed { id, status }, || format!("{id}: it is in the queue again"))?;
        }
    }
    Ok(Exit::Success)
}

/// The execution that is meant.
async fn find(client: &Client, which: Which) -> Result<ExecutionId, Failed> {
    let newest = |prefix, limit| client.executions(Wanted { prefix, limit, ..Wanted::default() });
    match which {
        Which::Id(id) => Ok(id),
        Which::Last => newest(None, 1).await?.pop().map(|found| found.id).ok_or_else(no_execution),
        Which::Begins(prefix) => {
            let mut found = newest(Some(prefix), LISTED_MAX + 1).await?;
            if found.len() > 1 {
                return Err(ambiguous(&found));
            }
            found.pop().map(|found| found.id).ok_or_else(no_execution)
        }
    }
}
