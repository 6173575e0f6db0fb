//! A database that is out of reach, or slow: who waits for it says so and goes on, and what runs does not wait.

use attune::store::{Location, Store};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;

use super::*;
use crate::support::line::Fault;
use crate::support::postgres;

const NO_SERVER: &str = "the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)";

#[test]
fn who_watches_waits_for_the_server_and_says_so_once() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else { return skip(NO_SERVER) };
    machine.write("gate", "");
    Pack::new("queued").shell("slow", "", &gated(&machine, "slow")).install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.slow"]);
    process(&machine, "slow");
    let watcher = machine.other("watcher").and("ATTUNE_DATABASE", &line.url);
    let mut command = watcher.command(&["execution", "watch", &id]);
    let said = || fs::read_to_string(watcher.at("said")).expect("text");
    command.stderr(File::create(watcher.at("said")).expect("a file"));
    let mut child = command.spawn().expect("it starts");
    wait_for("the beginning", || said().contains("running").then_some(()));
    for (count, fault) in [(1, Fault::Cut), (2, Fault::Refused)] {
        line.fail(fault);
        let waits = || said().matches("for the database to be back: ").count();
        wait_for("the outage", || (waits() == count).then_some(()));
        if fault == Fault::Refused {
            assert!(said().contains("can't reach the database server at /"), "{}", said());
            assert!(said().contains("Connection refused"), "{}", said());
        }
        // Several looks in vain.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(waits(), count, "it is said once: {}", said());
        let before = line.through();
        line.mend();
        if fault == Fault::Cut {
            // It has to have seen that it is back to say it once more.
            wait_for("a connection", || (line.through() > before).then_some(()));
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{}", said());
    assert!(said().contains("queued.slow succeeded"), "{}", said());
    assert_eq!(service.stop(), 0);
}

#[test]
fn who_waits_for_a_server_that_is_gone_ends_when_told_to() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else { return skip(NO_SERVER) };
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let id = enqueue(&machine, &["queued.say"]);
    let watcher = machine.other("watcher").and("ATTUNE_DATABASE", &line.url);
    for fault in [Fault::Refused, Fault::Silent] {
        for (arguments, words) in [
            (&["run", "--queue", "queued.say"][..], &["is not known", "attune execution cancel "][..]),
            (&["execution", "watch", &id], &[]),
        ] {
            let mut command = watcher.command(arguments);
            command.stderr(File::create(watcher.at("said")).expect("a file"));
            let mut child = command.spawn().expect("it starts");
            let said = || fs::read_to_string(watcher.at("said")).expect("text");
            wait_for("the beginning", || said().contains("no worker is there").then_some(()));
            line.fail(fault);
            std::thread::sleep(Duration::from_millis(500));
            let asked = Instant::now();
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(pid.expect("a process"), Signal::TERM).expect("it is there");
            let ended = wait_for("its end", || child.try_wait().expect("it is there"));
            assert!(asked.elapsed() < Duration::from_secs(12), "it took {:?}", asked.elapsed());
            assert!(!ended.success());
            for word in words {
                assert!(said().contains(word), "{}", said());
            }
            line.mend();
        }
    }
}

#[test]
fn a_server_that_is_gone_is_named_with_the_reason() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else { return skip(NO_SERVER) };
    let location = line.url.parse::<Location>().expect("a location");
    let runtime = Runtime::new().expect("a runtime");
    let store = runtime.block_on(Store::open(&location)).expect("a database");
    for (fault, reason) in [(Fault::Refused, "Connection refused"), (Fault::Silent, "there is no answer")] {
        line.fail(fault);
        // One that waits in the pool may break first.
        let error = wait_for("the failure to connect", || {
            let error = runtime.block_on(store.time()).expect_err("it is out of reach");
            assert!(error.is_outage(), "{error}");
            error.to_string().contains("can't reach").then_some(error)
        });
        let text = error.to_string();
        assert!(text.contains(".s.PGSQL.5432 for ") && text.contains(reason), "{text}");
        line.mend();
        wait_for("the server", || runtime.block_on(store.time()).ok());
    }
}

/// For how long at least the log can't be written.
const STALL: Duration = Duration::from_secs(4);

#[test]
fn a_slow_database_does_not_stall_what_prints() {
    let machine = Machine::new();
    let Some(url) = machine.database_url() else { return skip(NO_SERVER) };
    let place = machine.path.display();
    machine.write("gate", "");
    // More than fits into a pipe, each second; when each line was out, by a clock that nobody sets.
    let script = format!(
        "x=$(head -c 8000 /dev/zero | tr '\\0' x); i=0
while [ -e {place}/gate ]; do
    echo \"$i $x\"; read now rest < /proc/uptime; echo $now >> {place}/times; i=$((i + 1)); sleep 0.02
done"
    );
    Pack::new("queued").shell("steady", "", &script).install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.steady"]);
    let times = || {
        let text = fs::read_to_string(machine.at("times")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse::<f64>().ok()).collect::<Vec<_>>()
    };
    wait_for("the first lines", || (times().len() > 10).then_some(()));

    let runtime = Runtime::new().expect("a runtime");
    let holder = runtime.block_on(async {
        let mut holder = PgConnection::connect(&url).await.expect("the database");
        let lock = "begin; lock table execution_log in access exclusive mode";
        sqlx::raw_sql(lock).execute(&mut holder).await.expect("the lock");
        holder
    });
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock' and query like 'insert into execution_log%'";
    wait_for("the log to wait", || (postgres::ask(&url, waiting) != "0").then_some(()));
    let begun = times().len();
    std::thread::sleep(STALL);
    assert_ne!(postgres::ask(&url, waiting), "0", "it still waits");
    let ended = times();
    runtime.block_on(holder.close()).expect("closed");
    let gaps = ended[begun - 1..].windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.fold(0.0, f64::max);
    assert!(longest < STALL.as_secs_f64() / 2.0, "it waited for {longest} s: {ended:?}");
    assert!((ended.len() - begun) * 8000 > 2 * (64 << 10), "more than a pipe holds: {}", ended.len() - begun);

    fs::remove_file(machine.at("gate")).expect("removed");
    becomes(&machine, &id, "succeeded");
    let log = machine.runs(0, &["execution", "logs", &id]).stdout;
    let numbers = log.lines().map(|line| line.split(' ').next().expect("a number").to_owned());
    let all = (0..times().len()).map(|number| number.to_string());
    assert!(numbers.eq(all), "all of it is kept, in order");
    assert_eq!(service.stop(), 0);
}
