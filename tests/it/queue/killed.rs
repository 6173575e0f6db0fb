//! A worker that is killed with SIGKILL, at each of the points that an execution passes: nothing is lost, what was not begun
//! is run by the next, nothing that must not is run twice, and nothing that was half done is used. While it runs is a test of the queue's own.

use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::runtime::Runtime;

use super::*;
use crate::environments;

/// Two executions of `queued`, of which only the second may run twice, once their worker was killed and there is another:
/// the first is given up, the second succeeds at its second attempt.
#[track_caller]
fn one_is_given_up_and_one_runs_again(machine: &Machine, [once, twice]: &[String; 2]) {
    let service = Service::start(machine);
    let row = becomes(machine, once, "abandoned");
    assert_eq!((&row["error"]["class"], &row["attempt"]), (&json!("worker_lost"), &json!(1)));
    let row = becomes(machine, twice, "succeeded");
    assert_eq!((&row["result"], &row["attempt"]), (&json!("done"), &json!(2)));
    assert_eq!(service.stop(), 0);
    assert_eq!(machine.run_folders(), Vec::<PathBuf>::new());
}

/// A pack whose actions note that they were run.
fn noting(machine: &Machine, script: &str) -> Pack {
    let place = machine.path.display();
    let note = |name: &str| format!("echo {name} >> {place}/ran; {script}; echo done");
    Pack::new("queued").shell("once", "", &note("once")).shell("twice", "idempotent: true", &note("twice"))
}

fn ran(machine: &Machine) -> Vec<String> {
    let noted = fs::read_to_string(machine.at("ran")).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

#[test]
fn after_its_claim_and_before_anything_else() {
    let machine = Machine::new();
    noting(&machine, "true").install(&machine);
    // The files of the pack have to be fetched, from a place that never answers.
    fs::remove_dir_all(machine.at("data/packs/queued")).expect("removed");
    let digest = machine.json(&["pack", "show", "queued"])["digest"].as_str().expect("a digest").to_owned();
    let bundles = fs::read_dir(machine.at("data/bundles/packs")).expect("a folder").flatten();
    let bundle = bundles.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains(&digest));
    let bundle = bundle.expect("a bundle");
    let aside = machine.at("aside");
    fs::rename(&bundle, &aside).expect("moved");
    let made = std::process::Command::new("mkfifo").arg(&bundle).status();
    assert!(made.expect("mkfifo").success());

    let mut service = Service::start(&machine);
    let ids = ["queued.once", "queued.twice"].map(|action| enqueue(&machine, &[action]));
    for id in &ids {
        becomes(&machine, id, "running");
    }
    assert_eq!(machine.run_folders(), Vec::<PathBuf>::new(), "nothing was begun");
    service.kill();
    fs::rename(aside, bundle).expect("moved");
    let service = Service::start(&machine);
    for id in &ids {
        let row = becomes(&machine, id, "succeeded");
        assert_eq!((&row["result"], &row["attempt"]), (&json!("done"), &json!(2)), "it was never begun");
    }
    assert_eq!(service.stop(), 0);
    let mut ran = ran(&machine);
    ran.sort();
    assert_eq!(ran, ["once", "twice"]);
}

#[test]
fn while_it_builds_an_environment() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    environments::boxes(&machine)
        .action("again.sh", "runtime: box\nidempotent: true", "readlink /proc/$$/exe")
        .install(&machine);
    let gate = machine.write("gate", "");
    let mut service = Service::start(&machine);
    let ids = ["boxes.say", "boxes.again"].map(|action| enqueue(&machine, &[action]));
    let builder = environments::builder(&machine);
    for id in &ids {
        becomes(&machine, id, "running");
    }
    wait_for("their folders", || (machine.run_folders().len() == 2).then_some(()));
    service.kill();
    // There may be others, of packs that came with the program.
    let mut built = environments::built(&machine);
    built.retain(|folder| folder.join("half").exists());
    let [half] = &built[..] else { panic!("one environment") };
    assert!(is_running(&builder), "nobody is there yet to end it");
    fs::remove_file(gate).expect("removed");

    let service = Service::start(&machine);
    assert!(!is_running(&builder), "the next one ends what builds before it takes anything");
    for id in &ids {
        let row = becomes(&machine, id, "succeeded");
        assert_eq!((&row["result"], &row["attempt"]), (&json!(half.join("bin/box")), &json!(2)));
    }
    assert_eq!(environments::builds(&machine), 2, "it was built from the beginning");
    assert_eq!(service.stop(), 0);
    assert_eq!(machine.run_folders(), Vec::<PathBuf>::new());
}

/// Somebody who keeps all others from changing executions.
enum Holder {
    File(SqliteConnection),
    Server(PgConnection),
}

impl Holder {
    async fn hold(machine: &Machine) -> Self {
        let Some(url) = machine.database_url() else {
            let file = format!("sqlite://{}", machine.at("data/attune.db").display());
            let mut connection = SqliteConnection::connect(&file).await.expect("the database");
            sqlx::raw_sql("begin immediate").execute(&mut connection).await.expect("a lock");
            return Self::File(connection);
        };
        let mut connection = PgConnection::connect(&url).await.expect("the database");
        sqlx::raw_sql("begin; select id from execution for update")
            .execute(&mut connection)
            .await
            .expect("locks");
        Self::Server(connection)
    }

    async fn release(self) {
        match self {
            Self::File(connection) => connection.close().await,
            Self::Server(connection) => connection.close().await,
        }
        .expect("closed");
    }
}

#[test]
fn after_the_end_of_its_process_and_before_that_is_recorded() {
    let machine = Machine::new();
    let place = machine.path.display().to_string();
    machine.write("gate", "");
    let wait = format!("echo $$ >> {place}/pids; while [ -e {place}/gate ]; do sleep 0.02; done");
    noting(&machine, &wait).install(&machine);
    let mut service = Service::start(&machine);
    let ids = ["queued.once", "queued.twice"].map(|action| enqueue(&machine, &[action]));
    let pids = wait_for("the actions", || {
        let text = fs::read_to_string(machine.at("pids")).ok()?;
        let pids = text.lines().map(str::to_owned).collect::<Vec<_>>();
        (pids.len() == 2 && text.ends_with('\n')).then_some(pids)
    });
    let runtime = Runtime::new().expect("a runtime");
    let holder = runtime.block_on(Holder::hold(&machine));
    fs::remove_file(machine.at("gate")).expect("removed");
    // Gone, and not only waiting to be asked how it ended: the worker knows.
    let is_known = |pid: &String| !std::path::Path::new("/proc").join(pid).exists();
    wait_for("the end of both", || pids.iter().all(is_known).then_some(()));
    service.kill();
    runtime.block_on(holder.release());
    // Who looks from another machine ends nothing on this one.
    let elsewhere = machine.other("elsewhere");
    for id in &ids {
        assert_eq!(show(&elsewhere, id)["status"], "running", "its end is not on record");
    }
    one_is_given_up_and_one_runs_again(&machine, &ids);
    let mut ran = ran(&machine);
    ran.sort();
    assert_eq!(ran, ["once", "twice", "twice"]);
}
