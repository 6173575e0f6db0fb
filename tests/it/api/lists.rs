//! Lists: everything once, in the order that was asked for, whatever a page has.

use std::cmp::Ordering;

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::Machine;
use crate::support::fixture::Pack;

/// Items of a list, page by page.
#[track_caller]
fn in_pages(api: &Api, path: &str, query: &str, limit: usize) -> Vec<Json> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}?limit={limit}{query}{cursor}")).is(200).json();
        let found = page["items"].as_array().expect("items");
        assert!(found.len() <= limit, "{page}");
        items.extend(found.iter().cloned());
        let Some(next) = page["next"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

/// Numbers by value, versions part by part, and nothing before everything else.
fn order(one: &Json, other: &Json) -> Ordering {
    let parts = |value: &Json| match value {
        Json::String(text) => {
            text.split(['.', '-']).map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(|_| text.clone())
        }
        Json::Number(number) => Ok(vec![number.as_u64().unwrap_or_default()]),
        _ => Ok(Vec::new()),
    };
    match (parts(one), parts(other)) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Err(one), Err(other)) => one.cmp(&other),
        (one, _) => {
            if one.is_ok() {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

#[test]
fn every_list_has_everything_once_in_the_order_that_was_asked_for() {
    let machine = Machine::new();
    pack(&machine);
    Pack::new("other").shell("say", "", "echo other").install(&machine);
    let api = Api::start(&machine);
    let mut id = String::new();
    for number in 0..3 {
        let sensor = json!({ "ref": format!("served.watch{number}"), "runtime": "core.shell",
            "entry_point": "actions/say.sh" });
        api.post("/sensors", &sensor).is(201);
        api.post("/tokens", &json!({ "name": format!("ci {number}"), "role": "viewer" })).is(201);
        let asked = json!({ "action": "served.say", "parameters": { "word": number.to_string() } });
        id = api.post("/executions", &asked).is(201).json()["id"].as_str().expect("an id").to_owned();
        api.becomes(&id, "succeeded");
    }
    let description = api.get("/openapi.json").is(200).json();
    let mut lists = Vec::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        let parameters = operations["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let Some(sort) = parameters.iter().find(|parameter| parameter["name"] == "sort") else { continue };
        let path = path.trim_start_matches("/api/v1").replace("{id}", &id).replace("{ref}", "core.python");
        for sort in sort["schema"]["enum"].as_array().expect("sorts") {
            let sort = sort.as_str().expect("a sort");
            let query = format!("&sort={sort}");
            let all = in_pages(&api, &path, &query, 500);
            let key = sort.trim_start_matches('-');
            let sorted = all.is_sorted_by(|one, other| {
                let order = order(&one[key], &other[key]);
                order != if sort == key { Ordering::Greater } else { Ordering::Less }
            });
            assert!(sorted, "{path} by {sort}: {all:#?}");
            assert_eq!(in_pages(&api, &path, &query, 2), all, "{path} by {sort}");
            if all.len() > 2 {
                lists.push(path.clone());
            }
        }
    }
    lists.dedup();
    assert!(lists.len() >= 8, "too few have items to tell: {lists:?}");
}

#[test]
fn what_can_not_be_listed_so_is_said() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let said = api.get("/packs?sort=weight").problem(422, "invalid");
    assert_eq!(said["field"], "query/sort");
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("`installed_at`")), "{said}");
    let next = api.get("/runtimes?limit=1&sort=-label").is(200).json()["next"].clone();
    let next = next.as_str().expect("more than one runtime");
    let said = api.get(&format!("/runtimes?limit=1&cursor={next}")).problem(422, "invalid");
    assert_eq!(said["field"], "query/cursor");
}
