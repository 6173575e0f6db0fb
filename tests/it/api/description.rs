//! The document that describes it.

use std::fs;

use super::Api;
use crate::support::cli::Machine;

#[test]
fn the_document_that_describes_it_is_the_one_that_was_committed() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let served = api.send("GET", "/api/v1/openapi.json", &[("Host", &api.address)], "");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("ATTUNE_TEST_UPDATE").is_some() {
        fs::write(path, &served.is(200).body).expect("written");
    }
    let committed = fs::read_to_string(path).expect("a document");
    assert!(
        served.is(200).body == committed,
        "run the test with ATTUNE_TEST_UPDATE=1, and look at what changed"
    );
}
