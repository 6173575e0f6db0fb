use std::path::Path;

use super::*;

fn sources(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    Sources {
        file: Some(ConfigFile::parse(Path::new("/etc/attune.toml"), file).unwrap()),
        variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

const HOME: (&str, &str) = ("HOME", "/home/me");

#[test]
fn the_stronger_source_wins() {
    let file = "step_timeout = \"1m\"\n";
    let variable = ("ATTUNE_STEP_TIMEOUT", "2m");
    let flag = ("step_timeout", "3m");
    for (sources, minutes, origin) in [
        (sources("", &[HOME], &[]), 10, "default"),
        (sources(file, &[HOME], &[]), 1, "/etc/attune.toml:1"),
        (sources(file, &[HOME, variable], &[]), 2, "$ATTUNE_STEP_TIMEOUT"),
        (sources(file, &[HOME, variable], &[flag]), 3, "flag"),
    ] {
        let settings = Settings::resolve(&sources).unwrap();
        assert_eq!(settings.step_timeout, Duration::from_secs(minutes * 60));
        let shown = settings.shown.iter().find(|shown| shown.key.name == "step_timeout").unwrap();
        assert_eq!(shown.origin.to_string(), origin);
    }
}

#[test]
fn every_key_is_shown_once_and_in_order() {
    let settings = Settings::resolve(&sources("", &[HOME], &[])).unwrap();
    let shown = settings.shown.iter().map(|shown| shown.key.name).collect::<Vec<_>>();
    assert_eq!(shown, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn folders_follow_the_data_folder() {
    let settings = Settings::resolve(&sources("", &[HOME, ("ATTUNE_DATA_DIR", "/srv/attune")], &[])).unwrap();
    assert_eq!(settings.packs_dir, Path::new("/srv/attune/packs"));
    assert_eq!(settings.database.to_string(), "/srv/attune/attune.db");
    let settings = Settings::resolve(&sources("", &[HOME, ("XDG_DATA_HOME", "/data")], &[])).unwrap();
    assert_eq!(settings.data_dir, Path::new("/data/attune"));
    assert!(matches!(Settings::resolve(&sources("", &[], &[])), Err(SettingsError::NoHome)));
}

#[test]
fn mistakes_say_where_and_what_would_be_right() {
    let check = |sources: &Sources, expected: &str| {
        assert_eq!(Settings::resolve(sources).unwrap_err().to_string(), expected);
    };
    check(
        &sources("# a comment\nstep_timeuot = 3\n", &[HOME], &[]),
        "/etc/attune.toml:2:1: there is no setting `step_timeuot`; did you mean `step_timeout`?",
    );
    check(
        &sources("", &[HOME], &[("colour", "red")]),
        "`--set colour`: there is no setting `colour`; `attune config show` lists them all",
    );
    check(
        &sources("", &[HOME, ("ATTUNE_STEP_TIMEOUT", "soon")], &[]),
        "$ATTUNE_STEP_TIMEOUT: `step_timeout` can't be `soon`: write a number and a unit, such as `500ms`, `10s`, `5m`, `1h` or `2d`",
    );
    check(
        &sources("data_dir = \"here\"", &[HOME], &[]),
        "/etc/attune.toml:1:12: `data_dir` can't be `here`: write an absolute path",
    );
    check(
        &sources("step_timeuot = 3\nkill_grace = \"soon\"\nlease = \"1s\"\n", &[HOME], &[("database", "x")]),
        "/etc/attune.toml:1:1: there is no setting `step_timeuot`; did you mean `step_timeout`?; \
         `--database`: `database` can't be that: write `sqlite://` and the absolute path of a file, or \
         `postgres://user@host/database`; \
         /etc/attune.toml:2:14: `kill_grace` can't be `soon`: write a number and a unit, such as `500ms`, `10s`, \
         `5m`, `1h` or `2d`; \
         `heartbeat` is 5s and `lease` is 1s: a lease has to last for three heartbeats at least",
    );
    let error = ConfigFile::parse(Path::new("/etc/attune.toml"), "a = 1\nb = [\n").unwrap_err();
    assert!(error.to_string().starts_with("/etc/attune.toml:2:"), "{error}");
    assert!(matches!(assignment("step_timeout"), Err(SettingsError::Assignment { .. })));
    assert!(matches!(ConfigFile::read(Path::new("/nonexistent")), Err(SettingsError::Unreadable { .. })));
}

#[test]
fn lists_and_variables_are_read() {
    let file = "worker_runtimes = [\"a\", \"b\"]\n[variables]\nHTTPS_PROXY = \"http://proxy:3128\"\n";
    let settings = Settings::resolve(&sources(file, &[HOME], &[])).unwrap();
    assert_eq!(settings.worker_runtimes, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(settings.variables["HTTPS_PROXY"], "http://proxy:3128");
    let settings =
        Settings::resolve(&sources("", &[HOME, ("ATTUNE_WORKER_RUNTIMES", "a, b,")], &[])).unwrap();
    assert_eq!(settings.worker_runtimes, Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn quantities() {
    for (text, milliseconds) in
        [("0", 0), ("5", 5_000), ("500ms", 500), ("10s", 10_000), ("2 m", 120_000), ("1h", 3_600_000)]
    {
        assert_eq!(value::duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "1w", "99999999999999999999s"] {
        assert!(value::duration(text).is_err(), "{text}");
    }
    for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65536), ("10mib", 10 << 20)] {
        assert_eq!(value::bytes(text), Ok(bytes), "{text}");
    }
    assert!(value::bytes("10MB").is_err());
    let said = |problem: Option<InvalidValue>| problem.expect("invalid").to_string();
    for text in ["36501d", "99999999999999999999", "18446744073709551s"] {
        assert_eq!(said(value::duration(text).err()), format!("`{text}`: write a time of at most `36500d`"));
    }
    assert_eq!(said(value::positive("0").err()), "no time at all: write more");
    for text in ["99999999999999999999", "1048577TiB"] {
        assert_eq!(said(value::bytes(text).err()), format!("`{text}`: write at most `1048576TiB`"));
    }
    assert_eq!(said(value::memory("1000").err()), "`1000`: write at least `1MiB`");
    for text in ["0", "-3", "NaN", "100001", "99999999999999999999"] {
        assert_eq!(said(value::count(text).err()), format!("`{text}`: write a number from 1 to 100000"));
    }
    assert_eq!(value::show_duration(Duration::from_mins(10)), "10m");
    assert_eq!(value::show_bytes(10 << 30), "10GiB");
    assert_eq!(value::show_bytes(1500), "1500B");
}

#[test]
fn traces_go_where_the_strongest_says() {
    use crate::trace::Endpoint;
    /// File, variables, where traces go, why, how many warnings.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, &'a str, usize);
    let file = "otlp_endpoint = \"http://file:1\"\n";
    let own = ("ATTUNE_OTLP_ENDPOINT", "http://own:2");
    let off = ("ATTUNE_OTLP_ENDPOINT", "none");
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:3/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4/here");
    let unusable = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    let disabled = ("OTEL_SDK_DISABLED", "true");
    let elsewhere = ("OTEL_TRACES_EXPORTER", "console");
    let cases: [Case<'_>; 11] = [
        ("", &[], None, "default", 0),
        (file, &[], Some("http://file:1/v1/traces"), "/etc/attune.toml:1", 0),
        (file, &[general], Some("http://general:3/v1/traces"), "$OTEL_EXPORTER_OTLP_ENDPOINT", 0),
        ("", &[general, traces], Some("http://traces:4/here"), "$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", 0),
        ("", &[general, own], Some("http://own:2/v1/traces"), "$ATTUNE_OTLP_ENDPOINT", 0),
        (file, &[general, off], None, "$ATTUNE_OTLP_ENDPOINT", 0),
        ("", &[general, disabled], None, "default", 0),
        ("", &[general, elsewhere], None, "default", 0),
        ("", &[own, disabled], Some("http://own:2/v1/traces"), "$ATTUNE_OTLP_ENDPOINT", 0),
        ("", &[unusable], None, "default", 1),
        ("", &[unusable, own], Some("http://own:2/v1/traces"), "$ATTUNE_OTLP_ENDPOINT", 0),
    ];
    for (file, variables, url, origin, warnings) in cases {
        let settings = Settings::resolve(&sources(file, &[&[HOME], variables].concat(), &[])).unwrap();
        let expected = url.map(|url| Endpoint::exactly(url).unwrap());
        assert_eq!(settings.otlp_endpoint, expected, "{variables:?}");
        let shown = settings.shown.iter().find(|shown| shown.key.name == "otlp_endpoint").unwrap();
        assert_eq!(shown.origin.to_string(), origin, "{variables:?}");
        assert_eq!(settings.warnings.len(), warnings, "{variables:?}");
    }
    let secret = sources("", &[HOME, ("ATTUNE_OTLP_ENDPOINT", "http://me:hidden@host")], &[]);
    let error = Settings::resolve(&secret).unwrap_err().to_string();
    assert!(error.contains("otlp_endpoint") && !error.contains("hidden"), "{error}");
}
