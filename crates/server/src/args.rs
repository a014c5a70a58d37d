//! The command line of `rusty-kvd`.
//!
//! Flags that set a key come from the table of keys; their values are judged with all other layers, so that every
//! fault of a configuration is told in one go. Exit codes: 0 done, 2 usage, 78 (`EX_CONFIG`) configuration, so that
//! systemd can be told not to restart what cannot start.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Config, ConfigError, GivenFlag, KEYS, Key, Kind, Request, Surroundings};
use crate::{describe, logging, run};

const EXIT_USAGE: u8 = 2;
const EXIT_CONFIG: u8 = 78;

/// What is asked for on one command line.
#[derive(Debug)]
enum Verb {
    Run,
    CheckConfig,
    ForgetFormation,
    DescribeData,
    /// Of the cluster of this name.
    Recover(String),
}

/// The whole of `rusty-kvd`.
pub fn main() -> ExitCode {
    let (verb, request) = match parse(std::env::args_os()) {
        Ok(asked) => asked,
        Err(error) => {
            // Help and version are "errors" of clap that go to stdout. A closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match (config::load(&request, &Surroundings::of_process()), verb) {
        (Err(error), verb) => refuse(&error, &verb),
        (Ok(config), Verb::CheckConfig) => confirm(&config),
        (Ok(config), Verb::Run) => {
            logging::init(config.log_level);
            run::run(config)
        }
        (Ok(config), Verb::ForgetFormation) => {
            logging::init(config.log_level);
            run::forget_formation(config)
        }
        (Ok(config), Verb::DescribeData) => describe::describe(&config),
        (Ok(config), Verb::Recover(name)) => {
            logging::init(config.log_level);
            run::recover(config, &name)
        }
    }
}

fn refuse(error: &ConfigError, verb: &Verb) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "rusty-kvd: {error}");
    if !matches!(verb, Verb::CheckConfig) {
        let _ =
            writeln!(stderr, "Nothing was started or changed. `rusty-kvd --check-config` tells when all is right; --help lists the flags.");
    }
    ExitCode::from(EXIT_CONFIG)
}

fn confirm(config: &Config) -> ExitCode {
    let files: Vec<String> = config.files.iter().map(|file| file.display().to_string()).collect();
    let read = if files.is_empty() { "no file".to_owned() } else { files.join(", ") };
    let _ = writeln!(io::stdout(), "ok: {read}");
    ExitCode::SUCCESS
}

fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<(Verb, Request), clap::Error> {
    let matches = command().try_get_matches_from(argv)?;
    let mut flags = Vec::new();
    for key in KEYS {
        if let Some(flag) = key.flag
            && flags.iter().all(|given: &GivenFlag| given.long != flag.long)
            && let Some(text) = text_of(&matches, key, flag.long)
        {
            flags.push(GivenFlag { long: flag.long, text });
        }
    }
    let checked = matches.get_one::<PathBuf>("check-config").cloned();
    let verb = match () {
        () if matches.contains_id("check-config") => Verb::CheckConfig,
        () if matches.get_flag("forget-formation") => Verb::ForgetFormation,
        () if matches.get_flag("describe-data") => Verb::DescribeData,
        () if let Some(name) = matches.get_one::<String>("recover-accept-loss") => Verb::Recover(name.clone()),
        () => Verb::Run,
    };
    Ok((verb, Request { file: checked.or_else(|| matches.get_one::<PathBuf>("config").cloned()), flags }))
}

/// What was written behind a flag; a list's repetitions are joined.
fn text_of(matches: &ArgMatches, key: &Key, long: &str) -> Option<OsString> {
    match key.kind {
        Kind::Switch => matches.get_flag(long).then(|| OsString::from("true")),
        _ => {
            let given: Vec<OsString> = matches.get_many::<OsString>(long)?.cloned().collect();
            Some(given.join(",".as_ref()))
        }
    }
}

fn command() -> Command {
    let mut command = Command::new("rusty-kvd")
        .bin_name("rusty-kvd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A node of rusty-kv, a replicated key-value and image store for clusters of small boards")
        .after_help(AFTER_HELP);
    let mut named: Vec<&str> = Vec::new();
    for key in KEYS {
        if let Some(flag) = key.flag
            && !named.contains(&flag.long)
        {
            named.push(flag.long);
            command = command.arg(flag_of(key, flag));
        }
    }
    command
        .arg(
            path("config", "FILE").help("Read this TOML file in place of /etc/rusty-kv/rusty-kv.toml; conf.d/*.toml beside it is read too"),
        )
        .arg(path("check-config", "FILE").num_args(0..=1).conflicts_with_all(["config", "forget-formation"]).help(
            "Check the configuration, of this file if one is named, and start nothing: exit 0 if it is right, 78 with every error if not",
        ))
        .arg(
            Arg::new("forget-formation")
                .long("forget-formation")
                .action(ArgAction::SetTrue)
                .help("Give up a formation that cannot finish: the node gets a new id and ends. Refused once it holds a log entry"),
        )
        .arg(
            Arg::new("describe-data")
                .long("describe-data")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["check-config", "forget-formation"])
                .help("Print what the data directory of this stopped node says of itself, as TOML for programs, and end"),
        )
        .arg(
            Arg::new("recover-accept-loss")
                .long("recover-accept-loss")
                .value_name("CLUSTER")
                .conflicts_with_all(["check-config", "forget-formation", "describe-data"])
                .help(
                    "When a majority of the cluster is gone for good: make a new cluster out of what this stopped node holds, and end. \
                     `rusty-kv cluster recover --accept-loss` asks the others first",
                ),
        )
}

fn path(long: &'static str, value_name: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(value_name).value_parser(clap::value_parser!(PathBuf))
}

fn flag_of(key: &'static Key, flag: config::Flag) -> Arg {
    // A flag for two keys has the defaults of both, as it has their values.
    let defaults: Vec<&str> = config::keys_of_flag(flag.long).map(default_for_people).collect();
    let default = match defaults.join("-") {
        none if none.is_empty() => none,
        some => format!(" [default: {some}]"),
    };
    let keys = config::keys_of_flag(flag.long).map(|key| key.path).collect::<Vec<_>>().join(", ");
    let arg = Arg::new(flag.long).long(flag.long).help(format!("{}{default} [{keys}]", key.doc));
    match key.kind {
        Kind::Switch => arg.action(ArgAction::SetTrue),
        Kind::List { .. } => arg.value_name(flag.value_name).action(ArgAction::Append).value_parser(clap::value_parser!(OsString)),
        // A negative number is a wrong value, no unknown flag.
        Kind::Whole { .. } => arg.value_name(flag.value_name).allow_negative_numbers(true).value_parser(clap::value_parser!(OsString)),
        _ => arg.value_name(flag.value_name).value_parser(clap::value_parser!(OsString)),
    }
}

/// Empty where the absence of the flag says it all.
fn default_for_people(key: &Key) -> &'static str {
    match (&key.default, &key.kind) {
        (config::Default::Fixed(_), Kind::Switch) | (config::Default::Fixed("[]"), _) => "",
        (config::Default::Fixed(literal), _) => literal.trim_matches('"'),
        (config::Default::Otherwise { says, .. }, _) => says,
    }
}

const AFTER_HELP: &str = "\
Configuration, each over the one before: built-in defaults; /etc/rusty-kv/rusty-kv.toml or --config FILE; conf.d/*.toml beside it in name order; \
the environment, RUSTY_KV_SECTION_KEY (RUSTY_KV_NODE_PORT for node.port); flags. The key that a flag sets stands behind it in brackets; the packaged rusty-kv.toml \
explains all keys.

Three nodes on one machine:
  rusty-kvd --port 50051 --expect 3 --interface lo
  rusty-kvd --port 50052 --expect 3 --interface lo
  rusty-kvd --port 50053 --expect 3 --interface lo

Exit codes: 2 usage, 78 configuration.";
