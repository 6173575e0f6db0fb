//! What is said when a database server can't be used: where it is and why, and never the password.

use std::time::{Duration, Instant};

use attune::store::{Location, Store};

use crate::support::cli::{Machine, skip};
use crate::support::postgres;

/// For so long a connection may be waited for while there is a server.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that nobody listens at.
fn refused() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn a_server_that_refuses_is_named_with_its_reason() {
    let port = refused();
    let machine =
        Machine::fresh().and("ATTUNE_DATABASE", format!("postgres://me:precious@127.0.0.1:{port}/x"));
    let began = Instant::now();
    let output = machine.runs(1, &["execution", "list"]);
    assert!(began.elapsed() < PATIENCE, "nobody waits for a server that is not there");
    let database = format!("can't open the database `postgres://me@127.0.0.1:{port}/x`");
    output.says(&[&database, &format!("127.0.0.1, port {port}"), "Connection refused"]);
    assert!(!output.to_string().contains("precious"), "{output}");
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("postgres://me@localhost:5499/x?host={}", folder.path().display());
    let machine = Machine::fresh().and("ATTUNE_DATABASE", url);
    let socket = format!("{}/.s.PGSQL.5499", folder.path().display());
    machine.runs(1, &["execution", "list"]).says(&[&socket, "No such file or directory"]);
}

#[test]
fn what_the_server_says_is_kept() {
    if !postgres::is_there() {
        return skip("there is no PostgreSQL here: install Debian's `postgresql`");
    }
    let database = postgres::Database::empty();
    let url = database.url.replace(&database.name, "nowhere");
    let location = url.parse::<Location>().expect("a location");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(Store::open(&location)).expect_err("there is none");
    let error = anyhow::Error::new(error);
    assert!(format!("{error:#}").contains("database \"nowhere\" does not exist"), "{error:#}");
}
