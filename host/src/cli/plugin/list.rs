//! `attune plugin list`, and what a server shows of one of its components.

use std::fmt::Write as _;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::plugin::inspect::size;
use crate::cli::table::table;
use crate::client::Client;
use crate::pack::components::InstalledComponent;
use crate::printable::printable;
use crate::worker::Worker;

/// As many digits of a digest as tell components apart.
const DIGITS: usize = 12;

pub(super) async fn list(worker: &Worker, output: &Output) -> Result<(), Failed> {
    print(&InstalledComponent::all(worker).await?, output)
}

pub(in crate::cli) async fn list_there(client: &Client, output: &Output) -> Result<Exit, Failed> {
    print(&client.all::<InstalledComponent>(&["plugins"]).await?, output)?;
    Ok(Exit::Success)
}

fn print(components: &[InstalledComponent], output: &Output) -> Result<(), Failed> {
    output.data(&components, || {
        table(
            ["COMPONENT", "SHA256", "SIZE", "CONTRACT", "SERVES"],
            components.iter().map(|component| {
                let sha256 = component.sha256.get(..DIGITS).unwrap_or(&component.sha256);
                let contract = component.contract_version.as_deref().unwrap_or_default();
                let cells = [&component.r#ref, sha256, &bytes(component), contract];
                let [reference, sha256, size, contract] = cells.map(|cell| printable(cell).into_owned());
                [reference, sha256, size, contract, printable(&component.runtimes.join(", ")).into_owned()]
            }),
        )
    })?;
    Ok(())
}

/// Shows what a server knows of a component of an installed pack.
pub(in crate::cli) async fn inspect_there(
    client: &Client,
    reference: &str,
    output: &Output,
) -> Result<Exit, Failed> {
    let component = client.get::<InstalledComponent>(&["plugins", reference], &[]).await?;
    output.data(&component, || {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<14}{}", printable(value));
        };
        line("component", &component.r#ref);
        line("sha256", &component.sha256);
        line("vouched for", &component.vouched);
        line("size", &bytes(&component));
        line("contract", component.contract_version.as_deref().unwrap_or("none"));
        component.exports.iter().for_each(|name| line("exports", name));
        component.imports.iter().for_each(|name| line("imports", name));
        component.runtimes.iter().for_each(|name| line("serves", name));
        text
    })?;
    Ok(Exit::Success)
}

fn bytes(component: &InstalledComponent) -> String {
    size(u64::try_from(component.size).unwrap_or_default())
}
