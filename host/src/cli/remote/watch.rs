//! `attune run` and `attune execution watch`, of a server: what becomes of an execution and what it prints, as it comes.

use std::time::Duration;

use serde_json::{Map, Value as Json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::not_there;
use crate::cli::ending::headline;
use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::printer::Printer;
use crate::cli::queued::{AGAIN, attend, print_outlook, waiting_line};
use crate::cli::run::Run;
use crate::cli::watch::{PATIENCE, Told, finish, stream};
use crate::client::executions::{Following, News};
use crate::client::{Client, ClientError};
use crate::execution::asked::given;
use crate::execution::{ExecutionId, Request, Status};
use crate::queue::Terms;
use crate::store::execution::ExecutionRow;

/// What is asked again and again is asked as seldom as this at last.
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// Has an action run there, shows what it prints, and waits for its end. An interruption asks for that end.
pub(super) async fn run(client: &Client, run: Run, output: &Output) -> Result<Exit, Failed> {
    if run.secrets.is_some() {
        return Err(not_there(
            "secrets are read where the action runs: `--secrets` can't be asked of a server",
        ));
    }
    let request = run.ask.request()?;
    let mut terms = run.place.terms()?;
    if run.dry.dry_run {
        return show_plan(client, &request, &terms, output).await;
    }
    // So that it can be asked for again when the answer is lost.
    terms.idempotency_key.get_or_insert_with(|| Uuid::now_v7().to_string());
    let parameters = parameters(client, &request).await?;
    let queued = client.enqueue(&request, &parameters, &terms).await?;
    headline(output, &request.action, Status::Queued, queued.id);
    let ask = ask_for_end(client, queued.id, output);
    attend(queued.id, watch(client, queued.id, output), ("server", ask), output).await
}

/// Shows what would be put into the queue there.
pub(super) async fn show_plan(
    client: &Client,
    request: &Request,
    terms: &Terms,
    output: &Output,
) -> Result<Exit, Failed> {
    let parameters = parameters(client, request).await?;
    print_outlook(&client.outlook(request, &parameters, terms).await?, terms, output)
}

/// The parameters of what is asked, read as the action there takes them.
pub(super) async fn parameters(client: &Client, request: &Request) -> Result<Map<String, Json>, Failed> {
    #[derive(serde::Deserialize)]
    struct Action {
        parameters: Option<Json>,
    }
    let action = client.get::<Action>(&["actions", &request.action.to_string()], &[]).await?;
    let given = given(action.parameters.as_ref(), &request.parameters);
    match given.map_err(|error| Failed::new(Exit::Input, error))? {
        Json::Object(parameters) => Ok(parameters),
        _ => Err(Failed::message(Exit::Input, "parameters are an object of names and values")),
    }
}

/// Shows what becomes of an execution until it has ended, and how it ended.
pub(super) async fn watch(client: &Client, id: ExecutionId, output: &Output) -> Result<Exit, Failed> {
    let printer = Printer::new(output);
    let mut told = Told::begin(output);
    let mut following = client.follow(id);
    let mut pause = AGAIN;
    let row = loop {
        match look(client, &mut following, &mut told, &printer).await {
            Ok(Some(row)) => break row,
            Ok(None) => pause = AGAIN,
            // It goes on meanwhile.
            Err(error) if error.is_outage() => {
                told.tell_outage("server", &error.to_string());
                sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MAX);
            }
            Err(error) => {
                told.end();
                return Err(error.into());
            }
        }
    };
    told.end();
    finish(&row, printer, output)
}

/// Says and prints what comes next; the execution if it has ended. When that fails, it can be tried again.
async fn look(
    client: &Client,
    following: &mut Following<'_>,
    told: &mut Told<'_>,
    printer: &Printer,
) -> Result<Option<ExecutionRow>, ClientError> {
    let news = match timeout(PATIENCE, following.next()).await {
        Ok(news) => news?,
        Err(_) if told.is_impatient() => News::Moved,
        Err(_) => return Ok(None),
    };
    match news {
        News::Printed { stream: from, text } => {
            // It would be drawn between what the action prints.
            told.end();
            printer.push(stream(from), text.as_bytes());
        }
        News::Moved => {
            let (row, waiting) = client.execution(following.id()).await?;
            told.tell(&row);
            if let Some(waiting) = waiting.filter(|_| told.is_impatient()) {
                told.tell_waiting(waiting_line(&waiting));
            }
        }
        News::Ended => return Ok(Some(client.execution(following.id()).await?.0)),
    }
    Ok(None)
}

/// Asks for the end of an execution, again and again while the server is out of reach. Whether it was asked for.
async fn ask_for_end(client: &Client, id: ExecutionId, output: &Output) -> bool {
    let mut is_said = false;
    while let Err(error) = client.cancel(id).await {
        if !std::mem::replace(&mut is_said, true) {
            output.warn(&format!("can't ask for its end: {error}"));
        }
        if !error.is_outage() {
            return false;
        }
        sleep(AGAIN).await;
    }
    true
}
