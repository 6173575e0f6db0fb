//! The list of what can be set.

/// Something that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written in the file, and after `--set`.
    pub name: &'static str,
    /// The variable that sets it.
    pub variable: &'static str,
    /// What it is for.
    pub help: &'static str,
}

/// Everything that can be set.
pub const KEYS: [Key; 32] = [
    Key {
        name: "data_dir",
        variable: "ATTUNE_DATA_DIR",
        help: "folder for the database and everything else that Attune keeps",
    },
    Key {
        name: "database",
        variable: "ATTUNE_DATABASE",
        help: "`sqlite://PATH` or `postgres://user@host/database`; a file in the data folder unless set",
    },
    Key { name: "packs_dir", variable: "ATTUNE_PACKS_DIR", help: "folder of the installed packs" },
    Key {
        name: "bundles",
        variable: "ATTUNE_BUNDLES",
        help: "where installed packs are kept for all workers: a folder or `s3://bucket/path`; in the data folder unless set",
    },
    Key { name: "runtime_envs_dir", variable: "ATTUNE_RUNTIME_ENVS_DIR", help: "folder of the environments" },
    Key {
        name: "cache_dir",
        variable: "ATTUNE_CACHE_DIR",
        help: "folder for what can be made again: compiled components, downloads",
    },
    Key {
        name: "worker_name",
        variable: "ATTUNE_WORKER_NAME",
        help: "name of this worker; the machine's name unless set",
    },
    Key {
        name: "worker_runtimes",
        variable: "ATTUNE_WORKER_RUNTIMES",
        help: "the only runtimes that this worker uses, by reference or alias, separated by commas; all unless set",
    },
    Key {
        name: "verification_timeout",
        variable: "ATTUNE_VERIFICATION_TIMEOUT",
        help: "limit for one command that detects or verifies",
    },
    Key {
        name: "detection_timeout",
        variable: "ATTUNE_DETECTION_TIMEOUT",
        help: "limit for detecting all installations of a runtime",
    },
    Key {
        name: "step_timeout",
        variable: "ATTUNE_STEP_TIMEOUT",
        help: "limit for one step of building an environment",
    },
    Key {
        name: "action_timeout",
        variable: "ATTUNE_ACTION_TIMEOUT",
        help: "limit for an action that sets none; `0` for none",
    },
    Key {
        name: "kill_grace",
        variable: "ATTUNE_KILL_GRACE",
        help: "time between asking a process to end and ending it",
    },
    Key {
        name: "output_limit",
        variable: "ATTUNE_OUTPUT_LIMIT",
        help: "bytes that are kept of each of an action's output streams",
    },
    Key {
        name: "plugin_memory",
        variable: "ATTUNE_PLUGIN_MEMORY",
        help: "bytes of memory that a component may use",
    },
    Key {
        name: "environment_quota",
        variable: "ATTUNE_ENVIRONMENT_QUOTA",
        help: "bytes of environments above which `attune env prune` removes the least recently used",
    },
    Key {
        name: "environment_grace",
        variable: "ATTUNE_ENVIRONMENT_GRACE",
        help: "time since its last use for which an environment is not removed",
    },
    Key {
        name: "worker_slots",
        variable: "ATTUNE_WORKER_SLOTS",
        help: "executions that `attune worker` runs at a time",
    },
    Key {
        name: "lease",
        variable: "ATTUNE_LEASE",
        help: "time after which an execution whose worker gives no sign of life is taken from it",
    },
    Key {
        name: "heartbeat",
        variable: "ATTUNE_HEARTBEAT",
        help: "time between two signs of life of a worker",
    },
    Key {
        name: "poll_interval",
        variable: "ATTUNE_POLL_INTERVAL",
        help: "time between two looks at the queue if nobody says that there is something in it",
    },
    Key {
        name: "recheck_interval",
        variable: "ATTUNE_RECHECK_INTERVAL",
        help: "time between two looks of a worker at what is installed",
    },
    Key {
        name: "drain_timeout",
        variable: "ATTUNE_DRAIN_TIMEOUT",
        help: "time that a worker that is told to stop waits for what it runs",
    },
    Key {
        name: "execution_retention",
        variable: "ATTUNE_EXECUTION_RETENTION",
        help: "time for which workers keep executions that have ended",
    },
    Key {
        name: "monitor_address",
        variable: "ATTUNE_MONITOR_ADDRESS",
        help: "address and port at which a worker answers `/health/live`, `/health/ready` and `/metrics`; none unless set",
    },
    Key {
        name: "api_rate_limit",
        variable: "ATTUNE_API_RATE_LIMIT",
        help: "requests a second that `attune serve` takes of each token but that of its data folder; `none` for any number",
    },
    Key {
        name: "api_origins",
        variable: "ATTUNE_API_ORIGINS",
        help: "origins whose pages may ask `attune serve`, with commas in between, such as `https://example.org`; none unless set",
    },
    Key {
        name: "api_url",
        variable: "ATTUNE_API_URL",
        help: "URL of the API that actions are told of, such as `https://attune.example.org/api/v1`; that of `attune serve` for what it runs itself, unless set",
    },
    Key {
        name: "log_format",
        variable: "ATTUNE_LOG_FORMAT",
        help: "how the lines of the log are written: `text`, or `json` for an object each",
    },
    Key {
        name: "otlp_endpoint",
        variable: "ATTUNE_OTLP_ENDPOINT",
        help: "URL of the OpenTelemetry collector that traces are sent to, over HTTP; what the standard `OTEL_` variables say unless set; `none` for none",
    },
    Key {
        name: "secrets_file",
        variable: "ATTUNE_SECRETS_FILE",
        help: "file of secrets by name, readable by its owner only",
    },
    Key {
        name: "signatures",
        variable: "ATTUNE_SIGNATURES",
        help: "what `attune pack install` does with packs that none of `[trusted_keys]` has signed: `require`, `warn` or `off`",
    },
];
